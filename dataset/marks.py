"""Objects marked in a picture that is to be added, and the files of their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .errors import DatasetError
from .files import MASKS, Files
from .metadata import encode_mask
from .sample import Instance


@dataclass(frozen=True)
class Mark:
    """An object in a picture.

    mask: [H, W] bool, True where the object is. box: x, y, width, height in pixels; the mask's own if there is none.
    score and visibility: see Instance.
    """

    label: str
    mask: np.ndarray | None = None
    box: Sequence[float] | None = None
    score: float | None = None
    visibility: float | None = None

    def check(self, number: int, shape: tuple[int, int]) -> None:
        """Raise DatasetError, with the mark's number, unless it fits a picture of shape [H, W]."""
        if self.mask is None and self.box is None:
            raise DatasetError(f"mark {number} ({self.label!a}) has neither a mask nor a box")
        if self.mask is not None and (self.mask.dtype != bool or self.mask.shape != shape):
            wanted, told = "x".join(map(str, shape)), f"{self.mask.dtype} {self.mask.shape}"
            raise DatasetError(f"the mask of mark {number} must be bool of the picture's {wanted}, not {told}")

    def instance(self) -> tuple[Instance, bytes | None]:
        """It as an instance of a sample, and what is in the file of its mask."""
        box = box_of(self.mask) if self.box is None else self.box
        score, visibility = (None if value is None else float(value) for value in (self.score, self.visibility))
        instance = Instance(self.label, tuple(map(float, box)), None, score, visibility)
        if self.mask is None:
            return instance, None
        content = encode_mask(self.mask)
        return replace(instance, mask=Files.place(MASKS, content, ".png")[0]), content


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """x, y, width, height of the pixels of a mask [H, W]; all 0 if it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return 0.0, 0.0, 0.0, 0.0
    x, y = int(columns[0]), int(rows[0])
    return float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)
