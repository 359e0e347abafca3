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


def linear(rgb: Tensor) -> Tensor:
    """sRGB in 0..1 -> linear light (IEC 61966-2-1)."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4)


def oklab(rgb: Tensor) -> Tensor:
    """sRGB [..., 3] in 0..1 -> lightness, green to red, blue to yellow, [..., 3]."""
    lms = linear(rgb) @ rgb.new_tensor(LMS).T
    return lms.clamp(min=0) ** (1 / 3) @ rgb.new_tensor(LAB).T
