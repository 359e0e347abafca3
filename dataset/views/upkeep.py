"""Builds the views of a set that are not up to date, and removes those of formats that are wanted no more."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..provenance import json_text
from ..sample import Sample
from . import FORMATS, Info
from .folder import VIEWS

RECORD = "views.json"


@dataclass(frozen=True)
class Views:
    """remarks: format -> remark -> how many times it applies. removed: formats that are wanted no more, whose views
    were deleted. left: those whose views were not, for they are not, or not only, what was built there."""

    remarks: Mapping[str, Mapping[str, int]]
    removed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def told(self) -> list[str]:
        """A line for each view of a format that is wanted no more."""
        removed = [f"removed {VIEWS}/{name}: it is not among the formats any more" for name in self.removed]
        left = [
            f"left {VIEWS}/{name} as it was: it is not among the formats, but has files that were not built there; "
            "delete it, or move it elsewhere"
            for name in self.left
        ]
        return removed + left


def keep_up(folder: Path, formats: Sequence[str], samples: Iterable[Sample], info: Info, state: str) -> Views:
    """Have the views of `formats`, and of no others, show the set in `folder` as it is.

    state: text that is another whenever `samples` are others. What was built, from what and with which files is kept
    in views.json. Raises DatasetError if the disk refuses.
    """
    source = _source(info, state)
    known = _read(folder / RECORD)
    built = dict(known)
    try:
        for name in formats:
            view = folder / VIEWS / name
            if name not in known or (known[name]["source"], known[name]["files"]) != (source, _files(view)):
                remarks = FORMATS[name](folder, samples, info)
                built[name] = {"source": source, "files": _files(view), "remarks": remarks}
        removed, left = _remove(folder / VIEWS, [name for name in FORMATS if name not in formats], built)
    finally:
        if built != known:
            write_whole(folder / RECORD, json_text(built, "the record of the views"))
    return Views({name: built[name]["remarks"] for name in formats}, removed, left)


def outdated(folder: Path, formats: Sequence[str], info: Info, state: str) -> list[str]:
    """Which of the formats have a view that keep_up() built of the set in `folder` as it was before."""
    source, known = _source(info, state), _read(folder / RECORD)
    return [name for name in formats if name in known and known[name]["source"] != source]


def _source(info: Info, state: str) -> str:
    return _digest([state, asdict(info), _writers()])


def _remove(views: Path, unwanted: Sequence[str], built: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Delete views that hold exactly what was built there; which were, and which are left."""
    removed, left = [], []
    for name in unwanted:
        view, gone = views / name, views / f".{name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        if not view.exists():
            built.pop(name, None)
        elif name in built and built[name]["files"] == _files(view):
            view.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            del built[name]
            removed.append(name)
        else:
            left.append(name)
    return tuple(removed), tuple(left)


def _read(path: Path) -> dict[str, Any]:
    """What is known of each view; nothing where that cannot be read, so that all are built again."""
    try:
        data = json.loads(path.read_bytes())
        return {name: data[name] for name in FORMATS if {"source", "files", "remarks"} <= set(data.get(name, ()))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _files(view: Path) -> str:
    """A digest of the names and sizes of the files in a folder."""
    return _digest(sorted(_sizes(view, "")))


def _sizes(folder: Path | str, place: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        name = f"{place}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(entry.path, name)
        else:
            yield name, entry.stat(follow_symlinks=False).st_size


@functools.cache
def _writers() -> str:
    """A digest of the code that builds views."""
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    return _digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in code])


def _digest(told: Any) -> str:
    return hashlib.sha256(json_text(told, "a view")).hexdigest()
