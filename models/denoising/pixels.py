"""How a denoiser's tensors become pictures and back."""

from __future__ import annotations

import torch
from torch import Tensor

from .scatter import scatter


def decode(x0: Tensor, channels: str) -> tuple[Tensor, Tensor]:
    """x0 [B, C, H, W] -> straight colours [B, H, W, 3] and alpha [B, H, W], float32 in 0..1.

    "rgb": x0 is 2·rgb − 1. "rgba": its first three are (2·rgb − 1)·alpha and the fourth is 2·alpha − 1; alpha is
    snapped to 0 or 1, and what is transparent is black. "plane": x0 holds x and y of H·W points; their picture has the
    size that `scatter` gives it.
    """
    if channels == "plane":
        return opaque(scatter(x0.flatten(2).mT))
    x0 = x0.float().movedim(1, -1)
    rgb = ((x0[..., :3] + 1) / 2).clamp(0, 1)
    if channels == "rgb":
        return opaque(rgb)
    alpha = (x0[..., 3] > 0).float()
    return rgb * alpha[..., None], alpha


def opaque(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Colours [B, H, W, 3] and an alpha [B, H, W] of ones."""
    return rgb, torch.ones_like(rgb[..., 0])


def encode(rgb: Tensor, alpha: Tensor, channels: str) -> Tensor:
    """The inverse of `decode` for alpha 0 or 1; a soft alpha is cut at one half. Raises ValueError for "plane"."""
    if channels == "plane":
        raise ValueError("a picture is no set of points: start from noise, or from a LATENT of this denoiser")
    x0 = 2 * rgb.float() - 1
    if channels == "rgba":
        opaque = (alpha > 0.5).float()[..., None]
        x0 = torch.cat([x0 * opaque, 2 * opaque - 1], -1)
    return x0.movedim(-1, 1)
