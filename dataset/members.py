"""The samples of a set as a split sees them, with what links them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from .index import Index
from .splits import Member


def members(index: Index, lines: Iterable[tuple[int, bytes]], near: int | None) -> Iterator[Member]:
    """Those that are live or have a split, from the number and the line of each sample.

    They are linked by what their lines tell, and if their hashes differ in at most `near` bits.
    """
    links = _links_of_hashes(index, near)
    for number, line in lines:
        split, live = index.split(number), index.is_live(number)
        if split or live:
            group = index.group(number)
            name = "" if group is None else index.ids[group]
            shared = (*index.links(line), *links[index.hashes[number]])
            yield Member(index.ids[number], index.classes(number), shared, split, name, live)


def _links_of_hashes(index: Index, near: int | None) -> dict[int, set[str]]:
    """Hash -> a link for it and one for each hash near it, where a sample without a split has one of the two."""
    links: dict[int, set[str]] = defaultdict(set)
    if near is None:
        return links
    for value in {index.hashes[number] for number in index.live() if not index.split(number)}:
        found = index.hashes.near(value, near)
        for other in {index.hashes[number] for number in found if index.split(number) or index.is_live(number)}:
            link = f"hashes {min(value, other)} {max(value, other)}"
            links[value].add(link)
            links[other].add(link)
    return links
