"""Near-duplicates: pictures as 64 bits, and those that differ from one in few of them."""

from __future__ import annotations

import math
from array import array

import numpy as np
from PIL import Image

SIDE = 32  # pixels; what a picture is scaled to
BITS = 8  # frequencies each way, so 64 in all
BANDS = 4
RADIUS = 7  # bits; the farthest that the bands are sure to find
ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)
NEAR_BAND = np.array([0, *(1 << bit for bit in range(16))])  # a band, and it with one bit flipped
BAND_STARTS = np.arange(BANDS)[:, None] * ((1 << 16) + 1)  # where a band's part of the flat table begins
GREY = (128, 128, 128)


def perceptual_hash(picture: np.ndarray) -> int:
    """64 bits of a picture [H, W, 3 or 4], uint8, that scaling, recoding and slight changes leave nearly alone.

    The 8 x 8 lowest frequencies of its brightness, each above their median or not: Zauner, "Implementation and
    Benchmarking of Perceptual Image Hash Functions", 2010. What is transparent counts as grey.
    """
    brightness = np.asarray(_on_grey(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    waves = (_COSINES @ brightness @ _COSINES.T).round(6)  # so that rounding errors of a flat picture are no pattern
    median = np.sort(waves, axis=None)[BITS**2 // 2 - 1 :][:2].mean()
    return int.from_bytes(np.packbits(waves > median).tobytes(), "big")


def distance(first: int, second: int) -> int:
    """In how many bits two hashes differ."""
    return (first ^ second).bit_count()


def colours_differ(first: np.ndarray, second: np.ndarray) -> float:
    """By how much of 255 two pictures [H, W, 3 or 4], uint8, of any size differ on average, seen at 16 x 16 pixels.

    The hash knows nothing of colour: a red ball and a blue one are the same to it.
    """
    small = [_on_grey(each).resize((16, 16), Image.Resampling.BOX) for each in (first, second)]
    return float(np.abs(np.subtract(*(np.asarray(each, np.float64) for each in small))).mean())


class HashIndex:
    """Hashes by the order in which they came, and which of them are near another.

    Two hashes that differ in at most 7 bits differ in at most one in some of the four bands of 16 bits, so only the
    hashes whose band is that near are looked at: Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with
    Multi-Index Hashing", 2012. 24 bytes a hash, and 2 MB.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted = 0  # how many are in the tables; the few since then are looked through one by one
        self._order = np.zeros(0, np.uint32)  # the sorted numbers, by their first band, then by their second, ...
        self._starts = np.zeros((BANDS, (1 << 16) + 1), np.int64)  # where in it the numbers of a band's value begin

    def __len__(self) -> int:
        return len(self._hashes)

    def __getitem__(self, number: int) -> int:
        return self._hashes[number]

    def add(self, value: int) -> None:
        self._hashes.append(value)

    def near(self, value: int, radius: int) -> list[int]:
        """The numbers of the hashes that differ from `value` in at most `radius` bits, 0..7, in order."""
        if not 0 <= radius <= RADIUS:
            raise ValueError(f"near-duplicates can differ in 0 to {RADIUS} bits, not in {radius}")
        self._sort()
        hashes = np.frombuffer(self._hashes, np.uint64)
        found = self._in_tables(value)
        found = found[_distances(hashes[found], value) <= radius]
        late = np.flatnonzero(_distances(hashes[self._sorted :], value) <= radius) + self._sorted
        return sorted({*found.tolist(), *late.tolist()})

    def _in_tables(self, value: int) -> np.ndarray:
        """The numbers of the hashes of which a band is near, some of them twice."""
        bands = np.array([value], "<u8").view("<u2").astype(np.int64)[:, None]
        places = (NEAR_BAND ^ bands) + BAND_STARTS
        table = self._starts.ravel()
        starts = table[places].ravel()
        counts = table[places + 1].ravel() - starts
        return self._order[np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)]

    def _sort(self) -> None:
        if len(self) - self._sorted <= 1024 + self._sorted // 8:
            return
        self._sorted = len(self)
        hashes = np.frombuffer(self._hashes, np.uint64).astype("<u8")
        bands = hashes.view("<u2").reshape(-1, BANDS)
        self._order = np.argsort(bands, axis=0, kind="stable").T.ravel().astype(np.uint32)
        for band in range(BANDS):
            self._starts[band, 1:] = np.bincount(bands[:, band], minlength=1 << 16).cumsum() + band * len(self)
            self._starts[band, 0] = band * len(self)


def _distances(hashes: np.ndarray, value: int) -> np.ndarray:
    first, second, third, fourth = ONES[(hashes ^ np.uint64(value)).view(np.uint16)].reshape(-1, 4).T
    return first + second + third + fourth


def _on_grey(picture: np.ndarray) -> Image.Image:
    image = Image.fromarray(picture)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*GREY, 255)), image).convert("RGB")
    return image


def _cosines() -> np.ndarray:
    places, waves = np.arange(SIDE) + 0.5, np.arange(1, BITS + 1)
    return np.array([[math.cos(math.pi * wave * place / SIDE) for place in places] for wave in waves])


_COSINES = _cosines()  # [BITS, SIDE]; the constant wave is left out
