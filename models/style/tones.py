"""How dark a picture is drawn, or painted."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 64
STEEPEST = 3.0  # how much more room than its share a tone may get
LEAST = 0.2  # of an even share that a tone which is hardly there gets
SAMPLES = 2**20


def spread_tones(lightness: Tensor, amount: float) -> Tensor:
    """Lightness [H, W] with its tones spread more evenly over 0..1 by `amount`, 0..1; lighter stays lighter.

    Contrast-limited equalisation (Pizer et al. 1987) of the whole picture: a tone that fills it is not torn apart.
    """
    some = lightness.flatten()[:: max(1, lightness.numel() // SAMPLES)]
    counts = torch.histc(some, BINS, 0, 1)
    share = (counts / counts.sum() * BINS).clamp(max=STEEPEST) + LEAST
    knots = torch.cat([share.new_zeros(1), share.cumsum(0)])
    knots = knots / knots[-1]
    at = lightness.clamp(0, 1) * BINS
    left = at.floor().clamp(max=BINS - 1).long()
    even = torch.lerp(knots[left], knots[left + 1], at - left)
    return torch.lerp(lightness, even, amount)


def smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    """0 below `low`, 1 above `high`, and between them with no corner."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
