"""Directions for a hand to follow: a picture's own where it has some, elsewhere the hand's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .reduced import larger, smaller
from .tensor import Flow, flow

CLEAR = 0.012  # the gradient, in lightness per pixel of a picture of 512, at which an edge outweighs the hand
FINE = 8  # pixels of a deviation that are enough


def steady(lightness: Tensor, sigmas: Sequence[float], hand: float, clear: float) -> Flow:
    """A flow of lightness [H, W] that says something everywhere.

    The coarsest of `sigmas`, in pixels, is believed over the hand's own angle, in radians, and each finer one over what
    is coarser, as far as its edges agree and are stronger than `clear`.
    """
    cos = torch.full_like(lightness, math.cos(2 * hand))
    sin = torch.full_like(lightness, math.sin(2 * hand))
    strength = torch.zeros_like(lightness)
    for sigma in sorted(sigmas, reverse=True):
        times = max(1, int(sigma / FINE))
        small = flow(smaller(lightness[None], times)[0], sigma / times)
        here = Flow(*larger(torch.stack([small.cos, small.sin, small.strength / times]), times, *lightness.shape))
        strong = here.strength.square()
        belief = here.agreement.clamp(0, 1) * strong / (strong + clear**2)
        # A direction that is weighted once by its agreement is not to be weighted again.
        size = here.agreement.clamp(min=1e-6)
        cos = torch.lerp(cos, here.cos / size, belief)
        sin = torch.lerp(sin, here.sin / size, belief)
        strength = here.strength
    return Flow(cos, sin, strength)
