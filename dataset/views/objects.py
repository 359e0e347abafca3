"""The objects of a sample as views show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DatasetError
from ..sample import Instance, Sample

CUT = "boxes reached out of their picture and were cut at its edge"
OUTSIDE = "objects were left out, for their box has no pixel inside the picture"
EMPTY = "objects were left out, for their mask is empty"
HALF = 128


class Object(NamedTuple):
    """An instance with its box inside the picture, and its mask [H, W], bool."""

    instance: Instance
    box: tuple[float, float, float, float]
    mask: NDArray[np.bool_] | None
    cut: bool

    @property
    def label(self) -> str:
        return self.instance.label

    @property
    def area(self) -> float:
        """Pixels of the mask, else of the box."""
        return self.box[2] * self.box[3] if self.mask is None else int(np.count_nonzero(self.mask))


def objects(folder: Path, sample: Sample, remarks: Counter[str]) -> Iterator[Object]:
    """The objects of a sample that can be seen; `remarks` counts what was cut or left out.

    Raises DatasetError for a mask that is missing or not of the picture's size.
    """
    for instance in sample.instances:
        x, y, width, height = instance.box
        right, bottom = min(x + width, sample.width), min(y + height, sample.height)
        left, top = max(x, 0), max(y, 0)
        cut = left > x or top > y or x + width > sample.width or y + height > sample.height
        box = (left, top, right - left, bottom - top) if cut else instance.box
        if min(box[2:]) <= 0:
            remarks[OUTSIDE] += 1
            continue
        mask = None if instance.mask is None else read_mask(folder, instance.mask, sample)
        if mask is not None and not mask.any():
            remarks[EMPTY] += 1
            continue
        remarks[CUT] += int(cut)
        yield Object(instance, box, mask, cut)


def read_mask(folder: Path, path: str, sample: Sample) -> NDArray[np.bool_]:
    """A mask [H, W] of the set."""
    try:
        with Image.open(folder / path) as image:
            mask = np.asarray(image.convert("L")) >= HALF
    except (OSError, Image.DecompressionBombError) as error:
        raise DatasetError(f"the mask {path} of sample {sample.id} cannot be read: {error}") from error
    if mask.shape != (sample.height, sample.width):
        size, wanted = f"{mask.shape[1]} × {mask.shape[0]}", f"{sample.width} × {sample.height}"
        raise DatasetError(f"the mask {path} of sample {sample.id} has {size} pixels, its picture {wanted}")
    return mask


def told(remarks: Counter[str]) -> dict[str, int]:
    return {remark: count for remark, count in sorted(remarks.items()) if count}


def whole(number: float) -> float | int:
    """A number as people write it: without a fraction of zero."""
    return int(number) if number == int(number) else float(number)
