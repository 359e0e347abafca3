"""What a view tells of a set as a whole, and how views number and name things."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ..errors import DatasetError
from ..names import file_names
from ..sample import SPLITS, Sample


@dataclass(frozen=True)
class Info:
    """A set's name and terms. licence: an SPDX id or a URL, of samples that name none. date: YYYY-MM-DD, or empty;
    nothing else in a view depends on when it is built. names: label -> file name, in the order in which the labels
    came into the set (Store.names): it numbers the categories, so a set that grows keeps its numbers.
    """

    name: str
    description: str = ""
    licence: str = ""
    author: str = ""
    version: str = "1.0.0"
    url: str = ""
    date: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


class Streamed:
    """Samples that are read anew each time they are gone through: Streamed(store.samples)."""

    def __init__(self, read: Callable[[], Iterator[Sample]]):
        self._read = read

    def __iter__(self) -> Iterator[Sample]:
        return self._read()


def shown(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples whose split is decided. Raises DatasetError for an iterator, which could be read but once."""
    if isinstance(samples, Iterator):
        raise DatasetError("a view goes through the samples more than once: give a list, or Streamed(store.samples)")
    return (sample for sample in samples if sample.split)


def splits(samples: Iterable[Sample]) -> list[str]:
    """The splits that have samples; "train" for a set without any."""
    found = {sample.split for sample in shown(samples)}
    return [split for split in SPLITS if split in found] or [SPLITS[0]]


def object_labels(samples: Iterable[Sample]) -> set[str]:
    return {each.label for sample in shown(samples) for each in sample.instances}


def picture_labels(samples: Iterable[Sample]) -> set[str]:
    return {sample.label for sample in shown(samples) if sample.label is not None}


def numbered(labels: set[str], info: Info) -> dict[str, int]:
    """Label -> its number from 0: first those of info.names in their order, then the others by the alphabet."""
    ordered = [label for label in info.names if label in labels]
    ordered += sorted(labels - info.names.keys())
    return {label: number for number, label in enumerate(ordered)}


def folder_names(labels: set[str], info: Info) -> dict[str, str]:
    """Label -> the name of its folder."""
    known = {label: name for label, name in info.names.items() if file_names([name]) == {name: name}}
    names = file_names(labels, known)
    return {label: names[label] for label in sorted(labels)}


def stem(sample: Sample) -> str:
    """The name of a sample's files: its id, or a hash of it if it has other than letters, digits, "-" and "_"."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", sample.id)
    return sample.id if plain else hashlib.sha256(utf8(sample.id)).hexdigest()


def suffix(sample: Sample) -> str:
    return PurePosixPath(sample.image).suffix.lower()


def licence_of(sample: Sample, info: Info) -> str:
    return str((sample.provenance or {}).get("licence") or info.licence)


def is_spdx(licence: str) -> bool:
    """Whether a licence is an id such as "CC-BY-4.0", and no URL or other text."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence) is not None


LINE_ENDS = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "\x7f\x85\u2028\u2029\ufeff"})


def dumps(value: Any) -> str:
    """JSON of one line in Unicode, which is YAML too; half a surrogate pair becomes a question mark.

    Raises DatasetError for numbers that JSON does not have.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise DatasetError(f"{ascii(value)[:200]} cannot be written as JSON: {error}") from error
    return utf8(text).decode().translate(LINE_ENDS)


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
