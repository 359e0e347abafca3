"""A picture of a set as it is shown: small, with its objects outlined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..dataset.marks import Mark, box_of
from .drawing import CHECKER

OUTLINED = 32  # smaller objects with a box would be hidden by the outline of their mask
OBJECT = (255, 170, 40)
SQUARES = 8  # of the checkerboard, along the longer side


def marked(picture: np.ndarray, marks: Sequence[Mark], side: int) -> Image.Image:
    """The picture as in small(), with the outlines() of its objects."""
    shown, over = small(picture, side), outlines(marks, picture.shape, side)
    shown.paste(over, (0, 0), over)
    return shown


def small(picture: np.ndarray, side: int) -> Image.Image:
    """A picture [H, W, 3 or 4], uint8, as RGB whose longer side has `side` pixels, on a checkerboard."""
    size = _size(picture.shape, side)
    resampling = Image.Resampling.NEAREST if is_enlarged(picture.shape, side) else Image.Resampling.LANCZOS
    resized = Image.fromarray(picture).resize(size, resampling)
    down, right = np.indices((size[1], size[0])) // (side // SQUARES)
    shown = Image.fromarray(np.array(CHECKER, np.uint8)[(down + right) % 2])
    shown.paste(resized, (0, 0), resized if resized.mode == "RGBA" else None)
    return shown


def outlines(marks: Sequence[Mark], shape: Sequence[int], side: int) -> Image.Image:
    """The outlines alone, RGBA, of objects in a picture [H, W, ...] whose longer side becomes `side` pixels."""
    size = _size(shape, side)
    shown = Image.new("RGBA", size)
    pen = ImageDraw.Draw(shown)
    scale = size[0] / shape[1], size[1] / shape[0]
    for mark in marks:
        edges = mark.box or box_of(mark.mask)
        x, y, width, height = (float(edge) * scale[axis % 2] for axis, edge in enumerate(edges))
        if mark.mask is not None and (mark.box is None or min(width, height) >= OUTLINED):
            mask = Image.fromarray(mark.mask).resize(size, Image.Resampling.NEAREST)
            shown.paste(OBJECT, (0, 0), Image.fromarray(_outline(np.asarray(mask))))
        if mark.box is not None:
            pen.rectangle([x, y, max(x, x + width - 1), max(y, y + height - 1)], outline=OBJECT)
    return shown


def is_enlarged(shape: Sequence[int], side: int) -> bool:
    """Whether each pixel of a picture [H, W, ...] becomes several if its longer side becomes `side`."""
    return side >= 2 * max(shape[:2])


def _size(shape: Sequence[int], side: int) -> tuple[int, int]:
    scale = side / max(shape[:2])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask [H, W] that touch others, or the edge of the picture."""
    wide = np.pad(mask, 1)
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner
