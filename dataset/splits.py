"""Which samples train, validate and test: whole groups at a time, each label in its share, and never moved."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .errors import DatasetError
from .groups import Groups
from .sample import SPLITS

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


@dataclass(frozen=True)
class Member:
    """A sample as a split sees it.

    classes: its labels. links: whatever it shares with others, as text; samples with a link in common stay together.
    split, group: what was decided before, or empty. live: whether it counts; a rejected one binds others all the same.
    """

    id: str
    classes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    split: str = ""
    group: str = ""
    live: bool = True


@dataclass(frozen=True)
class Decision:
    """placed: group -> its split and those of its samples that had none. refused: id -> why it has no place."""

    placed: dict[str, tuple[str, tuple[str, ...]]]
    refused: dict[str, str]


def decide(members: Iterable[Member], shares: Mapping[str, float] = SHARES, seed: int = 0) -> Decision:
    """Places for the members that have none, by what they are and not by their order; the others keep theirs.

    A sample that is linked to groups of different splits is refused, for it would leak from one into the other. Other
    samples that are linked to a group with a place join it; of several the one whose sample has the least id. What is
    left makes groups of its own, named by their least id. The large ones choose first, then by the SHA-256 of seed and
    name, and each goes where its labels and the whole set lack most. Raises DatasetError for shares that are none.
    """
    balance = Balance(check_shares(shares), members := sorted(members, key=lambda member: member.id))
    placed: dict[str, tuple[str, list[str]]] = {}
    refused: dict[str, str] = {}
    groups = Groups()
    for member in members:
        if member.split:
            groups.join(_keys(member))
    homes: dict[Hashable, dict[str, Member]] = defaultdict(dict)  # of a group: what is in it of each split
    for member in members:
        if member.split:
            homes[groups.of(member.id)].setdefault(member.split, member)

    new = []
    for member in members:
        if member.split:
            continue
        linked: dict[str, Member] = {}
        for root in dict.fromkeys(map(groups.of, _keys(member))):
            for split, other in homes.get(root, {}).items():
                linked[split] = min(other, linked.get(split, other), key=lambda each: each.id)
        if len(linked) > 1:
            told = " and ".join(f"{other.group} ({split})" for split, other in sorted(linked.items()))
            refused[member.id] = f"leak: it is linked to the groups {told}, which are in different splits"
        else:
            homes[groups.join(_keys(member))] = linked
            new.append(member)

    together: dict[Hashable, list[Member]] = defaultdict(list)
    for member in new:
        together[groups.of(member.id)].append(member)

    def place(name: str, split: str, group: Sequence[Member]) -> None:
        placed.setdefault(name, (split, []))[1].extend(member.id for member in group)
        balance.add(split, group)

    fresh = []
    for root, group in together.items():
        for split, other in homes[root].items():
            place(other.group, split, group)
        if not homes[root]:
            fresh.append(group)
    for group in sorted(fresh, key=lambda each: (-len(each), _hash(seed, each[0].id))):
        name = group[0].id
        place(name, balance.neediest(group, lambda split, name=name: _hash(seed, name, split)), group)
    return Decision({name: (split, tuple(sorted(ids))) for name, (split, ids) in sorted(placed.items())}, refused)


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1, with 0 for a split not named. Raises DatasetError if they are none."""
    odd = [name for name in shares if name not in SPLITS]
    values = [float(shares.get(name, 0)) for name in SPLITS]
    if odd or not all(math.isfinite(value) and value >= 0 for value in values) or sum(values) <= 0:
        raise DatasetError(f"shares are numbers, at least 0, of {', '.join(SPLITS)}, and not all 0; not {dict(shares)}")
    return {name: value / sum(values) for name, value in zip(SPLITS, values, strict=True)}


class Balance:
    """How many samples each split has, in all and of each class, and what it lacks of its share of them."""

    def __init__(self, shares: Mapping[str, float], members: Iterable[Member]):
        self.shares = {split: share for split, share in shares.items() if share > 0}
        self.counts: dict[str, Counter] = {split: Counter() for split in SPLITS}
        self.totals: Counter = Counter()
        for member in members:
            if member.split and member.live:
                self.add(member.split, [member])

    def add(self, split: str, group: Sequence[Member]) -> None:
        tally = _tally(group)
        self.counts[split].update(tally)
        self.totals.update(tally)

    def neediest(self, group: Sequence[Member], tie: Callable[[str], str]) -> str:
        """The split that, the group counted in, lacks most: of the whole set and of the group's classes on average."""
        tally = _tally(group)
        weight = sum(tally.values()) - len(group)

        def lack(split: str, key: str | None) -> float:
            return self.shares[split] * (self.totals[key] + tally[key]) - self.counts[split][key]

        def need(split: str) -> float:
            of_classes = sum(count * lack(split, key) for key, count in tally.items() if key is not None)
            return lack(split, None) + (of_classes / weight if weight else 0.0)

        return max(self.shares, key=lambda split: (round(need(split), 9), tie(split)))


def _tally(group: Sequence[Member]) -> Counter:
    """How many samples there are, under None, and how many of each class."""
    tally = Counter(name for member in group for name in set(member.classes))
    tally[None] = len(group)
    return tally


def _keys(member: Member) -> list[Hashable]:
    return [member.id, *(("link", link) for link in member.links)]


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
