"""A training as a picture: its losses over the pictures seen, and what the net makes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK, FAINT, GRID = (30, 30, 38), (235, 235, 240), (150, 150, 162), (58, 58, 68)
COLOURS = ((98, 160, 234), (246, 150, 80), (143, 200, 110), (220, 120, 190))
WIDTH, HEIGHT = 512, 256
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 26
TICKS = (1, 2, 5)
CHECKER = (0.34, 0.42)


def draw_losses(lines: dict[str, Sequence[tuple[float, float]]], most: int, note: str = "") -> Image.Image:
    """Curves of (pictures seen, loss), by name, where `most` pictures are seen in all; losses over 0 in logarithms.

    The note stands at the top.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12)
    values = [value for line in lines.values() for _, value in line if math.isfinite(value)]
    if not values:
        return picture
    scale = math.log if min(values) > 0 else float
    low, high = scale(min(values)), scale(max(values))
    high = max(high, low + 1e-6)

    def place(seen: float, value: float) -> tuple[float, float]:
        share = (scale(value) - low) / (high - low)
        return LEFT + (WIDTH - LEFT - RIGHT) * seen / most, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    for tick in _ticks(min(values), max(values), scale is math.log):
        _, y = place(0, tick)
        pen.line([LEFT, y, WIDTH - RIGHT, y], GRID)
        pen.text((LEFT - 6, y), f"{tick:.3g}", FAINT, font, "rm")
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, _ = place(share * most, min(values))
        pen.text((x, HEIGHT - BOTTOM + 6), _count(share * most), FAINT, font, "rt" if share == 1 else "mt")
    pen.text((WIDTH - RIGHT, 15), note, FAINT, font, "rm")
    x = LEFT
    for (name, line), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        points = [place(seen, value) for seen, value in line if math.isfinite(value)]
        if len(points) > 1:
            pen.line(points, colour, 2)
        elif points:
            pen.ellipse([points[0][0] - 2, points[0][1] - 2, points[0][0] + 2, points[0][1] + 2], colour)
        pen.rectangle([x, 11, x + 10, 19], colour)
        pen.text((x + 16, 15), name, INK, font, "lm")
        x += 28 + font.getlength(name)
    return picture


def draw_training(curve: Image.Image, pictures: Tensor | None) -> Image.Image:
    """A curve, and pictures [N, H, W, 1, 3 or 4] in 0..1 below it, enlarged to its width, pixels kept sharp."""
    if pictures is None or not len(pictures):
        return curve
    sheet = draw_pictures(pictures, curve.width)
    whole = Image.new("RGB", (curve.width, curve.height + sheet.height), PAPER)
    whole.paste(curve, (0, 0))
    whole.paste(sheet, ((curve.width - sheet.width) // 2, curve.height))
    return whole


def draw_pictures(pictures: Tensor, width: int) -> Image.Image:
    """Pictures [N, H, W, 1, 3 or 4] in 0..1 in rows about so many pixels wide, over a checkerboard."""
    count, high, wide = pictures.shape[:3]
    columns = max(1, min(count, round(math.sqrt(2 * count * high / wide))))
    rgb = pictures[..., :3].expand(-1, -1, -1, 3).float().clamp(0, 1).cpu()
    if pictures.shape[-1] == 4:
        down, right = torch.arange(high)[:, None], torch.arange(wide)
        board = torch.tensor(CHECKER)[(down // max(1, high // 8) + right // max(1, wide // 8)) % 2][..., None]
        rgb = torch.lerp(board.expand_as(rgb), rgb, pictures[..., 3:].float().clamp(0, 1).cpu())
    scale = max(1, width // (columns * (wide + 1)))
    levels = (rgb * 255).round().byte().repeat_interleave(scale, 1).repeat_interleave(scale, 2).numpy()
    rows = -(-count // columns)
    cell_high, cell_wide = high * scale + scale, wide * scale + scale
    sheet = Image.new("RGB", (columns * cell_wide, rows * cell_high), PAPER)
    for index, picture in enumerate(levels):
        sheet.paste(Image.fromarray(picture), (index % columns * cell_wide, index // columns * cell_high))
    if sheet.width > 2 * width:
        sheet = sheet.resize((width, max(1, sheet.height * width // sheet.width)), Image.Resampling.BILINEAR)
    return sheet


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if not logarithmic:
        return [low + (high - low) * share / 3 for share in range(4)]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [first * 10.0**power for power in powers for first in TICKS if low <= first * 10.0**power <= high]
    return ticks[:: max(1, len(ticks) // 6)] or [low, high]


def _count(number: float) -> str:
    return f"{number / 1e6:g}M" if number >= 1e6 else f"{number / 1e3:g}k" if number >= 1e3 else f"{number:g}"
