"""Hatching: strokes side by side, each with its own start, length and pressure."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .noise import noise

TABLE = 4096
ASTRAY = 0.3  # how far a stroke lies from its place, in gaps


class Hatching(NamedTuple):
    """`distance` [H, W] in pixels from the middle of the nearest stroke; `pressure` [H, W] there, in 0..1."""

    distance: Tensor
    pressure: Tensor


def hatching(
    height: int,
    width: int,
    angle: float,
    gap: float,
    length: float,
    generator: torch.Generator,
    relief: Tensor | None = None,
) -> Hatching:
    """Strokes at an angle in radians, `gap` pixels apart and about `length` pixels long.

    They waver as a hand does; with `relief` [H, W], in pixels, they bend over it as over a form.
    """
    offsets, shifts, pressures = torch.rand(3, TABLE, generator=generator)
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    cos, sin = math.cos(angle), math.sin(angle)
    across = (y * cos - x * sin) / gap + 0.7 * noise(height, width, 1.6 * length, generator)
    if relief is not None:
        across = across + relief / gap
    along = x * cos + y * sin
    stroke = across.floor()
    which = stroke.long() % TABLE
    at = along / length + 7 * offsets[which]
    part = at.floor()
    number = (which * 1103 + part.long() * 37) % TABLE
    middle = 0.5 + ASTRAY * (2 * shifts[number] - 1)
    distance = (across - stroke - middle).abs() * gap
    inside = at - part
    # Put down with a little force, lifted with less.
    taper = (inside * 9).clamp(max=1) * ((1 - inside) * 3.5).clamp(max=1)
    return Hatching(distance, taper * (0.6 + 0.4 * pressures[number]))
