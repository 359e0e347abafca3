"""Compose: sprites on backgrounds, with masks, boxes and labels of what is there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from . import wires
from .host import current
from .start import masks_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..dataset.compose import Placed


class VarifoldCompose:
    DESCRIPTION = (
        "Composes pictures of sprites on backgrounds, for data sets: with the exact mask, box, label and visibility of "
        "every sprite."
    )
    SEARCH_ALIASES = [
        "dataset",
        "detection",
        "segmentation",
        "copy paste",
        "synthetic data",
        "instance masks",
        "bounding boxes",
        "composite",
        "scene",
    ]
    CATEGORY = "Varifold/data"
    FUNCTION = "compose"
    RETURN_TYPES = ("IMAGE", "MASK", "BOUNDING_BOX", "STRING")
    RETURN_NAMES = ("images", "masks", "boxes", "labels")
    OUTPUT_IS_LIST = (False, False, False, True)
    OUTPUT_TOOLTIPS = (
        "The pictures.",
        "Where each sprite shows, 1 = object: those of the first picture, then those of the next, as SAM gives them.",
        "The boxes of each picture, one a mask, with label, visibility (0 to 1) and source, which tells the sprite.",
        "A label for each picture: of what fills the most of it.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "sprites": ("IMAGE", {"tooltip": "What to lay on the backgrounds, a batch of any size."}),
                "backgrounds": (
                    "IMAGE",
                    {"tooltip": "A batch of any size. Larger ones than the pictures are cropped, smaller ones tiled."},
                ),
                "labels": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "What the sprites are: a line each, one for all, or one for as many in a row; "
                        "of four lines for 24 sprites the first names the first 6.",
                    },
                ),
                "count": ("INT", {"default": 8, "min": 1, "max": 1024, "tooltip": "How many pictures."}),
                "first": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**63,
                        "tooltip": "The number of the first picture. Picture 7 is the same alone and in any batch.",
                    },
                ),
                "width": ("INT", {"default": 160, "min": 0, "max": 4096, "tooltip": "0: of the backgrounds."}),
                "height": ("INT", {"default": 128, "min": 0, "max": 4096, "tooltip": "0: of the backgrounds."}),
                "fewest": ("INT", {"default": 2, "min": 0, "max": 256, "tooltip": "The fewest sprites in a picture."}),
                "most": (
                    "INT",
                    {
                        "default": 6,
                        "min": 0,
                        "max": 256,
                        "tooltip": "The most sprites in a picture. There are fewer where no room is found for them.",
                    },
                ),
                "smallest": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.05, "max": 32.0, "step": 0.05, "tooltip": "The smallest scale."},
                ),
                "largest": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.05,
                        "max": 32.0,
                        "step": 0.05,
                        "tooltip": "The largest scale. 1: a sprite as large as it is.",
                    },
                ),
                "rotation": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 180.0,
                        "step": 1.0,
                        "tooltip": "How far sprites are turned, in degrees, either way.",
                    },
                ),
                "mirror": ("BOOLEAN", {"default": True, "tooltip": "Mirror half of the sprites."}),
                "overlap": (
                    "FLOAT",
                    {
                        "default": 0.3,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "How much of a sprite may be hidden by others or cut off by the edge. "
                        "0: nothing of any.",
                    },
                ),
                "light": (
                    "FLOAT",
                    {
                        "default": 0.4,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "How much brightness, warmth and the side that light falls from vary; "
                        "0: colours stay as they are.",
                    },
                ),
                "pixel_art": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Keep pixels crisp: only whole scales and right angles."},
                ),
                "terrains": (
                    "INT",
                    {
                        "default": 2,
                        "min": 1,
                        "max": 16,
                        "tooltip": "Of how many backgrounds a picture's ground is laid, in patches, where they are "
                        "tiles.",
                    },
                ),
                "casts": (
                    "INT",
                    {
                        "default": 1,
                        "min": 1,
                        "max": 256,
                        "tooltip": "Deals the sprites of each label to so many casts that take turns: pictures of two "
                        "casts share no sprite, so a data set can be split without a leak.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**64 - 1,
                        "control_after_generate": False,
                        "tooltip": "The same seed, the same pictures.",
                    },
                ),
            },
            "optional": {
                "sprite_mask": (
                    "MASK",
                    {"tooltip": "What is transparent of the sprites, as Sampler gives it: 1 − alpha."},
                ),
            },
        }

    def compose(
        self,
        sprites,
        backgrounds,
        labels,
        count,
        first,
        width,
        height,
        fewest,
        most,
        smallest,
        largest,
        rotation,
        mirror,
        overlap,
        light,
        pixel_art,
        terrains,
        casts,
        seed,
        sprite_mask=None,
    ):
        import numpy as np
        import torch

        from ..dataset import compose

        cut = _cut("sprites", sprites, sprite_mask)
        ground = list(_cut("backgrounds", backgrounds)[..., :3])
        names = names_of(labels, len(cut))
        _check_order(fewest=fewest, most=most)
        _check_order(smallest=smallest, largest=largest)
        recipe = compose.Recipe(
            (fewest, most), (smallest, largest), rotation, mirror, overlap, light, pixel_art, terrains
        )
        size = (height or ground[0].shape[0], width or ground[0].shape[1])
        sources = [_source(sprite) for sprite in cut]
        dealt = compose.casts(names, casts)

        host = current()
        progress = host.progress(count)
        composed = []
        for number in range(count):
            host.check_cancelled()
            cast = dealt[(first + number) % casts]
            picture, placed = compose.compose([cut[each] for each in cast], ground, recipe, size, seed, first + number)
            composed.append((picture, [each._replace(sprite=cast[each.sprite]) for each in placed]))
            progress.update(number + 1)

        images = torch.from_numpy(np.stack([picture for picture, _ in composed]))
        found = [placed for _, placed in composed]
        masks = [each.mask for placed in found for each in placed]
        masks = torch.from_numpy(np.stack(masks)).float() if masks else torch.zeros(0, *size)
        boxes = [[_box(each, names[each.sprite], sources[each.sprite]) for each in placed] for placed in found]
        return images, masks, boxes, [_main(placed, names) for placed in found]


def _check_order(**ends: float) -> None:
    (low, least), (high, greatest) = ends.items()
    if least > greatest:
        raise ValueError(f"{low} is {least:g} and {high} is {greatest:g}: make {low} the smaller, or both equal")


def _cut(name: str, image: Tensor, mask: Tensor | None = None) -> np.ndarray:
    """[B, H, W, 4] in 0..1, alpha from the mask, else its own. Raises ValueError where they do not fit."""
    import torch

    try:
        rgb, alpha = wires.image_in(image)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    transparency = masks_of(len(rgb), mask)
    if transparency is not None:
        if transparency.shape[2:] != alpha.shape[1:]:
            (height, width), (high, wide) = transparency.shape[2:], alpha.shape[1:]
            raise ValueError(f"sprite_mask is {width}×{height} and sprites are {wide}×{high}: wire the sampler's own")
        if not transparency.isfinite().all():
            raise ValueError("sprite_mask has NaN in it: look at the node that made it")
        alpha = 1 - transparency[:, 0]
    return torch.cat([rgb, alpha[..., None]], -1).clamp(0, 1).numpy()


def names_of(labels: str, count: int) -> list[str]:
    """The label of each sprite. Raises ValueError where lines are missing or left over."""
    lines = [line.strip() for line in labels.splitlines() if line.strip()]
    if not lines or count % len(lines):
        raise ValueError(
            f"labels has {len(lines)} lines and there are {count} sprites: write one each, one for all, or one for as "
            "many in a row"
        )
    return [line for line in lines for _ in range(count // len(lines))]


def _source(sprite: np.ndarray) -> str:
    return f"sprite {hashlib.sha256((sprite * 255).round().astype('uint8').tobytes()).hexdigest()[:16]}"


def _box(placed: Placed, label: str, source: str) -> dict[str, Any]:
    edges = dict(zip(("x", "y", "width", "height"), map(int, placed.box), strict=True))
    return {**edges, "label": label, "visibility": placed.visibility, "sprite": placed.sprite, "source": source}


def _main(placed: list[Placed], names: list[str]) -> str:
    """The label that most of a picture's pixels have; empty where it has no sprite."""
    pixels: dict[str, int] = {}
    for each in placed:
        pixels[names[each.sprite]] = pixels.get(names[each.sprite], 0) + int(each.mask.sum())
    return max(pixels, key=pixels.__getitem__, default="")
