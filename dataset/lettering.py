"""Letters on pictures: a font that has those of the texts, and what stands for letters that none has."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import ImageFont

PILLOWS = None  # Pillow's own font, which has English letters alone
FONTS = (  # as Windows, macOS and Linux call theirs; those with Chinese last, for the others look better without
    "segoeui.ttf",
    "HelveticaNeue.ttc",
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "msyh.ttc",
    "simhei.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "STHeiti Light.ttc",
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
)
PROBE = 16  # pixels, at which letters are looked at
SILENT = ("Mn", "Cf", "Cc")  # categories of Unicode that take no room of their own
UNASSIGNED = "\U0010ffff"  # drawn as any letter that a font lacks


@dataclass(frozen=True)
class Lettering:
    """font: what to draw with. shown(text): what to draw, in letters that the font has."""

    font: ImageFont.FreeTypeFont
    name: str | None

    def shown(self, text: str) -> str:
        """Letters that the font lacks without their accents, as é as e, else by their code points, as \\u5251."""
        return "".join(letter if _has(self.name, letter) else _spelled(self.name, letter) for letter in text)


def lettering(texts: Iterable[str], size: float) -> Lettering:
    """Pillow's own font if it has all letters of the texts, else the one of the system that lacks the fewest."""
    letters = set().union(*texts)
    lacks = {PILLOWS: _lacking(PILLOWS, letters)}
    if lacks[PILLOWS]:
        lacks |= {name: _lacking(name, letters) for name in FONTS if _font(name, PROBE) is not None}
    best = min(lacks, key=lacks.__getitem__)
    return Lettering(_font(best, size), best)


@functools.lru_cache(maxsize=256)
def _font(name: str | None, size: float) -> ImageFont.FreeTypeFont | None:
    """None where the system has none of this name."""
    if name is PILLOWS:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _lacking(name: str | None, letters: Iterable[str]) -> int:
    return sum(not _has(name, letter) for letter in letters)


@functools.lru_cache(maxsize=65536)
def _has(name: str | None, letter: str) -> bool:
    return letter in " \n" or _drawn(name, letter) != _drawn(name, UNASSIGNED)


def _drawn(name: str | None, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(name, PROBE).getmask(letter)
    return mask.size, bytes(mask)


def _spelled(name: str | None, letter: str) -> str:
    if letter.isspace():
        return " "
    plain = [part for part in unicodedata.normalize("NFKD", letter) if unicodedata.category(part) not in SILENT]
    if all(_has(name, part) for part in plain):
        return "".join(plain)
    return letter.encode("ascii", "backslashreplace").decode()
