"""ImageFolder: SPLIT/LABEL/picture as torchvision reads it, or metadata.jsonl as Hugging Face's `datasets` does.

Both with splits or without. Of metadata.jsonl: file_name, label, caption or text, and objects with bbox (x, y, width,
height in pixels) and categories. labels.json beside the splits, where there is one, tells which label a folder is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..marks import Mark
from .entry import (
    Entry,
    Loaded,
    box_of_json,
    confined,
    json_object,
    links_of_file,
    picture_of,
    pictures_in,
    read_bytes,
    read_text,
    split_of,
    text_or_none,
)

METADATA, LABELS = "metadata.jsonl", "labels.json"


def recognises(folder: Path) -> bool:
    return bool((folder / METADATA).is_file() or pictures_in(folder, folder))


def entries(folder: Path) -> list[Entry]:
    """Every picture, split by split; those of a metadata.jsonl in its order. Raises DatasetError."""
    if (folder / METADATA).is_file():
        return list(_listed(folder, folder, ""))
    parts = [(split_of(path.name), path) for path in sorted(folder.iterdir()) if path.is_dir()]
    splits = [(split, path) for split, path in parts if split] or [("", folder)]
    found: list[Entry] = []
    for split, part in splits:
        found += _listed(folder, part, split) if (part / METADATA).is_file() else _in_folders(folder, part, split)
    return found


def _in_folders(root: Path, part: Path, split: str) -> Iterator[Entry]:
    names = _labels(root)
    for path in pictures_in(part, root):
        inside = path.relative_to(part).parts[:-1]
        label = names.get(inside[0], inside[0]) if inside else None
        yield Entry(str(path), split, partial(_load, path, label, None, ()), partial(links_of_file, path))


def _labels(root: Path) -> dict[str, str]:
    """Folder -> label."""
    path = root / LABELS
    names = json_object(read_text(path), str(path)) if path.is_file() else {}
    if not all(isinstance(label, str) for label in names.values()):
        raise DatasetError(f"{path} should be labels as text by the names of their folders")
    return names


def _listed(root: Path, part: Path, split: str) -> Iterator[Entry]:
    names, path = _labels(root), part / METADATA
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = json_object(line, where)
        picture = confined(part, row.get("file_name"), where)
        if not picture.is_file():
            raise DatasetError(f"{where}: there is no picture {picture}")
        inside = row["file_name"].split("/")[:-1]
        own = split or (split_of(inside[0]) if inside else "")
        folders = inside if split or not own else inside[1:]
        label = row["label"] if "label" in row else names.get(folders[0], folders[0]) if folders else None
        caption = text_or_none(row.get("caption", row.get("text")), f"{where}: caption")
        marks = tuple(_marks(row.get("objects"), where))
        load = partial(_load, picture, text_or_none(label, f"{where}: label"), caption, marks)
        yield Entry(str(picture), own, load, partial(links_of_file, picture))


def _marks(objects: Any, where: str) -> Iterator[Mark]:
    if objects is None:
        return
    boxes, labels = (objects.get(name) for name in ("bbox", "categories")) if isinstance(objects, dict) else (0, 0)
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        raise DatasetError(f"{where}: objects should have bbox and categories, as many of one as of the other")
    for box, label in zip(boxes, labels, strict=True):
        yield Mark(text_or_none(label, f"{where}: categories") or "", box=box_of_json(box, where))


def _load(path: Path, label: str | None, caption: str | None, marks: tuple[Mark, ...]) -> Loaded:
    return Loaded(picture_of(read_bytes(path), str(path)), label, caption, marks)
