"""Runs a workflow with a Sweep chunk by chunk, as far as its pictures are not in the set already."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..dataset import store
from ..dataset.finalize import finalize
from ..dataset.provenance import Key, graph_hash
from ..dataset.settings import Settings, part_folder
from ..dataset.store import LEDGER, Store
from ..nodes.export_lineage import lineage
from ..nodes.sweep_position import Position, moved_to

Prompt = dict[str, dict]


class Export(NamedTuple):
    """Where an Export Dataset puts its pictures, and how that set is to be completed."""

    folder: Path
    settings: Settings


@dataclass
class Chunks:
    """The chunks that a part (i, N) of a run has still to make: i, i + N, i + 2N, ...

    `exports`: those of the workflow, by the id of the node. A run that is not divided ends when all quotas are filled;
    after the last chunk it goes on, with other seeds, for labels whose quota is not, until as many chunks in a row add
    nothing.
    """

    prompt: Prompt
    position: Position
    exports: Mapping[str, Export]
    part: tuple[int, int]

    def __iter__(self) -> Iterator[Prompt]:
        """The prompt of each chunk, to be run before the next is asked for."""
        sets, (first, step) = self._sets(), self.part
        for index in range(first, len(self.position.sweep), step):
            if self._has(sets, index):
                continue
            if step == 1 and self._is_full():
                return
            yield moved_to(self.prompt, index)
        if step == 1:
            yield from self._refill()

    def finish(self) -> None:
        """Keep the settings; for a run that is not divided, give its samples their splits and build the views."""
        for folder, settings in self.exports.values():
            if self.part[1] == 1:
                finalize(folder, settings)
            elif self._has_begun(folder):
                settings.save(part_folder(folder, self.part))

    def _refill(self) -> Iterator[Prompt]:
        sweep, idle = self.position.sweep, 0
        for index in itertools.count(len(sweep)):
            sets = self._sets()
            wanted = {label for each in sets.values() for label in each.wanting}
            if idle == len(sweep) or wanted.isdisjoint(sweep.labels):
                return
            if sweep[index].label in wanted and not self._has(sets, index):
                before = sum(map(len, sets.values()))
                yield moved_to(self.prompt, index)
                idle = 0 if sum(map(len, self._sets().values())) > before else idle + 1

    def _is_full(self) -> bool:
        """Whether every set has all that it wants, of each label of the sweep."""
        labels = set(self.position.sweep.labels)
        if not self.exports or any(labels - export.settings.rules.quotas.keys() for export in self.exports.values()):
            return False
        sets = self._sets()
        return len(sets) == len(self.exports) and not any(each.wanting for each in sets.values())

    def _has_begun(self, folder: Path) -> bool:
        return (part_folder(folder, self.part) / LEDGER).is_file()

    def _sets(self) -> dict[str, Store]:
        """The sets as they are on the disk, those that have begun."""
        return {
            node: store.open(part_folder(folder, self.part), settings.rules, write=False)
            for node, (folder, settings) in self.exports.items()
            if self._has_begun(folder)
        }

    def _has(self, sets: Mapping[str, Store], index: int) -> bool:
        """Whether every set has every picture of a chunk."""
        chunk = self.position.sweep[index]
        numbers = range(chunk.first, chunk.first + chunk.count)
        return 0 < len(sets) == len(self.exports) and all(
            Key(self._graphs[node], chunk.seed, number) in each for node, each in sets.items() for number in numbers
        )

    @cached_property
    def _graphs(self) -> dict[str, str]:
        """By what the samples of each export are known, whatever the chunk."""
        begin = moved_to(self.prompt, 0)
        return {node: graph_hash(lineage(begin, node, b"").graph) for node in self.exports}
