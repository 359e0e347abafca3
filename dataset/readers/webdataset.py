"""WebDataset: tar files whose members KEY.png (jpg, webp), KEY.json, KEY.cls and KEY.txt are one sample.

KEY.json may tell label, caption and instances (label, bbox, segmentation as COCO's, score, visibility); else KEY.cls is
the label, by its number in labels.json if there is one, and KEY.txt the caption. The split is in the tar's name.
"""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..marks import Mark
from .entry import (
    PICTURES,
    Entry,
    Loaded,
    box_of_json,
    confined,
    is_number,
    json_object,
    json_of,
    link_of,
    picture_of,
    read_text,
    split_of,
    text_or_none,
)
from .outlines import mask_of

Members = dict[str, tuple[int, int]]  # what follows the key -> where its content begins in the tar, and how long it is


def recognises(folder: Path) -> bool:
    return any(folder.glob("*.tar"))


def entries(folder: Path) -> list[Entry]:
    """Every sample, tar by tar, in the members' order. Raises DatasetError for a tar that is broken."""
    labels = _labels(folder / "labels.json")
    found = []
    for path in sorted(folder.glob("*.tar")):
        confined(folder, path.name, str(folder))
        split = split_of(path.stem.split("-")[0])
        for key, members in _samples(path).items():
            load, links = partial(_load, path, key, members, labels), partial(_links, path, members)
            found.append(Entry(f"{path}, {key}", split, load, links))
    return found


def _labels(path: Path) -> list[str]:
    labels = json_of(read_text(path), str(path)) if path.is_file() else []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DatasetError(f"{path} should be a list of labels")
    return labels


def _samples(path: Path) -> dict[str, Members]:
    """Key -> its members; those without a picture are passed over, as `webdataset`'s own readers can."""
    found: dict[str, Members] = {}
    try:
        with tarfile.open(path, "r:") as file:
            for member in file:
                folder, _, name = member.name.rpartition("/")
                key, dot, kind = name.partition(".")
                if member.isreg() and key and dot:
                    whole = f"{folder}/{key}" if folder else key
                    found.setdefault(whole, {})[kind.lower()] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DatasetError(f"{path} is no tar file that can be read: {error}") from error
    return {key: members for key, members in found.items() if any(f".{kind}" in PICTURES for kind in members)}


def _picture(members: Members) -> str:
    return next(kind for kind in members if f".{kind}" in PICTURES)


def _content(path: Path, member: tuple[int, int]) -> bytes:
    offset, size = member
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def _links(path: Path, members: Members) -> tuple[str, ...]:
    return (link_of(_content(path, members[_picture(members)])),)


def _load(path: Path, key: str, members: Members, labels: list[str]) -> Loaded:
    def text(kind: str) -> str:
        try:
            return _content(path, members[kind]).decode("utf-8-sig" if kind == "json" else "utf-8")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path}, {key}.{kind} is not written in UTF-8") from error

    kind = _picture(members)
    picture = picture_of(_content(path, members[kind]), f"{path}, {key}.{kind}")
    where = f"{path}, {key}.json"
    told = json_object(text("json"), where) if "json" in members else {}
    label, caption = (text_or_none(told.get(name), f"{where}: {name}") for name in ("label", "caption"))
    if label is None and "cls" in members:
        label = _named(text("cls").strip(), labels, f"{path}, {key}.cls")
    if caption is None and "txt" in members:
        caption = text("txt")
    return Loaded(picture, label, caption, _marks(told.get("instances", []), picture.shape[:2], where))


def _named(number: str, labels: list[str], where: str) -> str:
    if not labels:
        return number
    if not number.isdecimal() or int(number) >= len(labels):
        raise DatasetError(f"{where}: {ascii(number)[:80]} is no number of a label in labels.json")
    return labels[int(number)]


def _marks(instances: Any, shape: tuple[int, int], where: str) -> tuple[Mark, ...]:
    if not isinstance(instances, list) or not all(isinstance(each, dict) for each in instances):
        raise DatasetError(f"{where}: instances should be a list of objects")
    marks = []
    for number, each in enumerate(instances, 1):
        place = f"{where}, instance {number}"
        told = [each.get(name) for name in ("score", "visibility")]
        if not isinstance(each.get("label"), str) or not all(value is None or is_number(value) for value in told):
            raise DatasetError(f"{place}: label should be text, score and visibility numbers")
        mask = mask_of(each.get("segmentation"), *shape, place)
        marks.append(Mark(each["label"], mask, box_of_json(each.get("bbox"), place), *told))
    return tuple(marks)
