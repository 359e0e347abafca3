"""YOLO as Ultralytics has it: data.yaml, pictures in .../images/..., and labels/... with a line an object.

A line is class, centre x, centre y, width, height and maybe a score, or class, x1, y1, x2, y2, x3, y3, ..., as shares
of the picture's size. The inside of an outline is that of the even-odd rule. A picture without a file has no object.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..marks import Mark, box_of
from ..sample import SPLITS
from .entry import Entry, Loaded, confined, links_of_file, picture_of, pictures_in, read_bytes, read_text
from .outlines import filled
from .yaml import Outline, parse

FILES = ("data.yaml", "data.yml", "dataset.yaml")


def recognises(folder: Path) -> bool:
    return _described(folder) is not None


def entries(folder: Path) -> list[Entry]:
    """Every picture, split by split, by their names. Raises DatasetError."""
    path = _described(folder)
    if path is None:
        raise DatasetError(f"{folder} has no {FILES[0]}, so it is no set of YOLO's")
    outline = parse(read_text(path), str(path))
    found = []
    for place, split in _places(folder, outline, path).items():
        pictures = pictures_in(folder / place, folder)
        if not pictures:
            raise DatasetError(f"{path}: {split} names {place}, where no pictures are")
        for each in pictures:
            load, links = partial(_load, folder, each, outline.names), partial(links_of_file, each)
            found.append(Entry(str(each), split, load, links))
    return found


def _described(folder: Path) -> Path | None:
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def _places(folder: Path, outline: Outline, path: Path) -> dict[str, str]:
    """Folder of pictures -> its split. One that two splits name is of the one that it is called by, else the first."""
    places: dict[str, str] = {}
    for split in SPLITS:
        if not (place := outline.values.get(split)):
            continue
        place = place.removeprefix("./").removeprefix("../").rstrip("/")  # some tools write them from a folder below
        confined(folder, place, f"{path}: {split}")
        if place not in places or split in place.split("/"):
            places[place] = split
    return places


def _load(folder: Path, path: Path, names: dict[int, str]) -> Loaded:
    picture = picture_of(read_bytes(path), str(path))
    parts = list(path.relative_to(folder).with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    labels = confined(folder, "/".join(parts), str(path))
    marks = []
    if labels.is_file():
        for number, line in enumerate(read_text(labels).splitlines(), 1):
            if line.strip():
                marks.append(_mark(line.split(), names, picture.shape[:2], f"{labels}, line {number}"))
    return Loaded(picture, marks=tuple(marks))


def _mark(words: list[str], names: dict[int, str], shape: tuple[int, int], where: str) -> Mark:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    whole = math.isfinite(sum(values)) and values[0].is_integer()
    if not whole or len(values) < 5 or (len(values) > 6 and len(values) % 2 == 0):
        raise DatasetError(f"{where} should be a class and the numbers of a box or an outline")
    if int(values[0]) not in names:
        raise DatasetError(f"{where}: data.yaml has no class {int(values[0])}")
    label, (height, width) = names[int(values[0])], shape
    if len(values) <= 6:
        x, y, wide, high = (value * side for value, side in zip(values[1:5], (width, height) * 2, strict=True))
        if min(wide, high) < 0:
            raise DatasetError(f"{where}: its box has a negative size")
        return Mark(label, box=(x - wide / 2, y - high / 2, wide, high), score=values[5] if len(values) == 6 else None)
    mask = filled(np.array(values[1:]).reshape(-1, 2) * (width, height), height, width)
    return Mark(label, mask, box_of(mask))
