"""A sheet of samples: small pictures with their objects marked and their class below."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..lettering import Lettering, lettering
from ..metadata import TRAINED_ALGORITHMIC_MEDIA, XMP_IN_JPEG, xmp
from ..sample import Sample

MOST = 24
COLUMNS = 6
SIDE, GAP, LINE = 160, 12, 22
PAPER, INK, MARK = (248, 247, 244), (60, 58, 54), (255, 72, 40)


def draw_sheet(folder: Path, examples: Mapping[str | None, Sequence[Sample]], path: Path) -> None:
    """Draw up to MOST samples, a first one of each label, then a second, ..., and those of a label together."""
    turns = itertools.zip_longest(*examples.values())
    chosen = list(itertools.islice((sample for turn in turns for sample in turn if sample is not None), MOST))
    order = {sample.id: place for place, sample in enumerate(itertools.chain(*examples.values()))}
    chosen.sort(key=lambda sample: order[sample.id])
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    cell = (SIDE + GAP, SIDE + LINE + GAP)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + GAP), PAPER)
    words = [_words(sample) for sample in chosen]
    letters = lettering(words, 14)
    for place, sample in enumerate(chosen):
        row, column = divmod(place, columns)
        left, top = GAP + column * cell[0], GAP + row * cell[1]
        _draw(sheet, left, top, folder, sample)
        _write(sheet, left + SIDE // 2, top + SIDE + LINE // 2, words[place], letters)
    packet = XMP_IN_JPEG + xmp(TRAINED_ALGORITHMIC_MEDIA)
    segment = b"\xff\xe1" + (len(packet) + 2).to_bytes(2, "big") + packet
    sheet.save(path, "JPEG", quality=90, subsampling=0, extra=segment)


def _draw(sheet: Image.Image, left: int, top: int, folder: Path, sample: Sample) -> None:
    with Image.open(folder / sample.image) as image:
        picture = image.convert("RGBA")
    scale = SIDE / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    small = picture.resize(size, how)
    corner = left + (SIDE - size[0]) // 2, top + (SIDE - size[1]) // 2
    sheet.paste(small, corner, small)
    pen = ImageDraw.Draw(sheet)
    for each in sample.instances:
        x, y, width, height = (value * scale for value in each.box)
        box = (max(x, 0), max(y, 0), min(x + width, size[0]) - 1, min(y + height, size[1]) - 1)
        if box[2] > box[0] and box[3] > box[1]:
            pen.rectangle([corner[axis % 2] + value for axis, value in enumerate(box)], outline=MARK)


def _words(sample: Sample) -> str:
    label = sample.label if sample.label is not None else (sample.instances[0].label if sample.instances else "")
    return "".join(letter if letter.isprintable() else "?" for letter in label)


def _write(sheet: Image.Image, middle: int, line: int, label: str, letters: Lettering) -> None:
    words = letters.shown(label)
    while letters.font.getlength(words) > SIDE:
        words = words[:-2] + "…"
    ImageDraw.Draw(sheet).text((middle, line), words, INK, letters.font, anchor="mm")
