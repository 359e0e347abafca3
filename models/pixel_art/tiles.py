"""The training pictures beside the weights: tiles.png and layers.png, described by tiles.csv and layers.csv."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "weights"
LISTS = ("tiles", "layers")
SIDE = 32
COLUMNS = 64
TEXTURES = ("floor", "wall", "water")


@dataclass(frozen=True)
class Pictures:
    """Pictures of one list: `rgba` [N, 4, 32, 32] in 0..1, with the kind, the words and the path of each.

    Of layers, the kind is the layer: base, body, head and so on.
    """

    rgba: Tensor
    kinds: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    def select(self, rows: list[int]) -> Pictures:
        """Some of them, in the order of `rows`."""
        pick = [[values[row] for row in rows] for values in (self.kinds, self.words, self.paths)]
        return Pictures(self.rgba[rows], *map(tuple, pick))

    def join(self, other: Pictures) -> Pictures:
        """These and the others."""
        lists = (getattr(self, name) + getattr(other, name) for name in ("kinds", "words", "paths"))
        return Pictures(torch.cat([self.rgba, other.rgba]), *lists)

    def of(self, kind: str) -> Pictures:
        """Those of one kind."""
        return self.select([row for row, own in enumerate(self.kinds) if own == kind])


@cache
def _all(name: str) -> tuple[Pictures, tuple[str, ...]]:
    with open(FOLDER / f"{name}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with Image.open(FOLDER / f"{name}.png") as picture:
        sheet = np.array(picture)
    cells = sheet.reshape(-1, SIDE, COLUMNS, SIDE, 4).transpose(0, 2, 4, 1, 3).reshape(-1, 4, SIDE, SIDE)
    kinds, words, paths = zip(*((row["kind"], tuple(row["words"].split()), row["path"]) for row in rows), strict=True)
    rgba = torch.from_numpy(cells[: len(rows)]).float() / 255
    return Pictures(rgba, kinds, words, paths), tuple(row["split"] for row in rows)


def load(name: str, split: str | None = None) -> Pictures:
    """The list `name`, one of LISTS; of it the split "train" or "held" (never trained on), or both."""
    pictures, splits = _all(name)
    return pictures if split is None else pictures.select([row for row, own in enumerate(splits) if own == split])
