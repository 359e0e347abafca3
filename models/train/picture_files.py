"""Pictures in a folder, with what the folder says of them: none is opened yet."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
METADATA = "metadata.jsonl"
LONGEST_CAPTION = 2**16  # bytes
PART = re.compile(r"(train|training)|(val|valid|validation|dev|test|held)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A picture that can be read. `name` is for messages; `part` is "train", "held" or "", where nothing tells."""

    name: str
    open: Callable[[], Image.Image]
    label: str = ""
    caption: str = ""
    part: str = ""


def find(folder: Path) -> tuple[list[Source], list[str]]:
    """The pictures of a folder and those below it, and what is wrong with some, in the order of their names.

    The label is the first folder on the way, below train, val or test where the folder has these. The caption is in a
    .txt of the same name beside the picture, or both are in a metadata.jsonl, as ImageFolder has it. Links that lead
    out of the folder, folders that are links, and hidden files are passed over.
    Raises OSError if the folder cannot be read.
    """
    root = Path(os.path.realpath(folder))
    names, problems = _walk(root)
    paths = sorted(names)
    pictures = [path for path in paths if path.suffix.lower() in SUFFIXES]
    tops = {names[path].split("/")[0] for path in pictures}
    parted = any(_part(top) == "train" for top in tops) and all(_part(top) for top in tops)
    rows: dict[Path, dict[str, str]] = {}
    for path in paths:
        if path.name == METADATA:
            rows |= _metadata(path, names[path], problems)
    texts = {path.with_suffix(""): path for path in paths if path.suffix == ".txt"}
    sources = []
    for path in pictures:
        above = names[path].split("/")[:-1]
        part = _part(above[0]) if parted else ""
        row = rows.pop(path, {})
        label = row.get("label") or (above[parted:] or [""])[0]
        caption = row.get("caption") or row.get("text") or ""
        if path.with_suffix("") in texts:
            caption = _text(texts[path.with_suffix("")], names, problems) or caption
        sources.append(Source(names[path], partial(Image.open, path), label, caption, part))
    problems += [f"{_name(path, root)}, named in {METADATA}, is not there" for path in sorted(rows)]
    alone = set(texts) - {path.with_suffix("") for path in pictures}
    problems += [f"{names[texts[stem]]} is a caption without a picture" for stem in sorted(alone)]
    return sources, problems


def _walk(root: Path) -> tuple[dict[Path, str], list[str]]:
    """The files that may be read, with their names for people, and why others may not."""
    names, problems = {}, []
    for above, folders, files in os.walk(root, onerror=partial(_raise_at, root)):
        linked = [name for name in folders if os.path.islink(os.path.join(above, name))]
        problems += [f"{_name(Path(above) / name, root)} is a link to a folder" for name in linked]
        folders[:] = [name for name in folders if name not in linked and not name.startswith(".")]
        for path in (Path(above) / name for name in files if not name.startswith(".")):
            if path.suffix.lower() not in SUFFIXES and path.suffix != ".txt" and path.name != METADATA:
                continue
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                problems.append(f"{_name(path, root)} leads out of the folder by a link")
            elif not path.is_file():
                problems.append(f"{_name(path, root)} is no file")
            else:
                names[path] = _name(path, root)
    return names, sorted(problems)


def _name(path: Path, root: Path) -> str:
    """The path inside the folder, as text that can be shown whatever bytes are in it."""
    return path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()


def _raise_at(root: Path, error: OSError) -> None:
    # A folder below that is closed is like an empty one.
    if Path(error.filename) == root:
        raise error


def _part(folder: str) -> str:
    found = PART.fullmatch(folder)
    return ("train", "held")[found.lastindex - 1] if found else ""


def _text(path: Path, names: dict[Path, str], problems: list[str]) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST_CAPTION).decode("utf-8-sig", "replace").strip()
    except OSError as error:
        problems.append(f"{names[path]} cannot be read: {error.strerror}")
        return ""


def _metadata(path: Path, name: str, problems: list[str]) -> dict[Path, dict[str, str]]:
    """Picture -> what its line says of it, as text."""
    rows: dict[Path, dict[str, str]] = {}
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = _row(line)
                    if row is None:
                        problems.append(
                            f"{name}, line {number} should be an object with the file_name of a picture here"
                        )
                    else:
                        rows[path.parent / row["file_name"]] = row
    except OSError as error:
        problems.append(f"{name} cannot be read: {error.strerror}")
    return rows


def _row(line: str) -> dict[str, str] | None:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    file = row.get("file_name") if isinstance(row, dict) else None
    if not isinstance(file, str) or any(part in ("", ".", "..") for part in file.split("/")) or "\0" in file:
        return None
    kept = (int, float, str)
    return {key: str(value) for key, value in row.items() if isinstance(value, kept) and not isinstance(value, bool)}
