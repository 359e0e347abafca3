"""Pictures composed of sprites on backgrounds, with what shows of each sprite known to the pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from .chance import Chance
from .errors import DatasetError
from .ground import ground
from .marks import box_of

SOLID = 0.5
TRIES = 24
NOBODY = -1


@dataclass(frozen=True)
class Recipe:
    """What a picture is composed by.

    sprites: how many, from and to. scale: from and to, times a sprite's own size. rotation: degrees, either way.
    mirror: whether half of them are mirrored. overlap: how much of a sprite others, or the edge of the picture, may
    hide, 0..1. light: how far light may differ, 0..1. pixel_art: whole scales and right angles only. terrains: see
    ground.ground.
    """

    sprites: tuple[int, int] = (1, 5)
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    mirror: bool = True
    overlap: float = 0.3
    light: float = 0.2
    pixel_art: bool = False
    terrains: int = 1

    def __post_init__(self) -> None:
        for name in ("sprites", "scale"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise DatasetError(f"{name} should go from a smaller to a greater number, not from {low} to {high}")
        for name, most in (("rotation", 180), ("overlap", 1), ("light", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise DatasetError(f"{name} should be from 0 to {most}, not {getattr(self, name)}")
        if self.terrains < 1:
            raise DatasetError(f"terrains should be at least 1, not {self.terrains}")


class Placed(NamedTuple):
    """A sprite in a picture: its number, where it shows [H, W], x, y, width, height of that, and its visible share."""

    sprite: int
    mask: np.ndarray
    box: tuple[float, float, float, float]
    visibility: float


class Composed(NamedTuple):
    """A picture [H, W, 3], float32 in 0..1, and what is in it, what is behind first."""

    picture: np.ndarray
    placed: tuple[Placed, ...]


class Layer(NamedTuple):
    """A sprite as it is laid: colours [h, w, 3] times alpha [h, w], and the pixels of the picture from its corner."""

    sprite: int
    colours: np.ndarray
    alpha: np.ndarray
    top: int
    left: int


def compose(
    sprites: Sequence[np.ndarray],
    backgrounds: Sequence[np.ndarray],
    recipe: Recipe,
    size: tuple[int, int],
    seed: int,
    index: int,
) -> Composed:
    """Picture `index` of `seed`, of (height, width), with some of `sprites` on one of `backgrounds`.

    sprites: [h, w, 4], straight colours and alpha in 0..1, of any sizes. backgrounds: [h, w, 3], of one size.

    Sprites are laid one over the other, out = (1 − alpha)·out + alpha·colour. A pixel shows a sprite where the sprite
    is more than half of what is seen there; its visibility is that, as a share of its pixels with alpha above 0.5. A
    sprite for which no room is found is left out. Raises DatasetError for a sprite with nothing in it.
    """
    chance = Chance(seed, index)
    picture = ground(backgrounds, size, recipe.terrains, chance).astype(np.float32)
    shown = _Shown(size, 1 - recipe.overlap)
    for _ in range(recipe.sprites[0] + chance.below(recipe.sprites[1] - recipe.sprites[0] + 1)):
        layer = _laid(sprites, recipe, shown, chance)
        if layer is not None:
            here, part = window(layer, size)
            alpha = layer.alpha[part][..., None]
            picture[here] = (1 - alpha) * picture[here] + layer.colours[part]
    picture *= _light(size, recipe.light, chance)
    return Composed(picture.clip(0, 1), shown.placed())


class _Shown:
    """Whose each pixel of a picture is."""

    def __init__(self, size: tuple[int, int], least: float):
        self._owner = np.full(size, NOBODY)
        self._share = np.zeros(size, np.float32)
        self._least = least
        self._sprites: list[int] = []
        self._areas = np.zeros(0, int)
        self._seen = np.zeros(0, int)

    @property
    def size(self) -> tuple[int, int]:
        return self._owner.shape

    def lay(self, layer: Layer) -> bool:
        """Lay it over the others, unless it would show too little of itself or leave too little of another."""
        here, part = window(layer, self.size)
        alpha, before = layer.alpha[part], self._owner[here]
        own, number = int((layer.alpha > SOLID).sum()), len(self._sprites)
        share = np.where(alpha > SOLID, alpha, self._share[here] * (1 - alpha))
        after = np.where(alpha > SOLID, number, np.where(share > SOLID, before, NOBODY))
        seen = np.append(self._seen, 0) + _counted(after, number + 1) - _counted(before, number + 1)
        areas = np.append(self._areas, own)
        if (seen < np.maximum(1, self._least * areas)).any():
            return False
        self._owner[here], self._share[here] = after, share
        self._sprites.append(layer.sprite)
        self._areas, self._seen = areas, seen
        return True

    def placed(self) -> tuple[Placed, ...]:
        masks = (self._owner == number for number in range(len(self._sprites)))
        return tuple(
            Placed(sprite, mask, box_of(mask), float(mask.sum() / area))
            for sprite, mask, area in zip(self._sprites, masks, self._areas, strict=True)
        )


def _counted(owners: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(owners[owners != NOBODY], minlength=count)


def window(layer: Layer, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where in a picture a layer lies, and which part of the layer that is."""
    places = [
        (max(0, start), min(length, start + extent), start)
        for start, length, extent in zip((layer.top, layer.left), size, layer.alpha.shape, strict=True)
    ]
    return tuple(slice(a, b) for a, b, _ in places), tuple(slice(a - start, b - start) for a, b, start in places)


