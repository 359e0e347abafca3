"""The lines an artist would draw: along a picture's edges."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .line_integral import STRIP, line_integral
from .reduced import larger, smaller
from .tensor import Flow

WIDER = 1.6  # about the Laplacian of a Gaussian (Marr & Hildreth 1980)
REACH = 2.5  # standard deviations that are kept
FINENESS = 0.6  # samples across are at most so many deviations apart
FINE = 1.5  # pixels of a deviation that are enough


def lines(lightness: Tensor, edges: Flow, sigma: float, length: float) -> Tensor:
    """How much darker each pixel of a lightness [H, W] is than its sides, [H, W]: above 0 on the dark side of edges.

    The flow-based difference of Gaussians (Kang, Lee & Chui 2009, "Flow-based image abstraction"): Gaussians of `sigma`
    and 1.6 times `sigma` pixels across the edge, then their mean along it, `length` pixels either way. It is smooth, so
    that where `sigma` is 3 or more it is made of a smaller picture.
    """
    times = max(1, int(sigma / FINE))
    seen, *flow = smaller(torch.stack([lightness, *edges]), times)
    darker = _across(seen, Flow(*flow), sigma / times)
    darker = line_integral(darker[None], Flow(*flow), length / times)
    return larger(darker, times, *lightness.shape)[0]


def _across(lightness: Tensor, edges: Flow, sigma: float) -> Tensor:
    height, width = lightness.shape
    wide = WIDER * sigma
    count = math.ceil(REACH * wide / max(FINENESS * sigma, 0.5))
    offsets = torch.linspace(-REACH * wide, REACH * wide, 2 * count + 1)
    narrow, broad = (torch.exp(-0.5 * (offsets / each) ** 2) for each in (sigma, wide))
    weights = broad / broad.sum() - narrow / narrow.sum()
    darker = torch.zeros_like(lightness)
    angle = edges.angle
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        across_x, across_y = -angle[part].sin(), angle[part].cos()
        y = torch.arange(part.start, part.stop).to(lightness)[:, None]
        x = torch.arange(width).to(lightness)[None, :]
        for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
            grid = torch.stack(
                [(2 * (x + offset * across_x) + 1) / width - 1, (2 * (y + offset * across_y) + 1) / height - 1], -1
            )
            seen = F.grid_sample(lightness[None, None], grid[None], padding_mode="border", align_corners=False)
            darker[part] += weight * seen[0, 0]
    return darker
