"""What is worth knowing of the pictures of a training, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..denoising.vocabulary import USUAL_LENGTH
from .picture_shelf import Shelf
from .pictures import Pictures

SHOWN = 12


@dataclass(frozen=True)
class Account:
    """Of all pictures that were read: what is said of each, as text and as words; its file's size; its content's key.

    `mode` is "labels", "captions" or "none". `parted` tells that the source says which are held out.
    """

    texts: Sequence[str]
    bags: Sequence[Sequence[str]]
    sizes: Sequence[tuple[int, int]]
    keys: Sequence[str]
    mode: str
    parted: bool

    def notes(self, pictures: Pictures, size: int, shelf: Shelf, asked: float) -> tuple[str, ...]:
        """Lines on the pictures trained on, and those held out, of which a share was `asked` for."""
        held = len(pictures.held) if pictures.held else 0
        lines = [
            f"{len(pictures)} pictures to train on, {held} held out; {size}×{size}, "
            + ("with transparency" if pictures.channels == "rgba" else "opaque"),
            f"{'in a file of the cache' if shelf.on_disk else 'in memory'}: {_bytes(shelf.size)}",
            *self._said(pictures),
            *self._words(pictures),
            *self._sizes(size),
        ]
        again = len(self.keys) - len(set(self.keys))
        lines += [f"pictures that are the same as another: {again}"] if again else []
        if self.parted:
            lines.append("held out is what the source holds out itself")
        elif held == 0 and len(self.keys) > 1 and asked:
            lines.append("none could be held out: those that look alike stay together, and each label keeps its last")
        return tuple(lines)

    def _said(self, pictures: Pictures) -> list[str]:
        if self.mode == "none":
            return ["no words are learned"]
        without = sum(not bag for bag in self.bags)
        lines = [f"pictures without a word: {without}"] if without else []
        if self.mode == "captions":
            return lines
        counts = Counter(filter(None, self.texts))
        said: dict[tuple[str, ...], list[str]] = {}
        for label, bag in zip(self.texts, self.bags, strict=True):
            if label and label not in said.setdefault(tuple(sorted(bag)), []):
                said[tuple(sorted(bag))].append(label)
        lines = [f"labels, {len(counts)}: {_most(counts)}", *lines]
        once = sorted(label for label, count in counts.items() if count == 1)
        lines += [f"seen once, and never held out: {_some(once)}"] if once else []
        lines += [f"labels of the same words: {_some(names)}" for bag, names in sorted(said.items()) if len(names) > 1]
        return lines

    def _words(self, pictures: Pictures) -> list[str]:
        counts = Counter(word for bag in self.bags for word in bag)
        if not counts:
            return []
        known = set(pictures.words)
        left = Counter({word: count for word, count in counts.items() if word not in known})
        lines = [f"words, {len(known) - 1}: {_most(Counter({w: c for w, c in counts.items() if w in known}))}"]
        lines += [f"words not learned, {len(left)}: {_most(left)}"] if left else []
        long = sum(len([word for word in bag if word in known]) > USUAL_LENGTH for bag in self.bags)
        lines += [f"captions cut after {USUAL_LENGTH} words: {long}"] if long else []
        return lines

    def _sizes(self, size: int) -> list[str]:
        different = Counter(self.sizes)
        scaled = sum(count for own, count in different.items() if own != (size, size))
        if not scaled:
            return []
        small = sum(count for own, count in different.items() if min(own) < size)
        least, most = min(different, key=_area), max(different, key=_area)
        lines = [f"brought to {size}×{size}: {scaled}, from {least[0]}×{least[1]} to {most[0]}×{most[1]}"]
        return lines + ([f"smaller than that on a side: {small}"] if small else [])


def _area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]


def _most(counts: Counter) -> str:
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return _some([f"{name} {counts[name]}" for name in ordered])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
