"""Sheet: many pictures on one, each with its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import wires
from .drawing import BACKGROUNDS, cells, draw_sheet, image_out

if TYPE_CHECKING:
    from torch import Tensor


class VarifoldSheet:
    DESCRIPTION = "Lays a batch of pictures out on one sheet, with a label under each: to compare and to share."
    SEARCH_ALIASES = ["contact sheet", "grid", "image grid", "xy plot", "compare images", "label"]
    CATEGORY = "Varifold"
    FUNCTION = "lay_out"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheet",)
    OUTPUT_TOOLTIPS = ("The sheet, one picture.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures, row by row."}),
                "labels": (
                    "STRING",
                    {"default": "", "multiline": True, "tooltip": "A line for each picture; may stay empty."},
                ),
                "columns": ("INT", {"default": 0, "min": 0, "max": 256, "tooltip": "0: about as wide as high."}),
                "scale": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 32,
                        "tooltip": "How many pixels each pixel becomes. 0: small pictures grow to 128 and more.",
                    },
                ),
                "gap": ("INT", {"default": 8, "min": 0, "max": 256, "tooltip": "Pixels between pictures."}),
                "background": (list(BACKGROUNDS), {"tooltip": "The paper."}),
            },
            "optional": {
                "masks": (
                    "MASK",
                    {"tooltip": "What is transparent, as Sampler gives it: shown as a checkerboard."},
                ),
                "reference": (
                    "IMAGE",
                    {"tooltip": "What to compare with: under each picture stands how far it is from this one."},
                ),
            },
        }

    def lay_out(self, images, labels, columns, scale, gap, background, masks=None, reference=None):
        rgb, alpha = wires.image_in(images)
        labels = labels.splitlines()
        if reference is not None:
            labels = _with_errors(labels, rgb, wires.image_in(reference)[0])
        transparency = 1 - alpha if wires.is_no_mask(masks) else fitting(wires.mask_in(masks), alpha)
        sheet = draw_sheet(cells(rgb, transparency, scale), labels, columns=columns, gap=gap, background=background)
        return (image_out([sheet]),)


def _with_errors(labels: list[str], rgb: Tensor, reference: Tensor) -> list[str]:
    """The labels, each with the root mean square difference of its picture from the reference [1 or B, H, W, 3]."""
    if reference.shape[1:] != rgb.shape[1:] or reference.shape[0] not in (1, rgb.shape[0]):
        raise ValueError(
            f"reference is {reference.shape[0]} of {reference.shape[2]}×{reference.shape[1]} and images are "
            f"{rgb.shape[0]} of {rgb.shape[2]}×{rgb.shape[1]}: it should be of their size, one for all or one each"
        )
    errors = (rgb - reference).square().mean((1, 2, 3)).sqrt().tolist()
    labels = [*labels, *[""] * len(errors)]
    return [f"{label}  error {error:.3f}".strip() for label, error in zip(labels, errors, strict=False)]


def fitting(masks: Tensor, alpha: Tensor) -> Tensor:
    """Masks [1 or B, H, W] as [B, H, W], like `alpha`. Raises ValueError, with both sizes, if they do not fit."""
    if masks.shape[1:] != alpha.shape[1:]:
        raise ValueError(
            f"masks are {masks.shape[2]}×{masks.shape[1]} and images {alpha.shape[2]}×{alpha.shape[1]}: "
            "scale both, or wire the sampler's own"
        )
    if masks.shape[0] not in (1, alpha.shape[0]):
        raise ValueError(f"there are {masks.shape[0]} masks for {alpha.shape[0]} images: one for all, or one each")
    return masks.expand_as(alpha)
