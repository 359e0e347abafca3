"""A picture of a set that is read back, and what all readers need to find and check it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import DatasetError
from ..marks import Mark
from ..metadata import decode
from ..provenance import SOURCE
from ..sample import is_path_inside

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
SPLIT_NAME = re.compile(r"(?:(train)|(val|valid|validation|dev)|(test))(?:\d{4})?", re.IGNORECASE)


@dataclass(frozen=True)
class Loaded:
    """picture: [H, W, 3 or 4], uint8. A mark's box is in pixels, its mask [H, W]."""

    picture: np.ndarray
    label: str | None = None
    caption: str | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Entry:
    """where: the picture's file, for messages. split: "train", "val", "test" or, where the set has none, empty.

    load() reads the picture and its masks; links() tells what it shares with others, as Store.add takes it: its file,
    and what a sample of ours shares. Both raise DatasetError for what is broken.
    """

    where: str
    split: str
    load: Callable[[], Loaded]
    links: Callable[[], tuple[str, ...]]


def split_of(name: str) -> str:
    """The split that a folder or file is of by its name, such as train, valid or val2017; empty if by none."""
    found = SPLIT_NAME.fullmatch(name)
    return ("train", "val", "test")[found.lastindex - 1] if found else ""


def confined(folder: Path, name: str, where: str) -> Path:
    """FOLDER/name. Raises DatasetError, which names `where`, if that leads out of the folder, by links too."""
    if not is_path_inside(name) or not Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder)):
        raise DatasetError(f"{where}: {ascii(name)[:120]} is no file inside {folder}")
    return folder / name


def pictures_in(folder: Path, root: Path) -> list[Path]:
    """The pictures in a folder and those below it, by their names. Raises DatasetError for links out of `root`."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file()]
    return [confined(root, path.relative_to(root).as_posix(), str(folder)) for path in sorted(found)]


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def link_of(content: bytes) -> str:
    """What is shared by all that is made of a picture's file."""
    return f"{SOURCE}{hashlib.sha256(content).hexdigest()}"


def links_of_file(path: Path) -> tuple[str, ...]:
    return (link_of(read_bytes(path)),)


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not written in UTF-8: {error.reason} at byte {error.start}") from error


def picture_of(content: bytes, where: str) -> np.ndarray:
    """The pixels of a picture's file."""
    try:
        return decode(content)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{where} is no picture that can be read: {error}") from error


def json_of(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is no JSON: {error}") from error


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    table = json_of(text, where)
    if not isinstance(table, dict):
        raise DatasetError(f"{where} should be an object, and is {type(table).__name__}")
    return table


def text_or_none(value: Any, where: str) -> str | None:
    """A label or caption; numbers become text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    raise DatasetError(f"{where} should be text, and is {ascii(value)[:80]}")


def box_of_json(value: Any, where: str) -> tuple[float, float, float, float]:
    numbers = isinstance(value, list) and len(value) == 4 and all(map(is_number, value))
    if not numbers or min(value[2:]) < 0:
        raise DatasetError(f"{where}: bbox should be x, y, width, height in pixels, and is {ascii(value)[:80]}")
    return tuple(map(float, value))


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
