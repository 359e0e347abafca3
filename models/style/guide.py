"""What tells which patches of a style go where: lightness, edges, and which way these run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .tensor import Flow, flow
from .transport import Monotone, monotone

EDGES = 2.5  # pixels of a picture of 512 over which edges are smoothed
LIGHT, ALONG, EDGE = 1.5, 0.6, 0.6  # how much each counts
UNCLEAR = 0.008  # the gradient, in lightness per pixel, at which half a direction is believed
STRONGEST = 4.0  # times the style's mean edge
LEAST_SPREAD, LEAST_EDGE = 0.02, 1e-3
COMPARED = 2**14


class Ground(NamedTuple):
    """A picture [3, H, W] in Oklab, and the same abstracted; `unit` pixels of it are one of a picture of 512."""

    picture: Tensor
    base: Tensor
    unit: float

    @property
    def detail(self) -> Tensor:
        return self.picture - self.base

    @property
    def edges(self) -> Flow:
        return flow(self.base[0], EDGES * self.unit)

    @property
    def strength(self) -> Tensor:
        """Of the edges, in lightness per pixel of a picture of 512."""
        return self.edges.strength * self.unit

    @property
    def clear_edges(self) -> Tensor:
        """Where there are any, 0..1."""
        return clear(self.strength)


def guide_by(grounds: Sequence[Ground]) -> Callable[..., Tensor]:
    """What tells which patches go where, [4, H, W] of a Ground, in units in which the styles vary by about 1.

    Where it is given `as_edges`, strengths of edges are taken through it, `as_far_as` it is wanted.
    """
    spread = LEAST_SPREAD + float(torch.cat([ground.base[0].flatten() for ground in grounds]).std())
    typical = LEAST_EDGE + float(torch.cat([ground.strength.flatten() for ground in grounds]).mean())

    def guide(ground: Ground, as_edges: Monotone | None = None, as_far_as: float = 1.0) -> Tensor:
        edges = ground.edges
        strength = edges.strength * ground.unit
        if as_edges is not None:
            strength = torch.lerp(strength, as_edges(strength), as_far_as)
        believed = clear(strength)
        return torch.stack(
            [
                LIGHT / spread * ground.base[0],
                ALONG * edges.cos * believed,
                ALONG * edges.sin * believed,
                EDGE * (strength / typical).clamp(max=STRONGEST),
            ]
        )

    return guide


def clear(strength: Tensor) -> Tensor:
    return strength**2 / (strength**2 + UNCLEAR**2)


def edges_as(grounds: Sequence[Ground], under: Ground) -> Monotone:
    """What gives the edges of `under` the strengths of the styles', so that flat parts are covered as theirs are."""
    theirs = torch.cat([ground.strength.flatten() for ground in grounds])
    mine = under.strength.flatten()
    return monotone(*(part[:: max(1, len(part) // COMPARED)] for part in (mine, theirs)))
