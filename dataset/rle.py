"""Run-length encoding of masks as COCO writes it: lengths of runs down the columns, the first of zeros.

The compressed text is that of COCO's API (Lin et al. 2014): each length less the one two before it, in groups of five
bits from the lowest, each a printable character.
"""

from __future__ import annotations

import functools
import re

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError

SPARSE = 16  # pixels per change: where there are more, sorting the changes costs less than transposing the mask
SMALL = 1 << 15  # pixels of a mask that is transposed within the cache
REACH = 1 << 14  # numbers that are this near to 0 take three letters at most
TOO_FAR = b"\x7f"


def encode(mask: NDArray) -> NDArray[np.int64]:
    """Lengths of the runs of a mask [H, W] of bools or numbers, where any but 0 is inside."""
    mask = mask if mask.dtype == bool else mask != 0
    ends = _ends(mask)
    if mask.item(0):
        ends = np.concatenate([[0], ends])
    return ends[1:] - ends[:-1]


def _ends(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """0, the places, counted down the columns, that differ from the place before, and the number of places."""
    height, width = mask.shape
    if mask.size > SMALL and width <= 1 << 16:
        down = np.flatnonzero(mask[1:] != mask[:-1])
        if len(down) * SPARSE < mask.size:
            across = np.flatnonzero(mask[0, 1:] != mask[-1, :-1]) + 1
            row, column = np.divmod(down, width)
            row, column = np.concatenate([0 * across, row + 1]), np.concatenate([across, column])
            by_column = np.argsort(column.astype(np.uint16), kind="stable")
            return np.concatenate([[0], (column * height + row)[by_column], [mask.size]])
    columns = mask.ravel("F")
    is_end = np.empty(mask.size + 1, bool)
    is_end[0] = is_end[-1] = True
    np.bitwise_xor(columns[1:], columns[:-1], out=is_end[1:-1])
    return is_end.nonzero()[0]


def decode(counts: NDArray, height: int, width: int) -> NDArray[np.bool_]:
    """The mask [H, W] of given runs. Raises DatasetError where they do not fill it."""
    counts = np.asarray(counts, np.int64)
    if (counts < 0).any() or counts.sum() != height * width:
        raise DatasetError(f"the runs of a mask must fill its {height} × {width} pixels, but sum to {counts.sum()}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def compress(counts: NDArray) -> str:
    """COCO's text of given runs."""
    numbers = np.asarray(counts, np.int64) + REACH
    np.subtract(numbers[3:], counts[1:-2], out=numbers[3:])
    text = _near().take(numbers, mode="clip").tobytes().translate(None, b"\0")
    if TOO_FAR in text:
        far = (_letters(number - REACH) for number in numbers.tolist() if not 0 < number < 2 * REACH - 1)
        text = re.sub(TOO_FAR, lambda _: next(far), text)
    return text.decode("ascii")


@functools.cache
def _near() -> NDArray[np.uint32]:
    """The letters of the numbers from -REACH, four bytes each and zeros behind; TOO_FAR of the first and the last."""
    letters = [_letters(number) for number in range(1 - REACH, REACH - 1)]
    return np.array([TOO_FAR, *letters, TOO_FAR], "S4").view(np.uint32)


def _letters(number: int) -> bytes:
    letters = bytearray()
    while not -16 <= number < 16:
        letters.append((number & 31) + 32 + 48)
        number >>= 5
    letters.append((number & 31) + 48)
    return bytes(letters)


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
