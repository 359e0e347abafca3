"""Which pictures are held out: whole groups of those that look nearly the same, told by what is in them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

SIDE = 8
GREY = 128
NEAR = 4.0  # of 255; the root mean square by which pictures of one group differ, at 8×8
AHEAD = 1024  # pictures of about the same brightness that one is compared with, at most
CHUNK = 512


def small(pixels: np.ndarray) -> np.ndarray:
    """The middle of a picture [h, w, 3 or 4], uint8, at 8×8 on grey, as 192 numbers in 0..255."""
    high, wide = pixels.shape[:2]
    side = min(high, wide)
    top, left = (high - side) // 2, (wide - side) // 2
    levels = pixels[top : top + side, left : left + side].astype(np.float32)
    if levels.shape[2] == 4:
        levels = GREY + (levels[..., :3] - GREY) * (levels[..., 3:] / 255)
    edges = np.arange(SIDE) * side // SIDE
    counts = np.maximum(np.diff([*edges, side]), 1)
    means = np.add.reduceat(np.add.reduceat(levels, edges, 0), edges, 1)
    return (means / (counts[:, None, None] * counts[None, :, None])).ravel()


def groups_of(smalls: np.ndarray) -> list[int]:
    """For each of [N, 192] the least number of its group: pictures that differ by little, or are linked by others."""
    parents = list(range(len(smalls)))

    def root(member: int) -> int:
        while parents[member] != member:
            parents[member] = member = parents[parents[member]]
        return member

    brightness = smalls.mean(1)
    order = np.argsort(brightness, kind="stable")
    ordered, brightness = smalls[order].astype(np.float64), brightness[order]
    squares = np.square(ordered).sum(1)
    for start in range(0, len(order), CHUNK):
        own = slice(start, start + CHUNK)
        end = min(np.searchsorted(brightness, brightness[own][-1] + NEAR, "right"), start + CHUNK + AHEAD)
        others = slice(start, int(end))
        apart = squares[own, None] + squares[None, others] - 2 * ordered[own] @ ordered[others].T
        for first, second in zip(*np.nonzero(apart <= NEAR**2 * smalls.shape[1]), strict=True):
            low, high = sorted((root(int(order[start + first])), root(int(order[start + second]))))
            parents[high] = low
    return [root(member) for member in range(len(smalls))]


def hold_out(groups: Sequence[int], keys: Sequence[str], labels: Sequence[str], share: float, seed: int) -> set[int]:
    """About `share` of the pictures, by their numbers; whole groups, chosen by the hashes of `keys` and of the seed.

    The last picture of a label is never taken, nor a group too large for the share.
    """
    members = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    luck = {group: _luck(min(keys[number] for number in own), seed) for group, own in members.items()}
    wanted, left, held = max(1, round(share * len(groups))), Counter(filter(None, labels)), set()
    for group in sorted(members, key=luck.__getitem__):
        own = members[group]
        tally = Counter(labels[number] for number in own if labels[number])
        fits = len(held) + len(own) <= min(wanted, len(groups) - 1)
        if fits and all(left[label] > count for label, count in tally.items()):
            held.update(own)
            left -= tally
    return held


def _luck(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()
