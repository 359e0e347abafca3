"""What a picture holds along the lines of a flow."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .tensor import Flow

STRIP = 2**18  # pixels
STEPS = 12  # at most, either way
CALM = 1e-6


def line_integral(planes: Tensor, edges: Flow, length: float) -> Tensor:
    """Planes [C, H, W], each pixel the mean along its line of `edges` up to `length` pixels either way, less far off.

    Line integral convolution (Cabral & Leedom 1993, "Imaging vector fields using line integral convolution") with a
    Hann window. Lines turn no more sharply than their steps: a pixel, or a twelfth of a greater length.
    """
    steps = min(STEPS, math.ceil(length))
    if steps < 1:
        return planes
    height, width = planes.shape[1:]
    size = torch.hypot(edges.cos, edges.sin).clamp(min=CALM)
    seen = torch.cat([planes, (edges.cos / size)[None], (edges.sin / size)[None]])[None]
    weights = [0.5 + 0.5 * math.cos(math.pi * step / (steps + 1)) for step in range(steps + 1)]
    stride = length / steps
    scale = planes.new_tensor([2 / width, 2 / height])
    integral = torch.empty_like(planes)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        start = torch.stack(
            torch.meshgrid(_centres(width, slice(0, width)), _centres(height, part), indexing="xy"), -1
        ).to(planes)
        total = planes[:, part] * weights[0]
        first = _direction(seen[0, -2, part], seen[0, -1, part])
        for way in (1, -1):
            place, ahead = start, first * way
            for weight in weights[1:]:
                place = place + ahead * (scale * stride)
                here = F.grid_sample(seen, place[None], padding_mode="border", align_corners=False)[0]
                total += here[:-2] * weight
                turned = _direction(here[-2], here[-1])
                ahead = torch.where((turned * ahead).sum(-1, keepdim=True) < 0, -turned, turned)
        integral[:, part] = total / (2 * sum(weights) - weights[0])
    return integral


def _centres(count: int, part: slice) -> Tensor:
    """Where the middles of those of `count` pixels are, in -1..1."""
    return (torch.arange(part.start, part.stop) * 2 + 1) / count - 1


def _direction(cos: Tensor, sin: Tensor) -> Tensor:
    """Unit vectors [..., 2] of half the angle of which these are about the cosine and the sine."""
    x = ((1 + cos).clamp(min=0) / 2).sqrt()
    y = torch.copysign(((1 - cos).clamp(min=0) / 2).sqrt(), sin)
    return torch.stack([x, y], -1)
