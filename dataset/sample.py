"""One labelled picture of a set, and the objects marked in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .errors import DatasetError

SPLITS = ("train", "val", "test")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Instance:
    """An object in a picture.

    box: x, y, width, height in pixels from the upper left corner. mask: path inside the set's folder of a PNG of the
    picture's size and one channel, 255 where the object is. score: how sure its finder was. visibility: the share of
    the object that nothing hides, 0..1.
    """

    label: str
    box: tuple[float, float, float, float]
    mask: str | None = None
    score: float | None = None
    visibility: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "box": list(self.box)}

    @staticmethod
    def from_json(table: object, where: str = "this instance") -> Instance:
        """Read what to_json gave. Raises DatasetError that names `where` and the field."""
        table = _table(table, INSTANCE_FIELDS, where)
        return Instance(**{**table, "box": tuple(map(float, table["box"]))})


@dataclass(frozen=True)
class Sample:
    """A picture of a set and what is known of it.

    id: 16 hex digits. image: path of the picture inside the set's folder, with slashes. width, height: pixels.
    sha256: of the picture's file. label: the class of the whole picture. split: "train", "val" or "test"; samples of
    one `group` share it; both are empty until Store.split has decided, and no view shows such a sample. provenance:
    seed, graph and checkpoint hashes, versions, conditioning, licence, author and the like, as JSON data.
    """

    id: str
    image: str
    width: int
    height: int
    sha256: str
    label: str | None = None
    caption: str | None = None
    instances: tuple[Instance, ...] = ()
    split: str = ""
    group: str = ""
    provenance: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in SAMPLE_FIELDS}
        instances = [each.to_json() for each in self.instances]
        return {**fields, "instances": instances, "provenance": dict(self.provenance or {})}

    @staticmethod
    def from_json(table: object, where: str = "this sample") -> Sample:
        """Read what to_json gave, whatever else is there. Raises DatasetError that names `where` and the field."""
        table = _table(table, SAMPLE_FIELDS, where)
        instances = enumerate(table["instances"])
        read = tuple(Instance.from_json(each, f"{where}, instance {index}") for index, each in instances)
        return Sample(**{**table, "instances": read})


def is_path_inside(value: object) -> bool:
    """Whether `value` is a relative path with slashes that stays inside its folder on every system."""
    if not isinstance(value, str) or not value or any(letter in value for letter in '\\:*?"<>|\0'):
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _box(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(map(_number, value)) and min(value[2:]) >= 0


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


INSTANCE_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "label": (_text, "text"),
    "box": (_box, "four finite numbers x, y, width, height, the last two not negative"),
    "mask": (_or_none(is_path_inside), "a path inside the set's folder, or null"),
    "score": (_or_none(_number), "a finite number or null"),
    "visibility": (_or_none(lambda value: _number(value) and 0 <= value <= 1), "a number from 0 to 1, or null"),
}
SAMPLE_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "id": (lambda value: _text(value) and value != "", "text"),
    "image": (is_path_inside, "a path inside the set's folder"),
    "width": (_size, "a whole number of pixels, at least 1"),
    "height": (_size, "a whole number of pixels, at least 1"),
    "sha256": (lambda value: _text(value) and SHA256.fullmatch(value) is not None, "64 hex digits"),
    "label": (_or_none(_text), "text or null"),
    "caption": (_or_none(_text), "text or null"),
    "instances": (lambda value: isinstance(value, list), "a list"),
    "split": (lambda value: value in ("", *SPLITS), f"one of {', '.join(SPLITS)}, or empty"),
    "group": (_text, "text"),
    "provenance": (lambda value: isinstance(value, dict), "an object"),
}


def _table(table: object, fields: Mapping[str, tuple[Callable[[object], bool], str]], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise DatasetError(f"{where} is {type(table).__name__}, not an object")
    for name, (check, wanted) in fields.items():
        if name not in table:
            raise DatasetError(f"{where} has no {name}, which must be {wanted}")
        if not check(table[name]):
            raise DatasetError(f"{where}: {name} is {ascii(table[name])[:80]}, not {wanted}")
    return {name: table[name] for name in fields}
