"""Smooth noise, as uneven as what a hand, a brush or a sheet of paper leaves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .tensor import REACH, blur

FINENESS = 3  # places in a wavelength between which it is interpolated


def noise(height: int, width: int, wavelength: float, generator: torch.Generator) -> Tensor:
    """Noise [height, width] of mean 0 and deviation 1, whose bumps are about `wavelength` pixels apart."""
    gap = max(1.0, wavelength / FINENESS)
    sigma = wavelength / FINENESS / gap if wavelength > 1 else 0.0
    margin = math.ceil(REACH * sigma) + 1
    rows, columns = (math.ceil(side / gap) + 2 * margin for side in (height, width))
    coarse = blur(torch.randn(rows, columns, generator=generator), sigma) / _deviation(sigma)
    if gap == 1:
        return coarse[margin : margin + height, margin : margin + width].contiguous()
    # One axis after the other, so that no grid of places is made.
    tall = _rows(coarse, torch.arange(height) / gap + margin)
    return _rows(tall.mT, torch.arange(width) / gap + margin).mT.contiguous()


def octaves(height: int, width: int, wavelength: float, count: int, generator: torch.Generator) -> Tensor:
    """Noise [height, width] of mean 0 and deviation 1 with bumps on bumps: each half as wide and half as high."""
    total = torch.zeros(height, width)
    for number in range(count):
        total.add_(noise(height, width, wavelength / 2**number, generator), alpha=0.5**number)
    return total / math.sqrt(sum(0.25**number for number in range(count)))


def _deviation(sigma: float) -> float:
    """What a Gaussian of `sigma` leaves of the deviation of white noise: the sum of its squared weights in a row."""
    if sigma <= 0:
        return 1.0
    radius = math.ceil(REACH * sigma)
    weights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    return sum(weight**2 for weight in weights) / sum(weights) ** 2


def _rows(planes: Tensor, places: Tensor) -> Tensor:
    """Rows of [R, W] at places [N] between them, 1..R - 3, by cubics (Catmull & Rom 1974) -> [N, W]."""
    first = places.floor().long()
    t = (places - first)[:, None]
    weights = (
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (t**3 - t**2),
    )
    rows = torch.zeros(len(places), planes.shape[1])
    for offset, weight in enumerate(weights, -1):
        rows.addcmul_(planes[first + offset], weight)
    return rows
