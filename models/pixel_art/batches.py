"""What the denoiser is trained on: a stream of varied, captioned pictures."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from ..denoising.pixels import encode
from ..denoising.vocabulary import USUAL_LENGTH
from . import tiles
from .colours import NAMES, dominant, rotate_hue
from .heroes import HERO, Wardrobe

FLIP = "<flip>"
HEROES = 0.38  # of all pictures
FLIPPED = 0.33
RECOLOURED = 0.3
SHIFT = 2  # pixels, at most, to every side
WORD_DROPOUT, PROMPT_DROPOUT = 0.12, 0.12


def vocabulary(*lists: tiles.Pictures) -> tuple[str, ...]:
    """All words of the pictures, the colours, and what is said of every picture; row 0 means no word."""
    words = {word for pictures in lists for row in pictures.words for word in row} | set(NAMES) | {HERO}
    return ("<null>", FLIP, *sorted(words))


class PixelArt:
    """Batches of tiles and heroes of one split, "train" or "held"."""

    def __init__(self, split: str = "train"):
        self.tiles = tiles.load("tiles", split)
        layers = tiles.load("layers")
        if split == "train":
            layers = tiles.load("layers", split)
        self.wardrobe = Wardrobe(layers)
        self.words = vocabulary(tiles.load("tiles"), tiles.load("layers"))
        self.row = {word: row for row, word in enumerate(self.words)}
        kinds = self.tiles.kinds
        self.texture = torch.tensor([kind in tiles.TEXTURES for kind in kinds])
        self.rolls = torch.tensor([kind in ("floor", "water") for kind in kinds])

    @cached_property
    def _weights(self) -> Tensor:
        """How often each tile is drawn: its kind's share is the square root of the kind's number."""
        kinds = self.tiles.kinds
        return torch.tensor([kinds.count(kind) ** -0.5 for kind in kinds])

    def batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x0 [count, 4, 32, 32] as `pixels.encode` makes it, and the words' rows [count, 11], 0 where there is none."""
        heroes = int(torch.binomial(torch.tensor(float(count)), torch.tensor(HEROES), generator=generator))
        rgba, seen, words, turned = self._tiles(count - heroes, generator)
        more, body, worn = self.wardrobe.dress(heroes, generator)
        rgba, seen, words = torch.cat([rgba, more]), torch.cat([seen, body]), words + worn
        colours = dominant(seen[:, :3], seen[:, 3] > 0.5).tolist()
        flip = torch.rand(count, generator=generator) < FLIPPED
        rgba = torch.where(flip[:, None, None, None], rgba.flip(3), rgba)
        rows = torch.zeros(count, USUAL_LENGTH, dtype=torch.long)
        for number in range(count):
            named = [NAMES[colour] for colour in colours[number] if colour >= 0]
            first, *rest = words[number]
            kept = {HERO, *named} if number < len(turned) and turned[number] else {HERO}
            rows[number] = self._caption([first, *named, *rest], kept, bool(flip[number]), generator)
        return encode(rgba[:, :3].movedim(1, -1), rgba[:, 3], "rgba"), rows

    def _tiles(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, list[list[str]], list[bool]]:
        """Tiles, what names their colours, their words, and whether their colours were turned."""
        pick = torch.multinomial(self._weights, max(1, count), replacement=True, generator=generator)[:count]
        rgba = self.tiles.rgba[pick]
        turned = torch.rand(count, generator=generator) < RECOLOURED
        angle = torch.rand(count, generator=generator) * 2 * math.pi * turned
        rgba[:, :3] = rotate_hue(rgba[:, :3], angle)
        near = torch.randint(-SHIFT, SHIFT + 1, (count, 2), generator=generator)
        far = torch.randint(tiles.SIDE, (count, 2), generator=generator)
        for number, tile in enumerate(pick.tolist()):
            if self.rolls[tile]:
                rgba[number] = rgba[number].roll(far[number].tolist(), (1, 2))
            elif not self.texture[tile]:
                rgba[number] = _shift(rgba[number], *near[number].tolist())
        return rgba, rgba, [list(self.tiles.words[tile]) for tile in pick.tolist()], turned.tolist()

    def _caption(self, words: list[str], kept: set[str], flipped: bool, generator: torch.Generator) -> Tensor:
        """The rows of the words, some dropped by chance, but none of `kept`.

        A hero is always called one, so that "axe" alone means the weapon and not somebody who holds it; and turned
        colours are always named, so that a prompt without a colour means the natural ones.
        """
        rows = torch.zeros(USUAL_LENGTH, dtype=torch.long)
        chance = torch.rand(len(words) + 1, generator=generator).tolist()
        said = [word for word, luck in zip(words, chance[1:], strict=True) if luck >= WORD_DROPOUT or word in kept]
        if chance[0] < PROMPT_DROPOUT:
            said = []
        said = [*([FLIP] if flipped else []), *dict.fromkeys(said)]
        while len(said) > USUAL_LENGTH:
            said.pop(int(torch.randint(2, len(said), (), generator=generator)))
        for place, word in enumerate(said):
            rows[place] = self.row[word]
        return rows


def _shift(rgba: Tensor, down: int, right: int) -> Tensor:
    """A sprite moved, unless an opaque pixel would be lost."""
    moved = rgba.roll((down, right), (1, 2))
    opaque = moved[3] > 0
    top = opaque[:down] if down > 0 else opaque[32 + down :] if down < 0 else opaque[:0]
    side = opaque[:, :right] if right > 0 else opaque[:, 32 + right :] if right < 0 else opaque[:, :0]
    return rgba if bool(top.any()) or bool(side.any()) else moved
