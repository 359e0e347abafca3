"""A change of colours made to follow the picture: its edges and its grain stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

STRIP = 2**18  # pixels
CELLS = 4  # in a radius, and at least as many pixels looked at along the side of a large one
PAIRS = ((0, 1, 2, 1, 3, 4, 2, 4, 5), (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2))


class Fitted(NamedTuple):
    """How a change goes with the colours: slopes and offsets [12, h, w], one for each cell of `side` pixels."""

    planes: Tensor
    side: int


def strips(picture: Tensor, multiple: int = 1) -> Iterator[slice]:
    """The rows of a picture [H, W, C] in parts of about 250,000 pixels, each but the last of so many rows."""
    height, width = picture.shape[:2]
    rows = max(1, STRIP // (width * multiple)) * multiple
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def fit(picture: Tensor, change: Callable[[Tensor], Tensor], radius: int, noise: float) -> Fitted:
    """How a change of colours [..., 3] goes with the colours of a picture [H, W, 3], place by place.

    The guided filter (He, Sun & Tang 2010, "Guided image filtering") with the picture as its guide: in each window of
    `radius` pixels, 1 or more, the change is an affine function of the colour, by ridge regression: the same for all
    that varies there by less than `noise`, and never cut into steps. The windows are made of cells, of which some
    pixels are looked at where they are large (He & Sun 2015, "Fast guided filter").
    """
    stride = max(1, radius // CELLS**2)
    side = max(1, radius // CELLS // stride)
    picture = picture[stride // 2 :: stride, stride // 2 :: stride]
    cells = round(radius / (stride * side))
    moments = torch.cat([_moments(picture[rows], change, side) for rows in strips(picture, side)], 1)
    mean, moved, squares, products = _box(moments, cells).split((3, 3, 6, 9))
    full, first, second = PAIRS
    covariance = (squares - mean[list(first)] * mean[list(second)])[list(full)].unflatten(0, (3, 3)).permute(2, 3, 0, 1)
    together = (products.unflatten(0, (3, 3)) - mean[:, None] * moved).permute(2, 3, 0, 1)
    slopes = torch.linalg.solve(covariance + noise**2 * torch.eye(3, dtype=picture.dtype), together)
    slopes = slopes.permute(2, 3, 0, 1)
    offsets = moved - (slopes * mean[:, None]).sum(0)
    return Fitted(_box(torch.cat([slopes.flatten(0, 1), offsets]), cells), stride * side)


def change_of(picture: Tensor, fitted: Fitted, rows: slice) -> Tensor:
    """The change as it was fitted, of those rows of the picture [H, W, 3]."""
    (height, width), colours = fitted.planes.shape[1:], picture[rows]
    y = (torch.arange(rows.start, rows.stop, dtype=picture.dtype) + 0.5) / (fitted.side * height) * 2 - 1
    x = (torch.arange(picture.shape[1], dtype=picture.dtype) + 0.5) / (fitted.side * width) * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    here = grid_sample(fitted.planes[None], grid[None], padding_mode="border", align_corners=False)[0].movedim(0, -1)
    slopes, offsets = here[..., :9].unflatten(-1, (3, 3)), here[..., 9:]
    return offsets + (colours[..., None] * slopes).sum(-2)


def _moments(colours: Tensor, change: Callable[[Tensor], Tensor], side: int) -> Tensor:
    """Means over cells of rows [R, W, 3]: colour, change, products of colours, colour times change; [21, r, w]."""
    moved = change(colours)
    _, first, second = PAIRS
    squares = colours[..., list(first)] * colours[..., list(second)]
    products = (colours[..., None] * moved[..., None, :]).flatten(-2)
    return avg_pool2d(torch.cat([colours, moved, squares, products], -1).movedim(-1, 0), side, ceil_mode=True)


def _box(planes: Tensor, radius: int) -> Tensor:
    for size, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        planes = avg_pool2d(planes[None], size, 1, padding, count_include_pad=False)[0]
    return planes
