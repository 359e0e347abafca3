"""What of a ledger is kept in memory, under 250 bytes a sample; the rest stays in the file."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import DatasetError
from .hashing import HashIndex
from .ledger import BODY
from .sample import SPLITS

IS_SAMPLE = b'"kind":"sample",'
TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
TEXTS = rb"\[(?:" + TEXT + rb",?)*\]"
HEAD = re.compile(
    IS_SAMPLE + rb'"id":"([0-9a-f]{16})","hash":"([0-9a-f]{16})",'
    rb'"rejected":(null|' + TEXT + rb'),"classes":(' + TEXTS + rb'),"links":(' + TEXTS + rb"),"
)
NO_SPLIT = -1


class Index:
    """The state that the entries of a ledger add up to. Samples are numbered in the order in which they were added."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.numbers: dict[str, int] = {}  # id -> number
        self.offsets = array("Q")  # of a sample's line
        self.hashes = HashIndex()
        self.rejected: dict[int, str] = {}  # number -> why
        self.relabelled: dict[int, dict[int | None, str]] = {}  # number -> instance, or None for the picture -> label
        self.names: dict[str, str] = {}  # label -> file name
        self.graphs: dict[str, str] = {}  # hash -> path
        self.counts: Counter = Counter()  # class -> live samples with it
        self._classes = array("L")  # a sample's entry in _combinations
        self._combinations: list[tuple[str, ...]] = []
        self._codes: dict[bytes | tuple[str, ...], int] = {}  # what a line says, or the tuple -> entry
        self._splits = array("b")
        self._groups = array("l")  # the number of the sample that a group is named by

    def __len__(self) -> int:
        return len(self.offsets)

    def number(self, id: str) -> int:
        """Raises DatasetError for an unknown id."""
        if id not in self.numbers:
            raise DatasetError(f"the set has no sample {id!r}")
        return self.numbers[id]

    def is_live(self, number: int) -> bool:
        return number not in self.rejected

    def live(self) -> Iterator[int]:
        return filter(self.is_live, range(len(self)))

    def classes(self, number: int) -> tuple[str, ...]:
        return self._combinations[self._classes[number]]

    def split(self, number: int) -> str:
        return "" if self._splits[number] == NO_SPLIT else SPLITS[self._splits[number]]

    def group(self, number: int) -> int | None:
        """The number of the sample that the group is named by; None if it is undecided."""
        return None if self._splits[number] == NO_SPLIT else self._groups[number]

    def take(self, offset: int, line: bytes) -> None:
        """Take in a line. Raises DatasetError for one that no Varifold of this version writes."""
        if line.startswith(IS_SAMPLE, BODY):
            self._take_sample(offset, line)
            return
        entry = json.loads(line)
        take = TAKERS.get(entry["kind"])
        if take is None:
            raise DatasetError(f"an entry of the kind {entry['kind']!r} is unknown to this Varifold: update it")
        take(self, entry)

    def reclass(self, number: int, classes: tuple[str, ...]) -> None:
        """Change what a sample counts as."""
        if self.is_live(number):
            self._count(number, -1)
        self._classes[number] = self._code(classes, classes)
        if self.is_live(number):
            self._count(number, 1)

    @staticmethod
    def links(line: bytes) -> list[str]:
        """What the sample of a line shares with others."""
        return json.loads(HEAD.match(line, BODY)[5])

    def _take_sample(self, offset: int, line: bytes) -> None:
        head = HEAD.match(line, BODY)
        if head is None:
            raise DatasetError("this sample is not written as this Varifold writes them: update it")
        id, value, rejected, classes, _ = head.groups()
        number = len(self)
        self.ids.append(id.decode())
        self.numbers[self.ids[-1]] = number
        self.offsets.append(offset)
        self.hashes.add(int(value, 16))
        code = self._codes.get(classes)
        self._classes.append(self._code(classes, tuple(json.loads(classes))) if code is None else code)
        self._splits.append(NO_SPLIT)
        self._groups.append(number)
        if rejected == b"null":
            self._count(number, 1)
        else:
            self.rejected[number] = json.loads(rejected)

    def _take_reject(self, entry: Mapping[str, Any]) -> None:
        number = self.number(entry["id"])
        if self.is_live(number):
            self._count(number, -1)
        self.rejected[number] = entry["reason"]

    def _take_restore(self, entry: Mapping[str, Any]) -> None:
        number = self.number(entry["id"])
        if self.rejected.pop(number, None) is not None:
            self._count(number, 1)

    def _take_relabel(self, entry: Mapping[str, Any]) -> None:
        number = self.number(entry["id"])
        self.relabelled.setdefault(number, {})[entry["instance"]] = entry["label"]
        self.reclass(number, tuple(entry["classes"]))

    def _take_name(self, entry: Mapping[str, Any]) -> None:
        self.names[entry["label"]] = entry["name"]

    def _take_graph(self, entry: Mapping[str, Any]) -> None:
        self.graphs[entry["hash"]] = entry["file"]

    def _take_split(self, entry: Mapping[str, Any]) -> None:
        for group, (split, ids) in entry["groups"].items():
            for id in ids:
                number = self.number(id)
                self._splits[number] = SPLITS.index(split)
                self._groups[number] = self.number(group)
        for id, reason in entry["rejected"].items():
            self._take_reject({"id": id, "reason": reason})

    def _code(self, said: bytes | tuple[str, ...], classes: tuple[str, ...]) -> int:
        if classes not in self._codes:
            self._codes[classes] = len(self._combinations)
            self._combinations.append(classes)
        self._codes[said] = self._codes[classes]
        return self._codes[said]

    def _count(self, number: int, change: int) -> None:
        for name in self.classes(number):
            self.counts[name] += change


TAKERS = {
    "reject": Index._take_reject,
    "restore": Index._take_restore,
    "relabel": Index._take_relabel,
    "name": Index._take_name,
    "graph": Index._take_graph,
    "split": Index._take_split,
}
