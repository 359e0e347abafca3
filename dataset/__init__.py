"""Labelled sets of pictures: a ledger and immutable files, and the formats built from them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models.train.pictures import Pictures

__all__ = ["load_data"]


def load_data(path: str | os.PathLike, image_size: int = 64, **reading: Any) -> Pictures:
    """The pictures of a folder, to train on; those of `held` are held out, a tenth or those in val or test.

    Names of folders are labels, .txt files beside pictures captions; see `picture_files.find`. `reading` are fields of
    a `picture_reading.Reading`: flip=True, held_out=0.2, transparency="on white", ... What cannot be read is in
    `problems`. Raises OSError if there is no such folder, and ValueError if it has no picture that can be read.
    """
    from ..models.train.picture_reading import read_folder

    return read_folder(path, size=image_size, **reading)
