"""What travels from node to node of a set: where it is and what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .sample import SPLITS
from .store import Store


@dataclass(frozen=True)
class Handle:
    """A set as it stood. counts: class and number of live samples; splits: name and number of those placed; size: of
    all live samples; wanting: class and number that its quota still wants."""

    folder: Path
    size: int
    counts: tuple[tuple[str, int], ...]
    splits: tuple[tuple[str, int], ...]
    wanting: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def of(store: Store) -> Handle:
        placed = store.splits
        splits = tuple((name, placed[name]) for name in SPLITS if placed[name])
        counts, wanting = (tuple(sorted(table.items())) for table in (store.counts, store.wanting))
        return Handle(store.folder, len(store), counts, splits, wanting)
