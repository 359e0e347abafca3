"""Small sets for the tests: pictures unlike each other, runs of them, and what a folder holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from varifold.dataset import store
from varifold.dataset.marks import Mark
from varifold.dataset.provenance import Key, graph_hash, provenance

GRAPH = {"1": {"class_type": "Noise", "inputs": {"seed": 7}}}
NAME = graph_hash(GRAPH)
LABELS = ("hero", "tile/stone", "🐉 dragon")


def picture(number: int, side: int = 24, channels: int = 3) -> np.ndarray:
    """Coarse noise that differs from that of any other number in about half of its perceptual hash."""
    coarse = np.random.default_rng(number).integers(0, 256, (12, 12, channels), np.uint8)
    return np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def mask(number: int, side: int = 24) -> np.ndarray:
    found = np.zeros((side, side), bool)
    found[number % 8 : number % 8 + 10, 3:13] = True
    return found


def key(number: int) -> Key:
    return Key(NAME, 7, number)


def add(opened: store.Store, number: int, **more: object) -> store.Added:
    """Add sample `number` of a run, with one mask."""
    label = LABELS[number % len(LABELS)]
    told = {"label": label, "marks": [Mark(label, mask(number))], "links": [f"sprite {number // 3}"]}
    told["provenance"] = provenance(key(number), licence="CC0-1.0", author="a ‹tester›", conditioning=f"a {label}")
    return opened.add(picture(number), key(number), **{**told, **more})


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all that a folder holds."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
