"""Oklab, where equal distances look about equally different (Björn Ottosson, 2020, "A perceptual color space")."""

from __future__ import annotations

import torch
from torch import Tensor

LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)

TOLERANCE = 1e-4  # of linear light: what rounding takes out of 0..1
HALVINGS = 10


def linear(rgb: Tensor) -> Tensor:
    """sRGB in 0..1 -> linear light (IEC 61966-2-1)."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4)


def oklab(rgb: Tensor) -> Tensor:
    """sRGB [..., 3] in 0..1 -> lightness, green to red, blue to yellow, [..., 3]."""
    lms = linear(rgb) @ rgb.new_tensor(LMS).T
    return lms.clamp(min=0) ** (1 / 3) @ rgb.new_tensor(LAB).T


def encoded(light: Tensor) -> Tensor:
    """Linear light in 0..1 -> sRGB."""
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def srgb(lab: Tensor) -> Tensor:
    """Oklab [..., 3] -> sRGB in 0..1; colours that there are not lose chroma, not lightness or hue, until there are."""
    light = _light(lab)
    missing = ((light < -TOLERANCE) | (light > 1 + TOLERANCE)).any(-1)
    if missing.any():
        light[missing] = _light(_less_chroma(lab[missing]))
    return encoded(light.clamp(0, 1))


def _light(lab: Tensor) -> Tensor:
    lms = lab @ lab.new_tensor(LAB, dtype=torch.float64).inverse().T.to(lab.dtype)
    return lms**3 @ lab.new_tensor(LMS, dtype=torch.float64).inverse().T.to(lab.dtype)


def _less_chroma(lab: Tensor) -> Tensor:
    """Colours [N, 3] with the most of their chroma that sRGB has, found by bisection."""
    lightness, chroma = lab[:, :1].clamp(0, 1), lab[:, 1:]
    kept = torch.zeros_like(lightness)
    for step in range(1, HALVINGS + 1):
        more = kept + 0.5**step
        light = _light(torch.cat([lightness, chroma * more], 1))
        inside = ((light >= -TOLERANCE) & (light <= 1 + TOLERANCE)).all(1, keepdim=True)
        kept = torch.where(inside, more, kept)
    return torch.cat([lightness, chroma * kept], 1)
