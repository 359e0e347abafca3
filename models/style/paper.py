"""What is drawn or painted on, as the light from the upper left shows it."""

from __future__ import annotations

import torch
from torch import Tensor

from .noise import noise, octaves


def tooth(height: int, width: int, wavelength: float, generator: torch.Generator) -> Tensor:
    """How high the grain of paper is [height, width], of mean 0 and deviation about 1: fibres on bumps."""
    grain = octaves(height, width, wavelength, 3, generator)
    return grain.mul_(0.95).add_(noise(height, width, 1, generator), alpha=0.3)


def slope(surface: Tensor) -> Tensor:
    """How fast a surface [H, W] rises away from the upper left, per pixel of both axes: above 0 it is in the light."""
    rising = torch.zeros_like(surface)
    rising[1:] += surface.diff(dim=0)
    rising[:, 1:] += surface.diff(dim=1)
    return rising
