"""Sheet: many pictures on one, each with its label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from . import wires

if TYPE_CHECKING:
    from PIL import ImageFont
    from torch import Tensor

COMFORTABLE_SIDE = 128
BACKGROUNDS = {"dark": ((30, 30, 38), (235, 235, 240)), "light": ((244, 244, 241), (25, 25, 30))}
CHECKER = ((58, 58, 68), (72, 72, 84))


def draw_sheet(
    cells: list[Image.Image], labels: list[str], *, columns: int = 0, gap: int = 8, background: str = "dark"
) -> Image.Image:
    """One RGB picture of equally large RGB `cells`, row by row, with `labels` under them; 0 columns: nearly square."""
    from PIL import ImageDraw, ImageFont

    paper, ink = BACKGROUNDS[background]
    width, height = cells[0].size
    columns = min(columns or math.ceil(math.sqrt(len(cells) * height / width)), len(cells))
    rows = math.ceil(len(cells) / columns)
    font = ImageFont.load_default(size=max(12, min(24, width // 9)))
    texts = ["\n".join(_wrapped(label, font, width)) for label in labels[: len(cells)]]
    line = font.getbbox("Ágy")[3] + 4
    caption = line * max((text.count("\n") + 1 for text in texts if text), default=0)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + caption + gap) + gap), paper)
    pen = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        left = gap + index % columns * (width + gap)
        top = gap + index // columns * (height + caption + gap)
        sheet.paste(cell, (left, top))
        if index < len(texts):
            pen.multiline_text((left + width // 2, top + height + 2), texts[index], ink, font, "ma", 2, "center")
    return sheet


def _wrapped(text: str, font: ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def on_checker(rgb: np.ndarray, transparency: np.ndarray, tile: int) -> np.ndarray:
    """Colours [H, W, 3] over a checkerboard of `tile` pixels, where `transparency` [H, W] shows it."""
    down, right = np.indices(transparency.shape) // tile
    board = np.array(CHECKER, dtype=np.float32)[(down + right) % 2] / 255
    return rgb + (board - rgb) * transparency[..., None]


def pil_from(rgb: np.ndarray, scale: int) -> Image.Image:
    """Colours [H, W, 3] in 0..1 as a picture, each pixel `scale` large."""
    picture = Image.fromarray((rgb.clip(0, 1) * 255).round().astype(np.uint8))
    return picture.resize((picture.width * scale, picture.height * scale), Image.NEAREST)


def image_out(pictures: list[Image.Image]) -> Tensor:
    """Equally large RGB pictures as IMAGE [B, H, W, 3]."""
    import torch

    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).float() / 255


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
            },
        }

    def lay_out(self, images, labels, columns, scale, gap, background, masks=None):
        rgb, alpha = wires.image_in(images)
        transparency = (1 - alpha if masks is None else _fitting(wires.mask_in(masks), alpha)).numpy()
        scale = scale or max(1, math.ceil(COMFORTABLE_SIDE / max(rgb.shape[1:3])))
        tile = max(1, rgb.shape[2] // 8)
        cells = [
            pil_from(on_checker(picture, clear, tile), scale)
            for picture, clear in zip(rgb.numpy(), transparency, strict=True)
        ]
        sheet = draw_sheet(cells, labels.splitlines(), columns=columns, gap=gap, background=background)
        return (image_out([sheet]),)


def _fitting(masks: Tensor, alpha: Tensor) -> Tensor:
    if masks.shape[1:] != alpha.shape[1:]:
        raise ValueError(
            f"masks are {masks.shape[2]}×{masks.shape[1]} and images {alpha.shape[2]}×{alpha.shape[1]}: "
            "scale both, or wire the sampler's own"
        )
    if masks.shape[0] not in (1, alpha.shape[0]):
        raise ValueError(f"there are {masks.shape[0]} masks for {alpha.shape[0]} images: one for all, or one each")
    return masks.expand_as(alpha)
