"""Turning hues, and naming the colours of a sprite."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ("black", "gray", "white", "brown", "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
BLACK, GRAY, WHITE, BROWN, RED, ORANGE, YELLOW, GREEN, CYAN, BLUE, PURPLE, PINK = range(len(NAMES))
HUES = ((15, RED), (40, ORANGE), (70, YELLOW), (160, GREEN), (200, CYAN), (255, BLUE), (295, PURPLE), (345, PINK))
DARK, PALE, GREYISH = 0.2, 0.8, 0.2
SHARE, BESIDE = 0.2, 0.6  # a second colour is named if it covers this much, and this much of what the first does
LUMA = (0.213, 0.715, 0.072)


def rotate_hue(rgb: Tensor, angle: Tensor) -> Tensor:
    """Colours [N, 3, H, W] in 0..1 turned about the grey axis by `angle` [N] radians; lightness stays.

    The matrix is that of `hue-rotate` (W3C, Filter Effects, feColorMatrix); what leaves 0..1 is clipped.
    """
    luma = torch.tensor(LUMA).expand(3, 3)
    turn = torch.tensor([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    matrix = luma + cos * (torch.eye(3) - luma) + sin * turn
    return torch.einsum("nij,njhw->nihw", matrix, rgb).clamp(0, 1)


def name_pixels(rgb: Tensor) -> Tensor:
    """The number in NAMES of each pixel's colour: [N, 3, H, W] in 0..1 -> [N, H, W]."""
    value, lowest = rgb.amax(1), rgb.amin(1)
    chroma = value - lowest
    r, g, b = rgb.unbind(1)
    spread = chroma.clamp(min=1e-6)
    sextant = torch.where(
        value == r, ((g - b) / spread) % 6, torch.where(value == g, (b - r) / spread + 2, (r - g) / spread + 4)
    )
    hue = 60 * sextant
    name = torch.full_like(hue, RED, dtype=torch.long)
    for above, number in reversed(HUES):
        name[hue < above] = number
    name[
        (name == ORANGE) & (value < 0.7)
        | (name == YELLOW) & (value < 0.5)
        | (name == RED) & (hue > 8) & (hue < 30) & (value < 0.6)
    ] = BROWN
    grey = chroma < GREYISH * value
    name[grey] = GRAY
    name[grey & (value > PALE)] = WHITE
    name[value < DARK] = BLACK
    return name


def dominant(rgb: Tensor, opaque: Tensor) -> Tensor:
    """The one or two colours that cover most of a sprite: numbers in NAMES, [N, 2], −1 where there is none.

    `rgb` [N, 3, H, W], `opaque` [N, H, W] booleans. Black, the colour of outlines and shadows, counts a quarter.
    """
    names = name_pixels(rgb)
    count = torch.stack([((names == number) & opaque).sum((1, 2)) for number in range(len(NAMES))], 1).float()
    count[:, BLACK] /= 4
    most, which = count.topk(2, dim=1)
    alone = (most[:, 1] < BESIDE * most[:, 0]) | (most[:, 1] < SHARE * count.sum(1))
    which[alone, 1] = -1
    which[most[:, 0] == 0] = -1
    return which