def _laid(sprites: Sequence[np.ndarray], recipe: Recipe, shown: _Shown, chance: Chance) -> Layer | None:
    """One of the sprites, where there is room for it; None if none was found."""
    number = chance.below(len(sprites))
    colours, alpha = turned(sprites[number], recipe, chance)
    colours = colours * _gain(recipe.light / 2, chance)
    for _ in range(TRIES):
        top, left = (
            round(chance.between(-recipe.overlap * extent, length - (1 - recipe.overlap) * extent))
            for extent, length in zip(alpha.shape, shown.size, strict=True)
        )
        layer = Layer(number, colours, alpha, top, left)
        if shown.lay(layer):
            return layer
    return None


def turned(sprite: np.ndarray, recipe: Recipe, chance: Chance) -> tuple[np.ndarray, np.ndarray]:
    """A sprite at a scale and angle of the recipe: colours [h, w, 3] times alpha, and alpha [h, w]."""
    scale, angle = chance.between(*recipe.scale), chance.between(-recipe.rotation, recipe.rotation)
    mirrored = chance.between(0, 1) < 0.5 and recipe.mirror
    sprite = trimmed(sprite)
    rgba = np.concatenate([sprite[..., :3] * sprite[..., 3:], sprite[..., 3:]], -1)
    rgba = rgba[:, ::-1] if mirrored else rgba
    rgba = _in_pixels(rgba, scale, angle) if recipe.pixel_art else _smoothly(rgba, scale, angle)
    return rgba[..., :3], rgba[..., 3]


def trimmed(sprite: np.ndarray) -> np.ndarray:
    """A sprite [h, w, 4] without its empty edges. Raises DatasetError where nothing of it is solid."""
    if not (sprite[..., 3] > SOLID).any():
        raise DatasetError("a sprite has nothing in it: its alpha is nowhere above 0.5")
    x, y, width, height = map(int, box_of(sprite[..., 3] > 0))
    return sprite[y : y + height, x : x + width]


def _in_pixels(rgba: np.ndarray, scale: float, angle: float) -> np.ndarray:
    times = max(1, round(scale))
    return np.rot90(rgba, round(angle / 90)).repeat(times, 0).repeat(times, 1)


def _smoothly(rgba: np.ndarray, scale: float, angle: float) -> np.ndarray:
    height, width = (max(1, round(scale * side)) for side in rgba.shape[:2])
    planes = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in np.moveaxis(rgba, -1, 0)]
    if (width, height) != planes[0].size:
        planes = [plane.resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
    if angle:
        planes = [plane.rotate(angle, Image.Resampling.BILINEAR, expand=True) for plane in planes]
    smooth = np.stack([np.asarray(plane) for plane in planes], -1).clip(0, 1)
    return np.minimum(smooth, smooth[..., 3:])


def _gain(light: float, chance: Chance) -> np.ndarray:
    """[3]: brighter or darker, warmer or colder; not much brighter, for colours end at 1."""
    brightness, warmth = light * chance.between(-0.7, 0.3), light * chance.between(-0.2, 0.2)
    return np.exp(brightness + np.array([1, 0, -1]) * warmth).astype(np.float32)


def _light(size: tuple[int, int], light: float, chance: Chance) -> np.ndarray:
    """[height, width, 3]: the gain of a picture, and from one of its sides to the other."""
    gain = _gain(light, chance)
    angle, slope = chance.between(0, 2 * math.pi), light * chance.between(0, 0.4)
    y, x = (2 * (np.arange(length) + 0.5) / length - 1 for length in size)
    across = math.sin(angle) * y[:, None] + math.cos(angle) * x
    return (gain * np.exp(slope * across)[..., None]).astype(np.float32)


def casts(labels: Sequence[str], count: int) -> list[list[int]]:
    """The numbers of sprites, those of each label dealt to `count` casts in turn.

    Pictures of different casts have no sprite in common. Raises DatasetError where a cast would have none.
    """
    dealt: list[list[int]] = [[] for _ in range(count)]
    turns: dict[str, int] = {}
    for number, label in enumerate(labels):
        turn = turns[label] = turns.get(label, -1) + 1
        dealt[turn % count].append(number)
    if not all(dealt):
        most = max(turns.values()) + 1
        raise DatasetError(f"there are {count} casts and at most {most} sprites of a label: take fewer casts")
    return dealt
