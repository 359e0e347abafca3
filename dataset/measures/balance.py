"""How evenly a set has its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import DatasetError


@dataclass(frozen=True)
class Balance:
    """counts: of each label, most first. effective: exp of the entropy of their shares; the number of labels where all
    are as frequent, near 1 where one has nearly all. missing: labels asked for that have no sample."""

    counts: dict[str, int]
    effective: float
    missing: tuple[str, ...]


def balance(labels: Iterable[str | None], wanted: Iterable[str] = ()) -> Balance:
    """Of the label of each sample; None has none and does not count. Raises DatasetError where no sample has one."""
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        raise DatasetError("no sample has a label")
    shares = np.array(list(counts.values())) / counts.total()
    ordered = dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
    missing = sorted(set(wanted) - set(counts))
    return Balance(ordered, float(np.exp(-(shares * np.log(shares)).sum())), tuple(missing))


def label_distance(first: Balance, second: Balance) -> float:
    """The share of labels that would have to change for two sets to have them alike: 0..1, the total variation."""
    totals = sum(first.counts.values()), sum(second.counts.values())
    names = set(first.counts) | set(second.counts)
    return sum(abs(first.counts.get(n, 0) / totals[0] - second.counts.get(n, 0) / totals[1]) for n in names) / 2
