"""Errors by noise level as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from .drawing import BACKGROUNDS

if TYPE_CHECKING:
    from ..models.explain.levels import LevelErrors

PAPER, INK = BACKGROUNDS["dark"]
GRID, FAINT = (52, 52, 62), (150, 150, 162)
OWN, KEEPING, KNOWING = (98, 160, 234), (143, 200, 110), (246, 190, 80)
WIDTH, HEIGHT = 920, 520
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 56, 60


def draw_levels(found: LevelErrors) -> Image.Image:
    """One RGB picture: error over noise level, both in logarithms, with what two simple answers would have."""
    font, small = ImageFont.load_default(size=16), ImageFont.load_default(size=13)
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(picture)
    sigmas = found.sigmas
    told = [error for error in (*found.errors, found.knowing) if error > 0]
    low, high = math.log10(min(told, default=1e-6)), math.log10(max(told, default=1.0))
    low, high = low - 0.1, max(high, low + 0.5) + 0.2
    first, last = math.log10(sigmas[-1]), math.log10(sigmas[0])

    def place(sigma: float, error: float) -> tuple[float, float]:
        across = (math.log10(sigma) - first) / (last - first)
        up = (math.log10(max(error, 1e-12)) - low) / (high - low)
        return LEFT + (WIDTH - LEFT - RIGHT) * across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up

    for power in range(math.ceil(low), math.floor(high) + 1):
        _, y = place(sigmas[0], 10.0**power)
        pen.line([LEFT, y, WIDTH - RIGHT, y], GRID)
        pen.text((LEFT - 8, y), f"{10.0**power:g}", FAINT, small, "rm")
    for power in range(math.ceil(first), math.floor(last) + 1):
        x, _ = place(10.0**power, 1.0)
        pen.line([x, TOP, x, HEIGHT - BOTTOM], GRID)
        pen.text((x, HEIGHT - BOTTOM + 8), f"{10.0**power:g}", FAINT, small, "mt")
    pen.text((WIDTH - RIGHT, HEIGHT - 14), "noise level sigma", FAINT, small, "rs")

    names = ("mean square error of x0", "of answering the noisy picture", "of answering the mean picture")
    lines = (found.errors, found.keeping, [found.knowing] * len(sigmas))
    x = LEFT
    for name, errors, colour in zip(names, lines, (OWN, KEEPING, KNOWING), strict=True):
        points = [place(sigma, error) for sigma, error in zip(sigmas, errors, strict=True) if math.isfinite(error)]
        pen.line(_inside(points), colour, 3 if colour == OWN else 1)
        pen.rectangle([x, 24, x + 12, 34], colour)
        pen.text((x + 20, 29), name, INK, font, "lm")
        x += 48 + font.getlength(name)
    for sigma, error, uncertain in zip(sigmas, found.errors, found.uncertain, strict=True):
        at, top = place(sigma, error + uncertain)
        _, bottom = place(sigma, max(error - uncertain, 10.0**low))
        pen.line([at, top, at, bottom], OWN, 1)
        _, y = place(sigma, error)
        pen.ellipse([at - 4, y - 4, at + 4, y + 4], OWN)
    return picture


def _inside(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line without what is above or below the frame, cut at its edge."""
    high, low, kept = TOP, HEIGHT - BOTTOM, []
    for k, (x, y) in enumerate(points):
        if high <= y <= low:
            kept.append((x, y))
            continue
        for other in points[max(0, k - 1) : k + 2]:
            if high <= other[1] <= low:
                edge = high if y < high else low
                share = (edge - other[1]) / (y - other[1])
                kept.append((other[0] + share * (x - other[0]), edge))
    return kept
