"""Samples that belong together, through what they share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


class Groups:
    """Sets of members that are joined as links are told: union by size with path halving."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}
        self._sizes: dict[Hashable, int] = {}

    def of(self, member: Hashable) -> Hashable:
        """The member that stands for the group of `member`; one never heard of is a group of its own."""
        parents = self._parents
        if member not in parents:
            return member
        while (parent := parents[member]) != member:
            parents[member] = member = parents[parent]
        return member

    def join(self, members: Iterable[Hashable]) -> Hashable:
        """Make one group of the groups of `members`; who stands for it."""
        roots = list(dict.fromkeys(map(self.of, members)))
        top = max(roots, key=lambda root: self._sizes.get(root, 1))
        self._sizes[top] = sum(self._sizes.get(root, 1) for root in roots)
        self._parents[top] = top
        for root in roots:
            self._parents[root] = top
        return top
