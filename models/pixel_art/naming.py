"""Whether a reader who was not told sees what was asked for.

    python -m varifold.models.pixel_art.naming pages FOLDER [DENOISER.safetensors]
    python -m varifold.models.pixel_art.naming score ANSWERS.txt

The first draws every prompt of `prompts.NAMING` with every seed, shuffles the sprites, and writes them as numbered
pages. The reader gets the pages and the 20 names, and answers with a line for each number: `17 potion`. The second
marks them.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..checkpoint import load_denoiser
from .prompts import NAMING, SEEDS
from .sheets import draw, sheet

A_PAGE, COLUMNS, ZOOM = 25, 5, 5
SHUFFLE = 20


class AnswersError(ValueError):
    """The answers cannot be marked."""


def order() -> list[int]:
    """Which sprite stands at each place: sprite k is prompt k // 10 with seed k % 10."""
    places = list(range(len(NAMING) * len(SEEDS)))
    random.Random(SHUFFLE).shuffle(places)
    return places


def pages(denoiser_path: Path | None, folder: Path) -> list[Path]:
    """Draws the sprites and writes the pages, `page_1.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    sprites = draw(load_denoiser(denoiser_path), list(NAMING.values()), SEEDS)[order()]
    written = []
    for start in range(0, len(sprites), A_PAGE):
        path = folder / f"page_{start // A_PAGE + 1}.png"
        _numbered(sheet(sprites[start : start + A_PAGE], COLUMNS, ZOOM), start).save(path)
        written.append(path)
    return written


def _numbered(page: Image.Image, start: int) -> Image.Image:
    """With the number of each sprite above it."""
    side = page.width // COLUMNS
    rows, strip, font = page.height // side, 24, ImageFont.load_default(size=20)
    result = Image.new("RGB", (page.width, page.height + rows * strip), "black")
    pen = ImageDraw.Draw(result)
    for row in range(rows):
        top = row * (side + strip)
        result.paste(page.crop((0, row * side, page.width, (row + 1) * side)), (0, top + strip))
        for column in range(COLUMNS):
            pen.text((column * side + 4, top), str(start + row * COLUMNS + column), "white", font)
    return result


def read(path: Path) -> dict[int, str]:
    """Answers by number. Raises AnswersError for a line that is none, an unknown name or a missing number."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise AnswersError(f"{path} is not a text") from None
    answers: dict[int, str] = {}
    for line in lines:
        number, _, name = line.strip().partition(" ")
        if not number:
            continue
        if not number.isdecimal() or name.strip() not in NAMING:
            raise AnswersError(f"{path}: {line!r} is not a number and one of {', '.join(NAMING)}")
        if int(number) in answers:
            raise AnswersError(f"{path}: number {int(number)} is answered twice")
        answers[int(number)] = name.strip()
    missing = sorted(set(range(len(NAMING) * len(SEEDS))) ^ set(answers))
    if missing:
        raise AnswersError(f"{path}: number {missing[0]} and {len(missing) - 1} others are missing or too many")
    return answers


def mark(answers: dict[int, str]) -> str:
    """How many are right, in all and by name, and what the others were taken for."""
    names = list(NAMING)
    seen = {name: Counter() for name in names}
    for place, sprite in enumerate(order()):
        seen[names[sprite // len(SEEDS)]][answers[place]] += 1
    right = sum(seen[name][name] for name in names)
    lines = [f"right: {right} of {len(answers)}, {right / len(answers):.1%}"]
    for name in names:
        wrong = ", ".join(f"{other} {count}" for other, count in seen[name].most_common() if other != name)
        lines.append(f"{name:11} {seen[name][name]:3} of {len(SEEDS)}   {wrong}".rstrip())
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="naming", description="Draw pages for a reader, or mark the reader's answers."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    drawing = verbs.add_parser("pages", help="draw numbered pages")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("denoiser", type=Path, nargs="?", help="a .safetensors file (default: the embedded one)")
    scoring = verbs.add_parser("score", help="mark answers")
    scoring.add_argument("answers", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.verb == "pages":
            written = pages(options.denoiser, options.folder)
            print(f"{len(written)} pages in {options.folder}; the names: {', '.join(sorted(NAMING))}")
        else:
            print(mark(read(options.answers)))
    except (AnswersError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
