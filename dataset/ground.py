"""What sprites are laid on: a window of a background, or a map of small ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .chance import Chance

LATTICE = 3


def ground(backgrounds: Sequence[np.ndarray], size: tuple[int, int], terrains: int, chance: Chance) -> np.ndarray:
    """[height, width, 3] of one of `backgrounds` [h, w, 3], all of one size: a window of it somewhere.

    Where they are smaller than `size`, they are tiles: up to `terrains` of them are laid in patches.
    """
    chosen = chance.some(len(backgrounds), terrains)
    first = backgrounds[chosen[0]]
    if first.shape[0] >= size[0] and first.shape[1] >= size[1]:
        top, left = (chance.below(have - want + 1) for have, want in zip(first.shape, size, strict=False))
        return first[top : top + size[0], left : left + size[1]].copy()
    rows, columns = (math.ceil(want / have) for want, have in zip(size, first.shape, strict=False))
    kinds = np.argmax([_hills(rows, columns, chance) for _ in chosen], axis=0)
    tiles = np.stack([backgrounds[number] for number in chosen])[kinds]
    return tiles.swapaxes(1, 2).reshape(rows * first.shape[0], columns * first.shape[1], 3)[: size[0], : size[1]]


def _hills(rows: int, columns: int, chance: Chance) -> np.ndarray:
    """[rows, columns]: heights at random corners, and straight between them."""
    corners = np.array([chance.between(0, 1) for _ in range(LATTICE**2)]).reshape(LATTICE, LATTICE)
    return _across(_across(corners, rows).T, columns).T


def _across(values: np.ndarray, count: int) -> np.ndarray:
    """[count, columns] from [rows, columns], linearly between the rows."""
    at = (np.arange(count) + 0.5) / count * (len(values) - 1)
    below = at.astype(int)
    part = (at - below)[:, None]
    return values[below] * (1 - part) + values[below + 1] * part
