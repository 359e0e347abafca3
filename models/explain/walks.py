"""What lies between two pictures: walks from one noise to another, and from one condition to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PARALLEL = 1e-6  # radians


def between_noises(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Noises [N, ...] at `shares` [N] of the way on the arc from `first` to `second` [...].

    Normals in many dimensions lie near a sphere, and a straight walk would lead inside (Shoemake 1985; White 2016,
    arXiv:1609.04468). Lengths go evenly from one's to the other's; opposite noises, with no arc between, by a line.
    """
    lengths = first.norm(), second.norm()
    cosine = ((first * second).sum() / (lengths[0] * lengths[1])).clamp(-1, 1)
    angle, shares = cosine.arccos(), shares.to(first).view(-1, *[1] * first.ndim)
    if min(angle.item(), torch.pi - angle.item()) < PARALLEL:
        return (1 - shares) * first + shares * second
    directions = first / lengths[0], second / lengths[1]
    arc = (((1 - shares) * angle).sin() * directions[0] + (shares * angle).sin() * directions[1]) / angle.sin()
    return arc * ((1 - shares) * lengths[0] + shares * lengths[1])


def between_conditions(first: dict[str, Tensor], second: dict[str, Tensor], shares: Tensor) -> dict[str, Any]:
    """Conditions of words [1, W, D] mixed, the second `shares` [N] of each: word by word, a word with none fading."""
    words = first["words"], second["words"]
    width = max(each.shape[1] for each in words)
    padded = [torch.cat([each, each.new_zeros(1, width - each.shape[1], each.shape[2])], 1) for each in words]
    return {"words": torch.lerp(*padded, shares.to(padded[0]).view(-1, 1, 1))}
