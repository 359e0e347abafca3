"""Completes a set, made by one process or by several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DatasetError
from .merge import merge
from .parts import PARTS, Part, lacks, not_merged, parts_of, record_merged, whole_divisions
from .settings import Settings, complete, read_settings
from .store import LEDGER, Store, open
from .views.upkeep import Views


@dataclass(frozen=True)
class Finalized:
    """samples: how many are live. parts: how many were merged now, and outcomes what became of their samples.
    wanting: class -> how many its quota still wants. views: what they have to tell."""

    samples: int
    rejected: int
    parts: int
    outcomes: Mapping[str, int]
    wanting: Mapping[str, int]
    views: Views


def finalize(folder: str | Path, settings: Settings | None = None, partial: bool = False) -> Finalized:
    """Merge the parts of a set, reject duplicates, give each sample its split and build the views.

    With `settings` the set needs no more parts than there are; without, the parts say how it is to be completed, or if
    they were merged before, the set. Doing it again changes nothing, unless a part was run again.

    Raises DatasetError for a folder without a set, for parts that are missing or have not finished unless `partial`,
    and for parts whose settings differ, and LockedError while one is still being written.
    """
    folder = Path(folder)
    parts = parts_of(folder)
    if settings is None:
        _check(folder, parts, partial)
        settings = _settings(folder, parts)
    with open(folder, settings.rules) as store:
        settings.save(folder)
        merged, outcomes = gather(store)
        views = complete(store, settings)
        return Finalized(len(store), store.reasons.total(), merged, outcomes, store.wanting, views)


def gather(store: Store) -> tuple[int, Counter]:
    """Merge into a set those of its parts that it does not have yet: how many, and outcome -> how many samples.

    Raises LockedError while one is still being written.
    """
    parts = [part for part in not_merged(store.folder, parts_of(store.folder)) if part.count > 1]
    outcomes = merge(store, [part.folder for part in parts if part.has_samples])
    record_merged(store.folder, parts)
    return len(parts), outcomes


def _check(folder: Path, parts: Sequence[Part], partial: bool) -> None:
    if not (parts or (folder / LEDGER).is_file()):
        raise DatasetError(f"{folder} is no set, nor are there parts of one in {folder / PARTS}")
    told = [] if partial else lacks(parts)
    if told:
        raise DatasetError(
            f"{folder} is not complete: {'; '.join(told)}. Run these parts, as `varifold run GRAPH --shard i/N`, and "
            "finalize again; or take what is there, with `varifold finalize --partial`"
        )


def _settings(folder: Path, parts: Sequence[Part]) -> Settings:
    """Those of the parts that the set does not have yet, which must agree, else the set's own."""
    divisions = whole_divisions(parts)
    whole, made = [part for each in divisions for part in each], {each[0].sweep for each in divisions}
    deciding = [
        part
        for part in not_merged(folder, parts)
        if part.count > 1 and (part in whole or (part.has_samples and part.sweep not in made))
    ]
    if not deciding:
        return read_settings(folder)
    told = [read_settings(part.folder) for part in deciding]
    for part, settings in zip(deciding, told, strict=True):
        if settings != told[0]:
            raise DatasetError(
                f"{deciding[0].folder} and {part.folder} were made with different settings: run all parts with one "
                "graph, or copy the right settings.json over the other"
            )
    return told[0]
