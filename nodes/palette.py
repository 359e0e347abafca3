"""Snap Palette: pictures in few colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import wires
from .host import current
from .sheet import fitting

if TYPE_CHECKING:
    from torch import Tensor

EACH, TOGETHER = "each its own", "one for all"


class VarifoldSnapPalette:
    DESCRIPTION = (
        "Gives pictures few colours and hard edges, as pixel art has: chosen from them, or from a palette of yours."
    )
    SEARCH_ALIASES = [
        "quantize",
        "reduce colors",
        "posterize",
        "indexed color",
        "pixel art",
        "limit palette",
        "k-means",
    ]
    CATEGORY = "Varifold"
    FUNCTION = "snap"
    RETURN_TYPES = ("IMAGE", "MASK", "IMAGE")
    RETURN_NAMES = ("image", "mask", "palette")
    OUTPUT_TOOLTIPS = (
        "The pictures, each pixel one of the palette's colours; black where transparent.",
        "What is transparent: 1 − alpha, each pixel 0 or 1.",
        "The palette, a pixel a colour, the most frequent first. Another Snap Palette can use it.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures."}),
                "colours": (
                    "INT",
                    {
                        "default": 16,
                        "min": 2,
                        "max": 256,
                        "tooltip": "How many colours at most, transparency not counted.",
                    },
                ),
                "palettes": (
                    [EACH, TOGETHER],
                    {"tooltip": "Whether each picture has its own palette or all share one, as in a game."},
                ),
            },
            "optional": {
                "masks": (
                    "MASK",
                    {"tooltip": "What is transparent, as Sampler gives it. It is cut to 0 or 1."},
                ),
                "palette": (
                    "IMAGE",
                    {"tooltip": "A picture whose colours are to be used, instead of the images' own."},
                ),
            },
        }

    def snap(self, images, colours, palettes, masks=None, palette=None):
        import torch

        from ..models.style.snap import choose, snap

        rgb, alpha = wires.image_in(images)
        if not wires.is_no_mask(masks):
            alpha = 1 - fitting(wires.mask_in(masks), alpha)
        opaque = alpha > 0.5
        shared = None
        if palette is not None:
            shared = choose(_visible(palette), colours)
        elif palettes == TOGETHER:
            shared = choose(_some(rgb[opaque]), colours)

        host = current()
        progress = host.progress(len(rgb))
        snapped, used = torch.zeros_like(rgb), []
        for number, (picture, visible) in enumerate(zip(rgb, opaque, strict=True)):
            host.check_cancelled()
            own = choose(_some(picture[visible]), colours) if shared is None else shared
            snapped[number][visible] = snap(picture[visible], own)
            used.append(own)
            progress.update(number + 1)
        return snapped, 1 - opaque.float(), _strips(used if shared is None else [shared])


def _visible(palette: Tensor) -> Tensor:
    rgb, alpha = wires.image_in(palette)
    return rgb[alpha > 0.5]


def _some(rgb: Tensor) -> Tensor:
    """The colours, or black where there are none: an empty picture has a palette, too."""
    return rgb if len(rgb) else rgb.new_zeros(1, 3)


def _strips(palettes: list[Tensor]) -> Tensor:
    """[B, 1, K, 3]; a palette with fewer colours than the others repeats its last."""
    from torch import stack

    longest = max(map(len, palettes))
    padded = [palette[[min(number, len(palette) - 1) for number in range(longest)]] for palette in palettes]
    return stack(padded)[:, None]
