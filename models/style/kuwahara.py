"""The anisotropic Kuwahara filter: a picture in flat touches that follow its edges."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .tensor import Flow, flow

SECTORS = 8
SAMPLES = 72
SHARPNESS = 8  # how much an even sector is preferred
STRETCH = 2.0  # the longest window is as much longer, and narrower, than a circle
STRIP = 2**16  # pixels
LEVELS = 255.0
FALLOFF = 0.57  # of a window, in radii


def kuwahara(picture: Tensor, radius: float, edges: Flow | None = None) -> Tensor:
    """A picture [C, H, W] in 0..1, abstracted in windows of `radius` pixels: each pixel the mean of its evenest side.

    Kyprianidis, Kang & Döllner 2009, "Image and video abstraction by anisotropic Kuwahara filtering", with the
    polynomial sectors of Kyprianidis 2011. An ellipse along `edges` is looked at in 72 places, whatever its size, so
    that the work does not depend on the radius.
    """
    if radius < 1:
        return picture
    edges = flow(picture, max(1.0, radius / 3)) if edges is None else edges
    places, weights = (each.to(picture) for each in _disc())
    channels, height, width = picture.shape
    seen = torch.cat([picture, picture.square().sum(0, keepdim=True)])[None]
    angle, stretch = edges.angle, 1 + (STRETCH - 1) * edges.agreement
    abstracted = torch.empty_like(picture)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        cos, sin, long = angle[part].cos(), angle[part].sin(), stretch[part]
        y = torch.arange(part.start, part.stop).to(picture)[:, None]
        x = torch.arange(width).to(picture)[None, :]
        along = radius * long * places[:, 0, None, None]
        across = radius / long * places[:, 1, None, None]
        at_x, at_y = x + along * cos - across * sin, y + along * sin + across * cos
        grid = torch.stack([(2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1], -1)
        samples = F.grid_sample(seen, grid.reshape(1, -1, width, 2), padding_mode="border", align_corners=False)
        samples = samples.reshape(channels + 1, SAMPLES, -1)
        means = torch.einsum("kn,cnp->ckp", weights, samples)
        spread = (means[-1] - means[:-1].square().sum(0)).clamp(min=0)
        even = 1 / (1 + (LEVELS * spread.sqrt()) ** SHARPNESS)
        even = even / even.sum(0)
        abstracted[:, part] = (means[:-1] * even).sum(1).reshape(channels, -1, width)
    return abstracted


def _disc() -> tuple[Tensor, Tensor]:
    """Places [N, 2] in the unit disc, evenly spread, and how much each counts in each sector [K, N]."""
    number = torch.arange(SAMPLES, dtype=torch.float64)
    turn = number * math.pi * (3 - math.sqrt(5))
    radius = ((number + 0.5) / SAMPLES).sqrt()
    places = torch.stack([radius * turn.cos(), radius * turn.sin()], 1)
    middle = torch.arange(SECTORS, dtype=torch.float64)[:, None] * (2 * math.pi / SECTORS)
    along = places[:, 0] * middle.cos() + places[:, 1] * middle.sin()
    across = places[:, 1] * middle.cos() - places[:, 0] * middle.sin()
    half = 1.5 * math.pi / SECTORS
    overlap = 0.2
    curve = (overlap + math.cos(half)) / math.sin(half) ** 2
    sector = (along + overlap - curve * across**2).clamp(min=0) ** 2
    sector = sector * torch.exp(-0.5 * places.square().sum(1) / FALLOFF**2)
    return places, sector / sector.sum(1, keepdim=True)
