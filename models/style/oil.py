"""Oil paint: brush strokes on canvas, broad ones first, and the light on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .abstraction import abstraction
from .brush import Brush, Paint, paint
from .noise import noise
from .paper import slope
from .reduced import soft
from .steady import CLEAR, steady
from .tensor import blur

HAND = -0.6  # radians: how the brush moves where the picture does not say
RADII = (11.0, 6.0, 3.2, 1.7)  # of brushes, in pixels at 512
WEAVE = 3.0  # pixels from thread to thread at 512
RELIEF = 0.2


def oil(picture: Tensor, lightness: Tensor, unit: float, structure: float, generator: torch.Generator) -> Tensor:
    """A picture [3, H, W] in oil; `unit` pixels are one of a picture of 512."""
    looser = 1.5 - structure
    edges = steady(lightness, (3 * unit, 8 * unit, 20 * unit), HAND, CLEAR / unit)
    touched = abstraction(picture, 5 * looser * unit)
    canvas = Paint(soft(touched, 12 * unit), torch.zeros_like(lightness))
    for number, radius in enumerate(RADII):
        fine = number / (len(RADII) - 1)
        seen = abstraction(picture, 2 * looser * unit) if fine == 1 else soft(touched, 0.3 * radius * unit)
        brush = Brush(
            radius=max(1.0, radius * unit * (0.5 + 0.5 * looser)),
            bristle=max(0.8, 1.2 * unit),
            care=0.16 - 0.08 * fine,
            missing=0.0 if number == 0 else 0.14 * looser,
            variety=0.09 - 0.05 * fine,
            body=0.7 + 0.3 * fine,
        )
        paint(canvas, seen, edges, brush, generator)
    return _lit(canvas, unit, generator)


def _lit(canvas: Paint, unit: float, generator: torch.Generator) -> Tensor:
    """The colours of paint that stands out, in light from the upper left."""
    height, width = canvas.height.shape
    bare = (1 - canvas.height).clamp(0, 1)
    surface = blur(canvas.height, 0.4 * unit) + 0.1 * bare * _weave(height, width, unit, generator)
    light = RELIEF * torch.tanh(3 * unit * slope(surface))
    shaded = canvas.colour * (1 + light.clamp(max=0))
    return shaded + (1 - shaded) * 0.6 * light.clamp(min=0)


def _weave(height: int, width: int, unit: float, generator: torch.Generator) -> Tensor:
    """Threads of linen over and under each other, -1..1."""
    pitch = math.pi / max(WEAVE * unit, 2.0)
    wander = 0.8 * noise(height, width, 25 * unit, generator)
    x = torch.arange(width) * pitch + wander
    y = torch.arange(height)[:, None] * pitch + wander
    return x.sin() * y.cos()
