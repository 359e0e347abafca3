"""One set from the parts of a run that several processes made."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .errors import DatasetError
from .store import LEDGER, Store, open

AT_ONCE = 256  # samples


def merge(target: Store, shards: Sequence[str | Path]) -> Counter:
    """Add the samples of sets in other folders as one process would have added them; outcome -> how many.

    They are taken in the order of their keys (index, seed, graph), so the result does not depend on how the run was
    parted, if each shard was written by Rules.of_a_shard and quotas count on no refill. What was judged in a shard
    holds. Merging again adds nothing twice. Raises DatasetError for a shard that is none or has a broken file, and
    LockedError for one that is still being written.
    """
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(open(_existing(folder))) for folder in shards]
        graphs = {name: shard.graph(name) for shard in opened for name in shard.graphs}
        for name in sorted(graphs):
            target.add_graph(graphs[name])
        keys = ((key, number) for number, shard in enumerate(opened) for key in shard.all_keys())
        order = sorted(keys, key=lambda each: (each[0].index, each[0].seed, each[0].graph, each[1]))
        outcomes: Counter = Counter()
        for first in range(0, len(order), AT_ONCE):
            with target.batch():
                for key, number in order[first : first + AT_ONCE]:
                    outcomes[target.copy(opened[number], key.id).outcome] += 1
    return outcomes


def _existing(folder: str | Path) -> Path:
    if not (Path(folder) / LEDGER).is_file():
        raise DatasetError(f"{folder} has no {LEDGER}, so it is no shard of a set")
    return Path(folder)
