"""Where a picture's edges run, and how clearly: the smoothed structure tensor."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 3  # standard deviations of a Gaussian that are kept
FAINT = 1e-3  # gradients, in lightness per pixel, that are as good as none


class Flow(NamedTuple):
    """Edges of a picture [..., H, W]: along which angle they run, how much all around agree, how strong they are.

    `cos`, `sin`: of twice the angle from the x axis (down the picture is +y), times the agreement in 0..1
    `strength`: the root mean square gradient, per pixel
    """

    cos: Tensor
    sin: Tensor
    strength: Tensor

    @property
    def agreement(self) -> Tensor:
        return torch.hypot(self.cos, self.sin)

    @property
    def angle(self) -> Tensor:
        """Along the edges, in -π/2..π/2."""
        return torch.atan2(self.sin, self.cos) / 2


def flow(lightness: Tensor, sigma: float) -> Flow:
    """The flow of a picture's edges, of lightness [H, W] or of channels [C, H, W] whose gradients are added.

    Smoothed over `sigma` pixels as the tensor that it is (Förstner & Gülch 1987; Kang, Lee & Chui 2009), so that
    opposite edges agree; its eigenvectors and eigenvalues in closed form.
    """
    channels = lightness.reshape(-1, 1, *lightness.shape[-2:])
    dx, dy = (F.conv2d(F.pad(channels, (1, 1, 1, 1), mode="replicate"), kernel) for kernel in _scharr(channels))
    xx, xy, yy = (blur(product.sum((0, 1)), sigma) for product in (dx * dx, dx * dy, dy * dy))
    total = xx + yy
    clear = total + FAINT**2
    return Flow((yy - xx) / clear, -2 * xy / clear, total.sqrt())


def _scharr(like: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives along x and y, [1, 1, 3, 3] each, whose response hardly depends on the angle (Scharr 2000)."""
    across = like.new_tensor([3.0, 10.0, 3.0]) / 16
    along = like.new_tensor([-0.5, 0.0, 0.5])
    kernel = torch.outer(across, along)[None, None]
    return kernel, kernel.mT


def blur(picture: Tensor, sigma: float) -> Tensor:
    """A picture [..., H, W] through a Gaussian of `sigma` pixels; its edge goes on outside. 0: as it is."""
    if sigma <= 0:
        return picture
    radius = max(1, math.ceil(REACH * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=picture.dtype) / sigma) ** 2).to(picture.device)
    weights /= weights.sum()
    flat = picture.reshape(-1, 1, *picture.shape[-2:])
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), weights[None, None, :, None])
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), weights[None, None, None, :])
    return flat.reshape(picture.shape)
