"""Load Dataset: labelled pictures from a folder, a chunk at a time."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dataset.readers import READERS, Entry, Loaded, recognise
from ..dataset.sample import SPLITS
from ..dataset.store import LEDGER
from .host import current
from .inside import inside

if TYPE_CHECKING:
    from torch import Tensor

    from ..dataset.marks import Mark

AUTO, ALL = "auto", "all"
MOST = 1024
WIDGETS = ("folder", "format", "split", "start", "count")
NO_MASKS = (64, 64)  # the size of the zeros that mean no mask, as ComfyUI's own loader gives them


class VarifoldLoadDataset:
    DESCRIPTION = (
        "Reads labelled pictures from a folder: a set of Export Dataset, ImageFolder, COCO, YOLO or WebDataset; "
        "as many at a time as you say."
    )
    SEARCH_ALIASES = ["coco", "yolo", "imagefolder", "webdataset", "load images", "annotations", "read dataset"]
    CATEGORY = "Varifold/data"
    FUNCTION = "load"
    RETURN_TYPES = ("IMAGE", "MASK", "BOUNDING_BOX", "STRING", "STRING", "STRING")
    RETURN_NAMES = ("images", "masks", "boxes", "labels", "captions", "report")
    OUTPUT_IS_LIST = (True, True, True, True, True, False)
    OUTPUT_TOOLTIPS = (
        "The pictures, a list, for they may differ in size.",
        "For each picture the masks of its objects, 1 = object; 64×64 zeros for objects that have none.",
        "For each picture a list of boxes: x, y, width, height, label; score and visibility if known.",
        "The class of each picture; empty where it has none.",
        "What each picture shows, in words; empty where it is not told.",
        "What was read, and what the set has.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "folder": (
                    "STRING",
                    {"default": "dataset", "tooltip": "The folder of the set, inside the output or the input folder."},
                ),
                "format": ([AUTO, *READERS], {"tooltip": "How the set is written. auto: told by its files."}),
                "split": ([ALL, *SPLITS], {"tooltip": "Which part of the set."}),
                "start": (
                    "INT",
                    {"default": 0, "min": 0, "max": 2**31, "tooltip": "The number of the first picture, from 0."},
                ),
                "count": (
                    "INT",
                    {
                        "default": 32,
                        "min": 1,
                        "max": MOST,
                        "tooltip": "How many pictures at most; all of them are in memory at once.",
                    },
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, folder=None, **_):
        # The folder may have more in it than when the same graph ran before.
        try:
            return _state(_found(folder))
        except (OSError, ValueError, AttributeError):
            return ""

    def load(self, folder, format, split, start, count):
        host = current()
        name, entries, chosen = _read(folder, format, split)
        if start >= len(chosen):
            told = f"in {split} " if split != ALL else ""
            raise ValueError(f"start: {folder} has {len(chosen)} pictures {told}as {name}, and none of number {start}")
        part = chosen[start : start + count]
        progress, loaded = host.progress(len(part)), []
        for number, entry in enumerate(part, 1):
            host.check_cancelled()
            loaded.append(entry.load())
            progress.update(number)
        images = [_image(each.picture) for each in loaded]
        masks = [_masks(each) for each in loaded]
        boxes = [[_box(mark) for mark in each.marks] for each in loaded]
        labels, captions = ([text or "" for text in texts] for texts in zip(*map(_texts, loaded), strict=True))
        report = _report(name, entries, chosen, start, loaded)
        return images, masks, boxes, labels, captions, report


def links_of(inputs: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What the pictures that a node with these inputs loads share with others: nothing told where inputs are wired.

    Raises ValueError where there is no such folder, or for a set that is broken.
    """
    folder, format, split, start, count = (inputs.get(name) for name in WIDGETS)
    if any(isinstance(value, list) for value in (folder, format, split, start, count)):
        return []
    return [entry.links() for entry in _read(folder, format, split)[2][start : start + count]]


def _read(folder: str, format: str, split: str) -> tuple[str, list[Entry], list[Entry]]:
    """The name of the format, all pictures, and those of the split."""
    place = _found(folder)
    name, entries = _entries(place, format, _state(place))
    return name, entries, [entry for entry in entries if split in (ALL, entry.split)]


@functools.lru_cache(maxsize=1)
def _entries(place: Path, format: str, state: str) -> tuple[str, list[Entry]]:
    """The name of the format and all pictures of a folder in that state: read once for all its chunks."""
    name = recognise(place) if format == AUTO else format
    return name, READERS[name](place)


def _found(folder: str) -> Path:
    """The folder of this name. Raises ValueError where there is none in the host's folders."""
    host = current()
    roots = (host.output_folder(), *host.input_folders())
    places = [inside(root, folder) for root in roots]
    for place in places:
        if place.is_dir():
            return place
    raise ValueError(f"folder: there is no folder {folder!r} in {' or '.join(map(str, roots))}")


def _state(folder: Path) -> str:
    """What changes when the files of a set do; a set of our own is told by its ledger."""
    ledger = folder / LEDGER
    files = [ledger] if ledger.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        found = os.stat(path)
        digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _image(picture: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(picture.astype(np.float32) / 255)[None]


def _masks(each: Loaded) -> Tensor:
    """[objects, H, W]; where some objects have a mask, those without one get their box."""
    import torch

    if not any(mark.mask is not None for mark in each.marks):
        return torch.zeros(len(each.marks), *(NO_MASKS if each.marks else each.picture.shape[:2]))
    masks = [_boxed(mark, each.picture.shape) if mark.mask is None else mark.mask for mark in each.marks]
    return torch.from_numpy(np.stack(masks)).float()


def _boxed(mark: Mark, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape[:2], bool)
    x, y, width, height = mark.box
    mask[max(0, round(y)) : max(0, round(y + height)), max(0, round(x)) : max(0, round(x + width))] = True
    return mask


def _box(mark: Mark) -> dict[str, Any]:
    edges = zip(("x", "y", "width", "height"), mark.box, strict=True)
    box = {name: int(value) if value == int(value) else float(value) for name, value in edges}
    more = {"label": mark.label, "score": mark.score, "visibility": mark.visibility}
    return box | {name: value for name, value in more.items() if value is not None}


def _texts(each: Loaded) -> tuple[str | None, str | None]:
    return each.label, each.caption


def _report(name: str, entries: list[Entry], chosen: list[Entry], start: int, loaded: list[Loaded]) -> str:
    splits = Counter(entry.split or "without a split" for entry in entries)
    marks = [mark for each in loaded for mark in each.marks]
    masked = sum(mark.mask is not None for mark in marks)
    last = start + len(loaded) - 1
    lines = [
        f"{name}: {len(entries)} pictures, " + ", ".join(f"{split} {count}" for split, count in splits.items()),
        f"read: {len(loaded)} of {len(chosen)}, numbers {start} to {last}, with {len(marks)} objects, {masked} masked",
    ]
    filled = sum(
        mark.mask is None for each in loaded for mark in each.marks if any(own.mask is not None for own in each.marks)
    )
    lines += [f"objects without a mask beside others with one, which got their box for it: {filled}"] if filled else []
    for title, labels in (("labels", [each.label for each in loaded]), ("objects", [mark.label for mark in marks])):
        counts = Counter(label for label in labels if label)
        lines += [f"{title}: " + ", ".join(f"{label} {count}" for label, count in counts.items())] if counts else []
    return "\n".join(lines)
