"""Masks from outlines and runs, as they stand in COCO and YOLO."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import rle
from ..errors import DatasetError
from .entry import is_number

FAR = 1e9  # pixels; corners that are further are outside all the same


def filled(corners: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The mask [H, W] of the pixels whose centre is inside a closed polygon [N, 2] of x, y, by the even-odd rule."""
    corners = corners.clip(-FAR, FAR)
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    first, last = (np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64) for y in (np.fmin(y0, y1), np.fmax(y0, y1)))
    rows_of_each = last - first
    edge = np.repeat(np.arange(len(corners)), rows_of_each)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows_of_each) - rows_of_each, rows_of_each) + first[edge]
    along = (row + 0.5 - y0[edge]) / (y1 - y0)[edge]
    column = np.ceil(x0[edge] + along * (x1 - x0)[edge] - 0.5).clip(0, width).astype(np.int64)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(crossings, 1)[:, :width] % 2 == 1


def mask_of(segmentation: Any, height: int, width: int, where: str) -> NDArray[np.bool_] | None:
    """The mask of COCO's `segmentation`: polygons, or runs, compressed or not; None for an empty one."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return _of_runs(segmentation, height, width, where)
    polygons = segmentation if isinstance(segmentation, list) else [segmentation]
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(is_number, polygon)):
            raise DatasetError(f"{where}: a polygon should be x, y of three corners and more")
        mask |= filled(np.array(polygon, np.float64).reshape(-1, 2), height, width)
    return mask


def _of_runs(table: dict[str, Any], height: int, width: int, where: str) -> NDArray[np.bool_]:
    counts = table.get("counts")
    if table.get("size") != [height, width]:
        raise DatasetError(f"{where}: its mask is of size {ascii(table.get('size'))[:80]}, not [{height}, {width}]")
    try:
        if isinstance(counts, list) and all(isinstance(each, int) for each in counts):
            return rle.decode(np.array(counts, np.int64), height, width)
        if isinstance(counts, str):
            return rle.decode(rle.decompress(counts), height, width)
    except (DatasetError, OverflowError) as error:
        raise DatasetError(f"{where}: {error}") from error
    raise DatasetError(f"{where}: counts of a mask should be text or whole numbers")
