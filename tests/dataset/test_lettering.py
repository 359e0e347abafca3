"""Letters that fonts have and lack: nothing is drawn as an empty box."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from varifold.dataset import lettering as module
from varifold.dataset.lettering import PILLOWS, UNASSIGNED, lettering


@pytest.fixture
def bare(monkeypatch):
    """A system without fonts."""
    monkeypatch.setattr(module, "FONTS", ("no such font.ttf",))


def ink(text: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    picture = Image.new("L", (120, 40))
    ImageDraw.Draw(picture).text((2, 2), text, 255, font)
    return np.asarray(picture)


def test_english_is_drawn_with_pillows_own_font_whatever_the_system_has():
    letters = lettering(["hero robe", "tile/stone #2"], 14)
    assert letters.name is PILLOWS and letters.shown("hero robe") == "hero robe"
    assert np.array_equal(ink("hero", letters.font), ink("hero", ImageFont.load_default(14)))


def test_what_no_font_has_is_spelled(bare):
    letters = lettering(["剑 x", "Café", "🐉"], 14)
    assert letters.name is PILLOWS
    assert letters.shown("剑 x") == "\\u5251 x" and letters.shown("🐉") == "\\U0001f409"
    assert letters.shown("Café ｆit\u200b") == "Cafe fit"
    assert letters.shown("e\u0301") == "e" and letters.shown("tab\tand\nline\u3000") == "tab and\nline "


def test_no_letter_that_is_shown_is_an_empty_box(bare):
    text = "".join(map(chr, range(32, 0x600))) + "剑盾あ가"
    letters = lettering([text], 14)
    box = ink(UNASSIGNED, letters.font)
    assert box.any() and not any(np.array_equal(ink(letter, letters.font), box) for letter in letters.shown(text))


def test_the_font_of_the_system_that_lacks_the_fewest_is_taken(monkeypatch):
    has = {PILLOWS: "abc", "greek": "abcσ", "chinese": "abc剑盾", "both": "σ剑"}
    monkeypatch.setattr(module, "FONTS", ("greek", "gone", "chinese", "both"))
    monkeypatch.setattr(module, "_font", lambda name, size: None if name == "gone" else (name, size))
    monkeypatch.setattr(module, "_has", lambda name, letter: letter in has[name])
    names = {text: lettering([text], 12).name for text in ("abc", "σ", "剑盾σ", "剑σ", "", "ж")}
    assert names == {"abc": PILLOWS, "σ": "greek", "剑盾σ": "chinese", "剑σ": "both", "": PILLOWS, "ж": PILLOWS}
    assert lettering(["剑", "盾σ"], 12).shown("盾σ") == "盾\\u03c3"


def test_letters_beyond_english_are_drawn_where_the_system_has_them():
    try:
        font = ImageFont.truetype("DejaVuSans.ttf", 14)
    except OSError:
        pytest.skip("this system has no DejaVu Sans")
    letters = lettering(["σ 0.5, é"], 14)
    assert letters.name is not PILLOWS and letters.shown("σ 0.5, é") == "σ 0.5, é"
    if letters.name == "DejaVuSans.ttf":
        assert np.array_equal(ink("σ", letters.font), ink("σ", font))
