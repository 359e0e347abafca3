"""Pictures in a medium of art, with no picture to take it from."""

from __future__ import annotations

import torch
from torch import Tensor

from .guided import strips
from .ink import ink
from .oil import oil
from .oklab import oklab
from .sketch import sketch
from .watercolour import watercolour

MEDIA = {"oil": oil, "watercolour": watercolour, "sketch": sketch, "ink": ink}
NOMINAL = 512  # pixels of the shorter side at which strokes are as wide as their numbers say


def render(picture: Tensor, medium: str, *, structure: float = 0.5, scale: float = 1.0, seed: int = 0) -> Tensor:
    """A picture [H, W, 3] in 0..1 as if made in a medium: oil, watercolour, sketch (in pencil) or ink.

    `structure`, 0..1, is how much of the picture's detail stays. Strokes are as wide as the picture's shorter side
    asks, times `scale`, above 0. The same `seed` gives the same picture. Raises ValueError for another medium, and
    for a picture with values that are no numbers.
    """
    if medium not in MEDIA:
        raise ValueError(f"there is no medium {medium!r}: choose one of {', '.join(MEDIA)}")
    if not picture.isfinite().all():
        raise ValueError("the picture has values that are no numbers (NaN or infinite)")
    picture = picture.float().clamp(0, 1)
    unit = min(picture.shape[:2]) / NOMINAL * scale
    generator = torch.Generator().manual_seed(seed)
    made = MEDIA[medium](picture.movedim(-1, 0).contiguous(), lightness(picture), unit, structure, generator)
    return made.clamp(0, 1).movedim(0, -1).contiguous()


def lightness(picture: Tensor) -> Tensor:
    """Oklab lightness [H, W] of a picture [H, W, 3]: 0 for black, 1 for white."""
    return torch.cat([oklab(picture[rows])[..., 0] for rows in strips(picture)])
