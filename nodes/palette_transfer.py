"""Palette: the colours of another picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import wires
from .host import current
from .resize import cover
from .start import masks_of

if TYPE_CHECKING:
    from torch import Tensor

SLICED, MKL = "optimal transport", "mkl"


class VarifoldPalette:
    DESCRIPTION = "Gives pictures the colours of another picture, and changes nothing but colour."
    SEARCH_ALIASES = [
        "color transfer",
        "color match",
        "match colors",
        "color grading",
        "recolor",
        "histogram matching",
        "style transfer",
    ]
    CATEGORY = "Varifold"
    FUNCTION = "recolour"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures in the colours of the style.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures, of any size."}),
                "style": (
                    "IMAGE",
                    {
                        "tooltip": "Where the colours are from: one picture for all, or one each. "
                        "A single image comes out once in each style."
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "0: the pictures as they are; 1: the style's colours.",
                    },
                ),
                "method": (
                    [SLICED, MKL],
                    {
                        "tooltip": "optimal transport: all colours of the style, as often as it has them.\n"
                        "mkl: one change for all colours, to the style's mean and spread; gentler and faster."
                    },
                ),
                "keep_lightness": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "Change hue and chroma only; light and shade stay the picture's own.",
                    },
                ),
                "smooth": (
                    "FLOAT",
                    {
                        "default": 0.5,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "How widely the change of colour follows the picture, so that skies do not break "
                        "into steps and grain does not grow. 0: each pixel by its colour alone.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**64 - 1,
                        "control_after_generate": False,
                        "tooltip": "The directions in which optimal transport compares colours. It hardly matters.",
                    },
                ),
            },
            "optional": {
                "mask": (
                    "MASK",
                    {"tooltip": "Where to recolour: 1 = recolour. It also says which colours are changed."},
                ),
                "style_mask": ("MASK", {"tooltip": "Where in the style to take colours from: 1 = take."}),
            },
        }

    def recolour(self, images, style, strength, method, keep_lightness, smooth, seed, mask=None, style_mask=None):
        import torch

        from ..models.style.recolour import colours_of, recolour
        from ..models.style.transport import fit

        (rgb, alpha), (style_rgb, style_alpha) = wires.image_in(images), wires.image_in(style)
        count = _together(len(rgb), len(style_rgb))
        rgb, alpha = rgb.expand(count, -1, -1, -1), alpha.expand(count, -1, -1)
        where = _weights("mask", mask, alpha)
        taken = style_alpha * _weights("style_mask", style_mask, style_alpha)
        targets = [colours_of(each, weight, seed) for each, weight in zip(style_rgb, taken, strict=True)]
        if not all(map(len, targets)):
            raise ValueError("there are no colours to take: style is transparent or style_mask is 0 everywhere")

        host = current()
        progress = host.progress(count)
        recoloured = rgb.clone(memory_format=torch.contiguous_format)
        for number, picture in enumerate(rgb):
            host.check_cancelled()
            source = colours_of(picture, alpha[number] * where[number], seed)
            if strength > 0 and len(source) > 0:
                transport = fit(source, targets[number % len(targets)], method, seed)
                moved = recolour(picture, transport, keep_lightness=keep_lightness, smooth=smooth)
                recoloured[number].lerp_(moved, strength * where[number][..., None])
            progress.update(number + 1)
        return (recoloured,)


def _together(images: int, styles: int) -> int:
    """How many pictures come out. Raises ValueError if the two batches do not go together."""
    if images != styles and 1 not in (images, styles):
        raise ValueError(f"there are {images} images and {styles} pictures in style: one for all, or one each")
    return max(images, styles)


def _weights(name: str, mask: Tensor | None, alpha: Tensor) -> Tensor:
    """A MASK as [B, H, W], brought to the size of `alpha`; ones where it is none. Raises ValueError for NaN in it."""
    masks = masks_of(len(alpha), mask)
    if masks is None:
        return alpha.new_ones(()).expand_as(alpha)
    if not masks.isfinite().all():
        raise ValueError(f"{name} has NaN in it: look at the node that made it")
    return cover(masks, tuple(alpha.shape[1:]), enlarge="bilinear")[:, 0]
