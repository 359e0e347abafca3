"""The parts of a run that several processes make: where each lies, and whether all have done what they were to do."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .files import write_whole
from .provenance import json_text
from .store import LEDGER

PARTS = "shards"
RECORD, MERGED = "part.json", "merged.json"
NAME = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True)
class Part:
    """Part `number` of `count` of a run, in `folder`.

    sweep: text that stands for what all parts together are to make. finished: whether this one has done its share.
    run: text that is another whenever it is run again.
    """

    folder: Path
    number: int
    count: int
    sweep: str = ""
    finished: bool = False
    run: str = ""

    @property
    def has_samples(self) -> bool:
        return (self.folder / LEDGER).is_file()


def part_folder(folder: Path, part: tuple[int, int]) -> Path:
    """Where part (i, N) of a run puts its samples: the set itself if it is the only one."""
    return folder if part[1] == 1 else folder / PARTS / f"{part[0]}-of-{part[1]}"


def record(folder: Path, part: tuple[int, int], sweep: str, finished: bool) -> None:
    """Keep how a part of a run stands, in its own folder. Raises DatasetError if that cannot be."""
    place = folder / PARTS / f"{part[0]}-of-{part[1]}"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"cannot make {place}: {error.strerror}") from error
    told = {"sweep": sweep, "finished": finished, "run": uuid.uuid4().hex}
    write_whole(place / RECORD, json_text(told, "the record of a part"))


def parts_of(folder: Path) -> list[Part]:
    """The parts of the set in `folder`, of every N that it was divided by."""
    found = ((place, NAME.fullmatch(place.name)) for place in (folder / PARTS).glob("*-of-*"))
    parts = [_part(place, int(name[1]), int(name[2])) for place, name in found if name]
    return sorted(parts, key=lambda part: (part.count, part.number))


def _part(place: Path, number: int, count: int) -> Part:
    told = _read(place / RECORD)
    known = {name: told[name] for name in ("sweep", "finished", "run") if name in told}
    return Part(place, number, count, **known)


def not_merged(folder: Path, parts: Iterable[Part]) -> list[Part]:
    """The parts without those that the set has had since they finished."""
    merged = set(_read(folder / PARTS / MERGED).values())
    return [part for part in parts if part.run not in merged]


def record_merged(folder: Path, parts: Iterable[Part]) -> None:
    """Keep that the set has the samples of these parts; one that has not finished will have more."""
    path = folder / PARTS / MERGED
    if merged := {part.folder.name: part.run for part in parts if part.finished}:
        write_whole(path, json_text(_read(path) | merged, "the record of merged parts"))


def lacks(parts: Iterable[Part]) -> list[str]:
    """What keeps each division from being complete, in words; none for one whose sweep another has made."""
    made = {group[0].sweep for group in whole_divisions(parts)}
    return [lack for group in _divisions(parts) if not {part.sweep for part in group} <= made for lack in _lacks(group)]


def whole_divisions(parts: Iterable[Part]) -> list[list[Part]]:
    """The divisions of which all parts have finished, for one sweep."""
    return [group for group in _divisions(parts) if not _lacks(group)]


def _divisions(parts: Iterable[Part]) -> list[list[Part]]:
    return [list(group) for _, group in groupby(parts, key=lambda part: part.count)]


def _lacks(group: Sequence[Part]) -> list[str]:
    count, told = group[0].count, []
    if missing := sorted(set(range(count)) - {part.number for part in group}):
        told.append(f"{_named(missing, count)} missing")
    if begun := [part.number for part in group if not part.finished]:
        told.append(f"{_named(begun, count)} not finished")
    if len({part.sweep for part in group}) > 1:
        other = [part.number for part in group if part.sweep != group[0].sweep]
        told.append(f"{_named(other, count)} of another sweep or graph than part {group[0].number}")
    return told


def _named(numbers: Sequence[int], count: int) -> str:
    """ "part 3 of 5 is", "parts 0, 2-4 of 5 are"."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda each: each[1] - each[0])]
    told = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"part {told} of {count} is" if len(numbers) == 1 else f"parts {told} of {count} are"


def _read(path: Path) -> dict[str, Any]:
    """What a record says; nothing where none can be read, so that its part has not finished."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
