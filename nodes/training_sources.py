"""Where the pictures of a training come from: a folder of the host's, a set of ours, or what is wired."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataset.store import LEDGER
from . import wires
from .host import current
from .inside import inside
from .sheet import fitting

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.train.picture_files import Source

PARTS = {"train": "train", "val": "held", "test": "held", "": ""}


def found(name: str) -> Path:
    """The folder of this name. Raises ValueError where there is none in the host's folders."""
    host = current()
    roots = (*host.input_folders(), host.output_folder())
    for root in roots:
        if (place := inside(root, name)).is_dir():
            return place
    raise ValueError(f"folder: there is no folder {name!r} in {' or '.join(map(str, roots))}")


def in_folder(place: Path) -> tuple[list[Source], list[str]]:
    """The pictures of a folder, and what is wrong with some; of a set of Export Dataset those that count."""
    from ..models.train.picture_files import find

    return (in_set(place), []) if (place / LEDGER).is_file() else find(place)


def in_set(place: Path) -> list[Source]:
    from PIL import Image

    from ..dataset import store
    from ..models.train.picture_files import Source

    with store.open(place, write=False) as opened:
        return [
            Source(
                each.image,
                partial(Image.open, place / each.image),
                each.label or "",
                each.caption or "",
                PARTS[each.split],
            )
            for each in opened.samples()
        ]


def wired(images: Sequence[Tensor], masks: Sequence[Tensor | None], labels: Sequence[str]) -> list[Source]:
    """All pictures of IMAGEs, transparent where the MASKs say 1, with a label or caption each.

    Raises ValueError where there are not as many of one as of the other.
    """
    from ..models.train.picture_sources import given

    if len(masks) not in (0, 1, len(images)):
        raise ValueError(f"there are {len(images)} images and {len(masks)} masks: one for all, or one each")
    pictures = []
    for number, image in enumerate(images):
        rgb, alpha = wires.image_in(image)
        mask = masks[number % len(masks)] if masks else None
        if not wires.is_no_mask(mask):
            alpha = 1 - fitting(wires.mask_in(mask), alpha)
        pictures += list(zip(rgb, alpha, strict=True))
    return given(pictures, _texts(labels, [len(image) for image in images]))


def _texts(labels: Sequence[str], batches: Sequence[int]) -> list[str]:
    """A text for each picture, given as lines or as a list; one for all, one each, or one a batch."""
    texts = labels[0].strip().splitlines() if len(labels) == 1 else list(labels)
    texts, count = [text.strip() for text in texts], sum(batches)
    if len(texts) <= 1:
        return (texts or [""]) * count
    if len(texts) == len(batches) != count:
        return [text for text, size in zip(texts, batches, strict=True) for _ in range(size)]
    if len(texts) != count:
        raise ValueError(f"labels: there are {len(texts)} for {count} images: one each, a line each, or one for all")
    return texts


def state(place: Path) -> str:
    """What changes when the files of a folder do."""
    digest = hashlib.sha256()
    ledger = place / LEDGER
    for path in [ledger] if ledger.is_file() else sorted(place.rglob("*")):
        if path.is_file():
            file = os.stat(path)
            told = f"{path} {file.st_size} {file.st_mtime_ns}\n"
            digest.update(told.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
