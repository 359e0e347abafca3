"""Completes a set, made by one process or by several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import DatasetError
from .merge import merge
from .settings import PARTS, Settings, complete, read_settings
from .store import LEDGER, open


@dataclass(frozen=True)
class Finalized:
    """samples: how many are live. parts: how many folders were merged, and outcomes what became of their samples.
    wanting: class -> how many its quota still wants. remarks: what each view has to tell."""

    samples: int
    rejected: int
    parts: int
    outcomes: Mapping[str, int]
    wanting: Mapping[str, int]
    remarks: Mapping[str, Mapping[str, int]]


def finalize(folder: str | Path, settings: Settings | None = None) -> Finalized:
    """Merge the parts of a set, reject duplicates, give each sample its split and build the views.

    Without `settings`, with those that are kept. Doing it again changes nothing, unless parts have grown.

    Raises DatasetError for a folder without a set, and for parts whose settings differ, and LockedError while one is
    still being written.
    """
    folder = Path(folder)
    parts = parts_of(folder)
    settings = settings or _settings(folder, parts)
    with open(folder, settings.rules) as store:
        settings.save(folder)
        outcomes = merge(store, parts) if parts else {}
        remarks = complete(store, settings)
        return Finalized(len(store), store.reasons.total(), len(parts), dict(outcomes), store.wanting, remarks)


def parts_of(folder: Path) -> list[Path]:
    """The folders of the parts of a run, by their numbers."""
    found = (path.parent for path in (folder / PARTS).glob(f"*/{LEDGER}") if path.parent.name.isdecimal())
    return sorted(found, key=lambda path: int(path.name))


def _settings(folder: Path, parts: list[Path]) -> Settings:
    """Those that the parts agree on, else the set's own."""
    if not parts:
        if not (folder / LEDGER).is_file():
            raise DatasetError(f"{folder} is no set, nor are there parts of one in {folder / PARTS}")
        return read_settings(folder)
    told = [read_settings(part) for part in parts]
    for part, settings in zip(parts, told, strict=True):
        if settings != told[0]:
            raise DatasetError(
                f"{parts[0]} and {part} were made with different settings: run all parts with one graph, "
                f"or copy the right settings.json over the other"
            )
    return told[0]
