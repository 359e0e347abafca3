"""A table as a picture: a row for each measure, a column for each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from ..dataset.lettering import lettering
from .drawing import BACKGROUNDS

PAPER, INK = BACKGROUNDS["dark"]
BAND, BEST, FLOOR, FAINT = (38, 38, 48), (120, 190, 255), (246, 190, 80), (150, 150, 162)
ROW, MARGIN, GAP = 34, 20, 28


class Line(NamedTuple):
    """A row: what is measured, of each model its text, the number of the best one or None, and what real ones get."""

    name: str
    texts: tuple[str, ...]
    best: int | None
    floor: str


def draw_table(names: Sequence[str], lines: Sequence[Line], corner: str, floor: str) -> Image.Image:
    """One RGB picture; `corner` and `floor` head the columns of names and of what real pictures get."""
    rows = [(corner, *names, floor), *((line.name, *line.texts, line.floor) for line in lines)]
    letters = lettering((text for row in rows for text in row), 16)
    font = letters.font
    shown = [[letters.shown(text) for text in row] for row in rows]
    widths = [max(font.getlength(row[column]) for row in shown) + GAP for column in range(len(rows[0]))]
    picture = Image.new("RGB", (round(sum(widths)) + 2 * MARGIN, 2 * MARGIN + ROW * len(rows)), PAPER)
    pen = ImageDraw.Draw(picture)
    for number, texts in enumerate(shown):
        top, x = MARGIN + ROW * number, MARGIN
        if number % 2:
            pen.rectangle([MARGIN / 2, top, picture.width - MARGIN / 2, top + ROW - 1], BAND)
        for column, (text, width) in enumerate(zip(texts, widths, strict=True)):
            last = column == len(texts) - 1
            colour = FAINT if number == 0 or column == 0 else FLOOR if last else INK
            if number and lines[number - 1].best == column - 1 and column and not last:
                colour = BEST
            pen.text((x, top + ROW / 2), text, colour, font, "lm")
            x += width
    return picture


def table_text(names: Sequence[str], lines: Sequence[Line], corner: str, floor: str) -> list[str]:
    """The same as lines of text, in columns; the best of a row has a star."""
    rows = [[corner, *names, floor]]
    for line in lines:
        starred = [f"{text} *" if k == line.best else text for k, text in enumerate(line.texts)]
        rows.append([line.name, *starred, line.floor])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
