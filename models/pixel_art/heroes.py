"""Heroes put together from the player's layers, any number of them, with the words of what they wear."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .colours import rotate_hue
from .tiles import Pictures

# Bottom to top, with how often a hero has the layer.
LAYERS = {
    "base": 1.0,
    "cloak": 0.25,
    "boots": 0.8,
    "legs": 0.85,
    "body": 0.95,
    "gloves": 0.5,
    "hair": 0.6,
    "beard": 0.05,
    "head": 0.5,
    "hand1": 0.75,
    "hand2": 0.4,
}
NATURAL = ("base", "hair", "beard")  # skin and hair keep their colours
RECOLOURED = 0.35
HERO = "hero"  # said of every one of them


class Wardrobe:
    """The layers to choose from, one tensor each."""

    def __init__(self, layers: Pictures):
        self.layers = {name: layers.of(name) for name in LAYERS}

    def dress(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, list[list[str]]]:
        """Heroes, the parts that their bodies wear alone, and their words.

        rgba [count, 4, 32, 32] in 0..1 twice: the whole hero, and the layer `body`, whose colours name the hero's.
        """
        heroes = torch.zeros(count, 4, 32, 32)
        body = heroes
        words: list[list[str]] = [[HERO] for _ in range(count)]
        for name, often in LAYERS.items():
            choice = self.layers[name]
            pick = torch.randint(len(choice), (count,), generator=generator)
            worn = torch.rand(count, generator=generator) < often
            part = choice.rgba[pick] * worn[:, None, None, None]
            if name not in NATURAL:
                turned = torch.rand(count, generator=generator) < RECOLOURED
                angle = torch.rand(count, generator=generator) * 2 * math.pi * turned
                part[:, :3] = rotate_hue(part[:, :3], angle)
            heroes = torch.where(part[:, 3:] > 0.5, part, heroes)
            if name == "body":
                body = part
            for number in worn.nonzero().flatten().tolist():
                words[number] += choice.words[pick[number]]
        return heroes, body, words
