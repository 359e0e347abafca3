"""What a set holds and how it was made, added up in one pass."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..sample import Sample
from .info import Info, licence_of, shown

KEPT = 8  # samples of a label that stand for it


@dataclass
class Summary:
    """Counts of a set. pictures, objects: label -> split -> count, with None for pictures without a label. used:
    what samples were made with -> kind, name and SHA-256 or version. examples: label -> samples, spread by id."""

    count: int = 0
    splits: Counter = field(default_factory=Counter)
    pictures: dict[str | None, Counter] = field(default_factory=lambda: defaultdict(Counter))
    objects: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    masks: int = 0
    captions: int = 0
    sizes: Counter = field(default_factory=Counter)
    licences: Counter = field(default_factory=Counter)
    authors: Counter = field(default_factory=Counter)
    used: Counter = field(default_factory=Counter)
    graphs: Counter = field(default_factory=Counter)
    examples: dict[str | None, list[Sample]] = field(default_factory=dict)


def summarize(samples: Iterable[Sample], info: Info) -> Summary:
    """The summary of the samples that views show; its size does not depend on their number."""
    summary = Summary()
    heaps: dict[str | None, list[tuple[int, int, Sample]]] = defaultdict(list)
    for sample in shown(samples):
        summary.count += 1
        summary.splits[sample.split] += 1
        if sample.label is not None or not sample.instances:
            summary.pictures[sample.label][sample.split] += 1
        for each in sample.instances:
            summary.objects[each.label][sample.split] += 1
            summary.masks += each.mask is not None
        summary.captions += sample.caption is not None
        summary.sizes[sample.width, sample.height] += 1
        summary.licences[licence_of(sample, info)] += 1
        _add_making(summary, sample)
        first = sample.instances[0].label if sample.instances else None
        _keep(heaps[sample.label if sample.label is not None else first], sample, summary.count)
    for label in sorted(heaps, key=lambda each: (each is None, each or "")):
        summary.examples[label] = [sample for *_, sample in sorted(heaps[label], reverse=True)]
    return summary


def _add_making(summary: Summary, sample: Sample) -> None:
    told = sample.provenance or {}
    summary.authors[str(told.get("author") or "")] += 1
    if "graph" in told:
        summary.graphs[str(told["graph"])] += 1
    for kind in ("checkpoints", "loras", "versions"):
        table = told.get(kind)
        for name, value in table.items() if isinstance(table, dict) else ():
            summary.used[kind, str(name), str(value)] += 1


def _keep(heap: list[tuple[int, int, Sample]], sample: Sample, number: int) -> None:
    """Those with the smallest SHA-256, so that they are from all over the set and stay while it grows."""
    entry = (-int(sample.sha256[:15], 16), -number, sample)
    if len(heap) < KEPT:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
