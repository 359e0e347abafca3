"""Runs a workflow with a Sweep chunk by chunk, as far as its pictures are not in the set already."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..dataset import store
from ..dataset.finalize import finalize, gather
from ..dataset.parts import part_folder, parts_of, record
from ..dataset.provenance import Key, graph_hash
from ..dataset.settings import Settings
from ..dataset.store import LEDGER, Store
from ..nodes.export_lineage import lineage
from ..nodes.sweep import VarifoldSweep
from ..nodes.sweep_position import Position, moved_to

Prompt = dict[str, dict]


class Export(NamedTuple):
    """Where an Export Dataset puts its pictures, and how that set is to be completed."""

    folder: Path
    settings: Settings


@dataclass
class Chunks:
    """The chunks that a part (i, N) of a run has still to make: i, i + N, i + 2N, ...

    `exports`: those of the workflow, by the id of the node. What the set or any of its parts has is not made again. A
    run that is not divided leaves out the chunks of labels that are full, and ends when all quotas are filled; after
    the last chunk it goes on, with other seeds, for labels whose quota is not, until as many chunks in a row add
    nothing.
    """

    prompt: Prompt
    position: Position
    exports: Mapping[str, Export]
    part: tuple[int, int]

    def __iter__(self) -> Iterator[Prompt]:
        """The prompt of each chunk, to be run before the next is asked for; at the end, a whole set is completed."""
        self._begin()
        step = self.part[1]
        for index in self._left():
            if step == 1 and self._is_full():
                break
            if step == 1 and self._is_enough(index):
                continue
            yield moved_to(self.prompt, index)
        if step == 1:
            yield from self._refill()
        self._finish()

    def _left(self) -> list[int]:
        """The chunks of this part that are not made yet."""
        made, (first, step) = self._made(), self.part
        return [index for index in range(first, len(self.position.sweep), step) if not self._has(made, index)]

    def _begin(self) -> None:
        """Keep that this part is being made; a run that is not divided takes over what parts have."""
        for node, (folder, settings) in self.exports.items():
            if self.part[1] > 1:
                record(folder, self.part, self._sweeps[node], finished=False)
                settings.save(part_folder(folder, self.part))
            elif parts_of(folder):
                with store.open(folder, settings.rules) as opened:
                    gather(opened)

    def _finish(self) -> None:
        """Keep that this part is done; where it is the whole run, complete the sets."""
        for node, (folder, settings) in self.exports.items():
            if self.part[1] == 1:
                finalize(folder, settings)
            if self.part[1] > 1 or parts_of(folder):
                record(folder, self.part, self._sweeps[node], finished=True)

    def _refill(self) -> Iterator[Prompt]:
        sweep, idle = self.position.sweep, 0
        for index in itertools.count(len(sweep)):
            made = self._made()
            wanted = {label for sets in made.values() for each in sets for label in each.wanting}
            if idle == len(sweep) or wanted.isdisjoint(sweep.labels):
                return
            if sweep[index].label in wanted and not self._has(made, index):
                yield moved_to(self.prompt, index)
                idle = 0 if _size(self._made()) > _size(made) else idle + 1

    def _is_full(self) -> bool:
        """Whether every set has all that it wants, of each label of the sweep."""
        labels = set(self.position.sweep.labels)
        if not self.exports or any(labels - export.settings.rules.quotas.keys() for export in self.exports.values()):
            return False
        return all(sets and not sets[0].wanting for sets in self._made().values())

    def _is_enough(self, index: int) -> bool:
        """Whether no set would keep a picture of a chunk: its label is all that they count as, and is full.

        A part cannot know: its pictures may be duplicates of other parts', of which then more are wanted.
        """
        label = self.position.sweep[index].label
        if not self.exports or not all(
            self._counts_by_label(node) and label in settings.rules.quotas
            for node, (_, settings) in self.exports.items()
        ):
            return False
        return all(sets and label not in sets[0].wanting for sets in self._made().values())

    def _counts_by_label(self, node: str) -> bool:
        """Whether the pictures of an export, and all their objects, have the label of the chunk and no other."""
        inputs = self.prompt[node]["inputs"]
        told = [[self.position.node, VarifoldSweep.RETURN_NAMES.index(name)] for name in ("labels", "label")]
        return inputs.get("labels") in told and not {"boxes", "segs"} & inputs.keys()

    def _made(self) -> dict[str, list[Store]]:
        """For each export its set, and for a part also all parts of it, as they are on the disk."""
        return {
            node: [
                store.open(place, settings.rules, write=False)
                for place in (folder, *(part.folder for part in parts_of(folder) if self.part[1] > 1))
                if (place / LEDGER).is_file()
            ]
            for node, (folder, settings) in self.exports.items()
        }

    def _has(self, made: Mapping[str, list[Store]], index: int) -> bool:
        """Whether every set has every picture of a chunk."""
        chunk = self.position.sweep[index]
        return bool(made) and all(
            any(Key(self._graphs[node], chunk.seed, number) in each for each in sets)
            for node, sets in made.items()
            for number in range(chunk.first, chunk.first + chunk.count)
        )

    @cached_property
    def _graphs(self) -> dict[str, str]:
        """By what the samples of each export are known, whatever the chunk."""
        begin = moved_to(self.prompt, 0)
        return {node: graph_hash(lineage(begin, node).graph) for node in self.exports}

    @cached_property
    def _sweeps(self) -> dict[str, str]:
        """What stands for all that each export is to get."""
        return {node: graph_hash([graph, asdict(self.position.sweep)]) for node, graph in self._graphs.items()}


def _size(made: Mapping[str, list[Store]]) -> int:
    return sum(len(each) for sets in made.values() for each in sets)
