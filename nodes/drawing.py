"""Drawing: pictures as cells, and cells on a labelled sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..dataset.lettering import lettering

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
    from PIL import ImageDraw

    paper, ink = BACKGROUNDS[background]
    width, height = cells[0].size
    columns = min(columns or math.ceil(math.sqrt(len(cells) * height / width)), len(cells))
    rows = math.ceil(len(cells) / columns)
    letters = lettering(labels, max(12, min(24, width // 9)))
    font = letters.font
    texts = ["\n".join(_wrapped(letters.shown(label), font, width)) for label in labels[: len(cells)]]
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


def cells(rgb: Tensor, transparency: Tensor, scale: int) -> list[Image.Image]:
    """Pictures [B, H, W, 3] in 0..1 as RGB, over a checkerboard where `transparency` [B, H, W] shows it.

    Each pixel becomes `scale` large; with 0, small pictures grow to 128 pixels and more.
    """
    height, width = rgb.shape[1:3]
    scale = scale or max(1, math.ceil(COMFORTABLE_SIDE / max(height, width)))
    down, right = np.indices((height, width)) // max(1, width // 8)
    board = np.array(CHECKER, dtype=np.float32)[(down + right) % 2] / 255
    seen = rgb.numpy() + (board - rgb.numpy()) * transparency.numpy()[..., None]
    levels = (seen.clip(0, 1) * 255).round().astype(np.uint8)
    return [Image.fromarray(picture).resize((width * scale, height * scale), Image.NEAREST) for picture in levels]


def image_out(pictures: list[Image.Image]) -> Tensor:
    """Equally large RGB pictures as IMAGE [B, H, W, 3]."""
    import torch

    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).float() / 255
