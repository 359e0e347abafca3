"""Measures as a picture: a bar for each, with what real pictures get beside real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from ..dataset.lettering import lettering
from .drawing import BACKGROUNDS

if TYPE_CHECKING:
    from ..dataset.measures.report import Figure

PAPER, INK = BACKGROUNDS["dark"]
TRACK, VALUE, FLOOR, FAINT = (46, 46, 56), (98, 160, 234), (246, 190, 80), (150, 150, 162)
WIDTH, ROW, MARGIN, NAMES, NUMBERS = 920, 40, 20, 180, 330
BAR = 14
TO_ONE = ("precision", "recall", "coverage")


def draw_measures(figures: Sequence[Figure], labels: Sequence[tuple[str, int]] = ()) -> Image.Image:
    """One RGB picture: the figures, and how many samples each label has, most first."""
    font, small = ImageFont.load_default(size=16), ImageFont.load_default(size=13)
    height = 2 * MARGIN + ROW * (len(figures) + 1) + (ROW + 26 * len(labels) if labels else 0)
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(picture)
    _legend(pen, MARGIN + ROW / 2, small)
    for number, figure in enumerate(figures, 1):
        _row(pen, MARGIN + ROW * number + ROW / 2, figure, font, small)
    top = MARGIN + ROW * (len(figures) + 1)
    if labels:
        pen.text((MARGIN, top + ROW / 2), "samples of each label", FAINT, small, "lm")
    letters = lettering((name for name, _ in labels), 13)
    for number, (name, count) in enumerate(labels):
        middle = top + ROW + 26 * number + 13
        pen.text((MARGIN, middle), _short(letters.shown(name), letters.font, NAMES), INK, letters.font, "lm")
        _bar(pen, middle, count / max(count for _, count in labels), VALUE)
        pen.text((WIDTH - NUMBERS + 10, middle), str(count), INK, small, "lm")
    return picture


def end_of_bar(figure: Figure) -> float:
    """What the whole length of a figure's bar stands for."""
    # A kernel distance may be below 0, where nothing can be told apart.
    return 1.0 if figure.name in TO_ONE else 1.1 * max(figure.value, figure.floor, 1e-12)


def _legend(pen: ImageDraw.ImageDraw, middle: float, font: ImageFont.ImageFont) -> None:
    left = NAMES + MARGIN
    for colour, text in ((VALUE, "synthetic beside real"), (FLOOR, "real beside real: the best to hope for")):
        pen.rectangle([left, middle - 5, left + 10, middle + 5], colour)
        pen.text((left + 18, middle), text, FAINT, font, "lm")
        left += 36 + font.getlength(text)


def _row(pen: ImageDraw.ImageDraw, middle: float, figure: Figure, font, small) -> None:
    pen.text((MARGIN, middle), _short(figure.name, font, NAMES), INK, font, "lm")
    if figure.missing:
        pen.text(
            (NAMES + MARGIN, middle), _short(figure.missing, small, WIDTH - NAMES - 2 * MARGIN), FAINT, small, "lm"
        )
        return
    longest = end_of_bar(figure)
    place = _bar(pen, middle, figure.value / longest, VALUE)
    low, high = (place(figure.floor + sign * figure.floor_spread, longest) for sign in (-1, 1))
    pen.rectangle([low - 1, middle - BAR / 2 - 4, high + 1, middle + BAR / 2 + 4], outline=FLOOR)
    at = place(figure.floor, longest)
    pen.line([at, middle - BAR / 2 - 4, at, middle + BAR / 2 + 4], FLOOR, 2)
    text = f"{figure.value:.3g} ± {figure.value_spread:.1g}"
    pen.text((WIDTH - NUMBERS + 10, middle), text, INK, font, "lm")
    pen.text(
        (WIDTH - NUMBERS + 160, middle), f"real {figure.floor:.3g} ± {figure.floor_spread:.1g}", FLOOR, small, "lm"
    )


def _bar(pen: ImageDraw.ImageDraw, middle: float, share: float, colour: tuple[int, int, int]):
    left, right = NAMES + MARGIN, WIDTH - NUMBERS - 10

    def place(value: float, longest: float = 1.0) -> float:
        return left + (right - left) * min(1.0, max(0.0, value / longest))

    pen.rectangle([left, middle - BAR / 2, right, middle + BAR / 2], TRACK)
    if share > 0:
        pen.rectangle([left, middle - BAR / 2, place(share), middle + BAR / 2], colour)
    return place


def _short(text: str, font: ImageFont.ImageFont, width: float) -> str:
    """The text, its end cut off where it is too long."""
    if font.getlength(text) <= width:
        return text
    letters = math.floor(len(text) * width / font.getlength(text))
    return text[: max(1, letters - 2)] + "..."
