"""Run-length encoding of masks as COCO writes it: lengths of runs down the columns, the first of zeros.

The compressed text is that of COCO's API (Lin et al. 2014): each length less the one two before it, in groups of five
bits from the lowest, each a printable character.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError

SPARSE = 16  # pixels per change: where there are more, sorting the changes costs less than transposing the mask
SMALL = 1 << 15  # pixels of a mask that is transposed within the cache


def encode(mask: NDArray) -> NDArray[np.int64]:
    """Lengths of the runs of a mask [H, W] of bools or numbers, where any but 0 is inside."""
    mask = mask if mask.dtype == bool else mask != 0
    changes = _changes(mask)
    ends = np.concatenate([[0] if mask[0, 0] else [], [0], changes, [mask.size]]).astype(np.int64)
    return np.diff(ends)


def _changes(mask: NDArray) -> NDArray:
    """The places, counted down the columns, that differ from the place before."""
    height, width = mask.shape
    if mask.size > SMALL and width <= 1 << 16:
        down = np.flatnonzero(mask[1:] != mask[:-1])
        if len(down) * SPARSE < mask.size:
            across = np.flatnonzero(mask[0, 1:] != mask[-1, :-1]) + 1
            row, column = np.divmod(down, width)
            row, column = np.concatenate([0 * across, row + 1]), np.concatenate([across, column])
            by_column = np.argsort(column.astype(np.uint16), kind="stable")
            return (column * height + row)[by_column]
    columns = mask.T.ravel()
    return np.flatnonzero(columns[1:] != columns[:-1]) + 1


def decode(counts: NDArray, height: int, width: int) -> NDArray[np.bool_]:
    """The mask [H, W] of given runs. Raises DatasetError where they do not fill it."""
    counts = np.asarray(counts, np.int64)
    if (counts < 0).any() or counts.sum() != height * width:
        raise DatasetError(f"the runs of a mask must fill its {height} × {width} pixels, but sum to {counts.sum()}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def compress(counts: NDArray) -> str:
    """COCO's text of given runs."""
    rest = np.array(counts, np.int64)
    rest[3:] -= counts[1:-2]
    columns, more = [], np.ones(len(rest), bool)
    while more.any():
        group, shown = rest & 31, more
        rest = rest >> 5
        more = shown & (rest != np.where(group & 16, -1, 0))
        columns.append((group + 48 + 32 * more) * shown)
    letters = np.stack(columns, 1).astype(np.uint8)
    return letters[letters > 0].tobytes().decode("ascii")


def decompress(text: str) -> NDArray[np.int64]:
    """The runs of COCO's text. Raises DatasetError where it is none."""
    letters = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise DatasetError(f"{ascii(text)[:40]} is not a compressed mask")
    ends = np.flatnonzero(letters & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise DatasetError(f"{ascii(text)[:40]} is not a compressed mask: a number in it is too long")
    place = np.arange(len(letters)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((letters & 31) << 5 * place, starts)
    counts -= np.where(letters[ends] & 16, 1 << 5 * lengths, 0)
    counts[1::2] = counts[1::2].cumsum()
    counts[2::2] = counts[2::2].cumsum()
    return counts
