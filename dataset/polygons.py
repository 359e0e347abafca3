"""Outlines of masks along the edges of pixels.

Corners are whole numbers, so that no rasteriser has to round: COCO's samples each outline five times a pixel and takes
what the columns' centres cross, hence exactly the edges here, and gives the mask back bit for bit.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW = 1024  # corners among which the nearest is sought; all of them would take the square of their number


class Outlines(NamedTuple):
    """Closed polygons [N, 2] of x, y without the first point again; pixels that share a corner alone are apart."""

    outer: list[NDArray[np.int64]]
    holes: list[NDArray[np.int64]]


def outlines(mask: NDArray) -> Outlines:
    """The outlines of a mask [H, W] of bools or numbers, where any but 0 is inside.

    On each line between rows, edges of the mask run from the first to the second corner, from the third to the fourth
    and so on; on each line between columns likewise. A corner where two pixels touch is two corners.
    """
    inside = mask if mask.dtype == bool else mask != 0
    (x, y), turned = _corners(inside)
    count = len(x)
    down = np.lexsort((turned, y, x))
    across = np.arange(count) ^ 1
    below = np.empty(count, np.int64)
    below[down] = down[np.arange(count) ^ 1]
    after = below[across].tolist()
    across = across.tolist()
    found = Outlines([], [])
    seen = bytearray(count)
    for start in range(0, count, 2):
        if seen[start]:
            continue
        path, at = [], start
        while not seen[at]:
            seen[at] = 1
            path += (at, across[at])
            seen[across[at]] = 1
            at = after[at]
        outline = np.stack([x[path], y[path]], 1)
        (found.outer if inside[y[start], x[start]] else found.holes).append(outline)
    return found


def _corners(inside: NDArray) -> tuple[tuple[NDArray, NDArray], NDArray]:
    """Corners (x, y), row by row, and the order of two at one place on their line between columns."""
    top, left = _first(inside.any(1)), _first(inside.any(0))
    bottom, right = len(inside) - _first(inside[::-1].any(1)), inside.shape[1] - _first(inside[:, ::-1].any(0))
    pixels = np.pad(inside[top:bottom, left:right], 1)
    beside = pixels[:, 1:] != pixels[:, :-1]
    above, under = beside[:-1], beside[1:]
    touching = above & under & (pixels[1:, 1:] != pixels[:-1, 1:])
    places = np.flatnonzero((above != under) | touching)
    twice = touching.ravel()[places]
    corners = np.repeat(places, 1 + twice)
    second = np.zeros(len(corners), bool)
    second[1:] = corners[1:] == corners[:-1]
    y, x = np.divmod(corners, beside.shape[1])
    # Where the upper left pixel of two that touch is inside, the edge from the left goes up; else it goes down.
    rising = np.repeat(twice, 1 + twice) & ~pixels[y, x]
    return (x + left, y + top), second ^ rising


def _first(flags: NDArray) -> int:
    return int(flags.argmax())


def joined(found: Outlines) -> NDArray[np.int64]:
    """One polygon [N, 2] of the outlines of a mask that is not empty; by the even-odd rule it has the same inside.

    Each outline is joined by a bridge of no width to the nearest of the last WINDOW corners before it.
    """
    loops = sorted([*found.outer, *found.holes], key=lambda loop: (loop[0, 1], loop[0, 0]))
    points = np.concatenate(loops)
    starts = np.cumsum([0, *map(len, loops)]).tolist()
    joins: dict[int, list[list[int]]] = {}
    for begin, end in itertools.pairwise(starts[1:]):
        window = max(0, begin - WINDOW)
        here = window + _nearest(points[window:begin], points[begin])
        enter = begin + _nearest(points[begin:end], points[here])
        joins.setdefault(here, []).append([*range(enter, end), *range(begin, enter + 1), here])
    path, walks = [], [iter(range(starts[1]))]
    while walks:
        at = next(walks[-1], None)
        if at is None:
            walks.pop()
        else:
            path.append(at)
            walks += map(iter, joins.pop(at, ()))
    return points[path]


def _nearest(points: NDArray, to: NDArray) -> int:
    return int(((points - to) ** 2).sum(1).argmin())
