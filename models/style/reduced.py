"""Work on a smaller picture, where nothing finer would come of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .tensor import blur

FINE = 4  # pixels of a deviation that are enough


def smaller(planes: Tensor, times: int) -> Tensor:
    """Planes [C, H, W], so many times smaller along both sides: the means of squares."""
    if times <= 1:
        return planes
    return F.avg_pool2d(planes[None], times, ceil_mode=True, count_include_pad=False)[0]


def larger(planes: Tensor, times: int, height: int, width: int) -> Tensor:
    """Planes that were made smaller [C, h, w] -> smooth ones of the size [C, height, width] that they had."""
    if times <= 1:
        return planes
    size = (planes.shape[1] * times, planes.shape[2] * times)
    large = F.interpolate(planes[None], size, mode="bicubic", align_corners=False)[0]
    return large[:, :height, :width].contiguous()


def soft(planes: Tensor, sigma: float) -> Tensor:
    """Planes [C, H, W] through a Gaussian of `sigma` pixels; where that is 8 or more it is made of smaller ones."""
    times = max(1, int(sigma / FINE))
    # One plane at a time: a convolution of many takes many times their memory.
    softened = torch.stack([blur(plane, sigma / times) for plane in smaller(planes, times)])
    return larger(softened, times, *planes.shape[1:])
