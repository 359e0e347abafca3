"""Numbers at random, of a stream for each picture."""

from __future__ import annotations

import numpy as np

WORD = 2**64


class Chance:
    """The numbers of picture `index` of `seed`, the same whatever other pictures there are.

    Philox4x64-10 (Salmon et al. 2011), key (seed, index).
    """

    def __init__(self, seed: int, index: int):
        self._bits = np.random.Philox(key=np.array([seed % WORD, index % WORD], dtype=np.uint64))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def below(self, count: int) -> int:
        """One of 0 .. count − 1."""
        return min(int(self.between(0, count)), count - 1)

    def some(self, count: int, most: int) -> list[int]:
        """Different ones of 0 .. count − 1: `most` of them, or all."""
        left = list(range(count))
        return [left.pop(self.below(len(left))) for _ in range(min(count, most))]
