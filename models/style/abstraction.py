"""A picture without its small things, at no more work for a large one than its large things need."""

from __future__ import annotations

from torch import Tensor

from .kuwahara import kuwahara
from .reduced import larger, smaller

FINE = 8  # pixels of a radius that are enough


def abstraction(picture: Tensor, radius: float) -> Tensor:
    """A picture [C, H, W] in 0..1 in flat touches of about `radius` pixels (see `kuwahara`).

    Where that is 16 or more it is made of a smaller picture: its edges are then as soft as an eighth of the radius.
    """
    times = max(1, int(radius / FINE))
    abstracted = kuwahara(smaller(picture, times), radius / times)
    return larger(abstracted, times, *picture.shape[1:]).clamp(0, 1)
