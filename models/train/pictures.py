"""The pictures that a net is trained on, and the few of them that it never sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..denoising.pixels import decode, encode
from .chance import Chance

PROMPT_DROPOUT, WORD_DROPOUT = 0.1, 0.1


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and their words, drawn from as `chance.Draw`.

    `pixels`: uint8 [h, w, 3 or 4] each, as large as `size` [high, wide] or larger, where each draw takes another part.
    `rows`: [N, W], rows of `words`, 0 where there is none; row 0 of `words` is no word, and () means that none is said.
    `labels` are the names of classes and `label_of` tells the number of each picture's, -1 for none; `names` where each
    picture came from. `held` are the pictures held out, or None; of themselves they hold out none.
    With `varied`, draws are mirrored by chance if `flip`, and words left out by chance: all of a picture's, and of
    captions, where there are no labels, single ones.
    `identity` is the same for the same pictures, words and options, in whatever order they came; `problems` tell which
    pictures could not be read, `notes` what else is worth knowing.
    """

    pixels: Sequence[np.ndarray]
    rows: np.ndarray
    size: tuple[int, int]
    channels: str
    words: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_of: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    flip: bool = False
    varied: bool = True
    identity: str = ""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    held: Pictures | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.pixels)

    def select(self, numbers: Sequence[int], **changed) -> Pictures:
        """Some of them, with fields `changed`."""
        label_of, names = (tuple(own[n] for n in numbers) if own else () for own in (self.label_of, self.names))
        pixels = [self.pixels[number] for number in numbers]
        kept = {"pixels": pixels, "rows": self.rows[list(numbers)], "label_of": label_of, "names": names}
        return replace(self, **{**kept, **changed})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what `draw` gives."""
        return len(self.channels), *self.size

    def draw(self, chance: Chance) -> tuple[Tensor, Tensor]:
        """Pictures x0 [B, C, H, W] as `pixels.encode` makes them, and the rows of their words [B, W].

        Each comes once before any comes again.
        """
        mine = range(chance.total)[chance.rows]
        indices = [self._index(chance.seed, chance.step * chance.total + place) for place in mine]
        luck = torch.rand(chance.total, 4 + self.rows.shape[1], generator=chance.generator)[chance.rows]
        rows = torch.from_numpy(self.rows[indices])
        if not self.varied:
            return self._encoded(self._levels(indices), chance.device), rows.to(chance.device)
        levels = self._levels(indices, luck[:, :2].tolist())
        if self.flip:
            turned = (luck[:, 2] < 0.5).numpy()
            levels[turned] = levels[turned, :, ::-1]
        left_out = luck[:, 3, None] < PROMPT_DROPOUT
        if not self.labels:
            left_out = left_out | (luck[:, 4:] < WORD_DROPOUT)
        return self._encoded(levels, chance.device), rows.masked_fill(left_out, 0).to(chance.device)

    def x0(self, indices: Sequence[int]) -> Tensor:
        """The middle of some pictures [N, C, H, W], as `pixels.encode` makes them."""
        return self._encoded(self._levels(indices))

    def said(self, number: int) -> str:
        """What is said of a picture: its label, else the words that are known."""
        if self.labels:
            return self.labels[self.label_of[number]] if self.label_of[number] >= 0 else ""
        return " ".join(self.words[row] for row in self.rows[number] if row)

    def rgb(self, indices: Sequence[int]) -> Tensor:
        """The middle of some pictures, [N, H, W, 3] in 0..1; with transparency 4: alpha 0 or 1, and black where 0."""
        rgb, alpha = decode(self.x0(indices), self.channels)
        return rgb if self.channels == "rgb" else torch.cat([rgb, alpha[..., None]], -1)

    def _index(self, seed: int, number: int) -> int:
        """Which picture the number-th drawn is, over all epochs."""
        epoch, place = divmod(number, len(self))
        return int(_permutation(len(self), seed, epoch)[place])

    def _levels(self, indices: Sequence[int], places: Sequence[Sequence[float]] | None = None) -> np.ndarray:
        """uint8 [N, H, W, C]: of each picture the part at a place from 0, 0 to 1, 1, or the middle."""
        (high, wide), channels = self.size, len(self.channels)
        levels = np.full((len(indices), high, wide, channels), 255, np.uint8)
        for slot, index in enumerate(indices):
            whole = self.pixels[index]
            down, right = (0.5, 0.5) if places is None else places[slot]
            top, left = int(down * (whole.shape[0] - high + 1)), int(right * (whole.shape[1] - wide + 1))
            levels[slot, ..., : whole.shape[2]] = whole[top : top + high, left : left + wide]
        return levels

    def _encoded(self, levels: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
        colours = torch.from_numpy(levels).to(device).float() / 255
        return encode(colours[..., :3], colours[..., 3:].squeeze(-1), self.channels)


@lru_cache(maxsize=8)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed % 2**64, epoch % 2**64, count]).permutation(count)
