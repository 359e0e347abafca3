"""How prompts are read with a vocabulary."""

import pytest

from varifold.models.denoising.vocabulary import UnknownWord, Vocabulary

WORDS = ("<null>", "<flip>", "hero", "robe", "boot", "elf", "knife", "torch", "grass", "armour", "eyes", "legola")
vocabulary = Vocabulary(WORDS)


def said(text: str, unknown: str = "error") -> list[str]:
    rows, _ = vocabulary.indices(text, unknown)
    return [WORDS[row] for row in rows]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hero robe", ["hero", "robe"]),
        ("  HERO,\tRobe!\n", ["hero", "robe"]),
        ("hero-robe_hero", ["hero", "robe", "hero"]),
        ("a hero with the robe", ["hero", "robe"]),
        ("hero's robe, the hero’s", ["hero", "robe", "hero"]),
        ("boots elves knives torches eye Legolas", ["boot", "elf", "knife", "torch", "eyes", "legola"]),
        ("grass grasses", ["grass", "grass"]),
        ("<FLIP> hero", ["<flip>", "hero"]),
        ("", []),
    ],
)
def test_known_words_are_found_in_any_case_and_number(text, words):
    assert said(text) == words
    assert vocabulary.indices(text)[1] == []


def test_nearest_word_replaces_an_unknown_one_and_is_reported():
    rows, notes = vocabulary.indices("armor hero")
    assert rows == [9, 2]
    assert len(notes) == 1 and "'armor'" in notes[0] and "'armour'" in notes[0]


def test_skip_drops_unknown_words_and_reports_each():
    rows, notes = vocabulary.indices("armor hero xyzzy", "skip")
    assert rows == [2]
    assert ["'armor'" in notes[0], "'xyzzy'" in notes[1], len(notes)] == [True, True, 2]


def test_error_names_the_word_and_suggests_three():
    with pytest.raises(UnknownWord, match=r"'armor': try armour or \w+ or \w+$"):
        vocabulary.indices("hero armor", "error")


@pytest.mark.parametrize("text", ["1.3", "<flop>"])
def test_numbers_and_special_words_are_never_guessed(text):
    rows, notes = vocabulary.indices(text, "nearest")
    assert rows == [] and notes


def test_no_word_cannot_be_said():
    assert vocabulary.indices("<null>", "skip")[0] == []
    assert "<flip>" not in vocabulary.nearest("flip", 20)


def test_long_prompts_are_noted():
    assert vocabulary.indices("hero " * 11)[1] == []
    rows, notes = vocabulary.indices("hero " * 12)
    assert len(rows) == 12 and "at most 11" in notes[0]


def test_unknown_policy_is_an_error():
    with pytest.raises(ValueError, match="skip, nearest, error"):
        vocabulary.indices("hero", "guess")


def test_hash_tells_vocabularies_apart():
    assert vocabulary.hash == Vocabulary(list(WORDS)).hash
    assert len({vocabulary.hash, Vocabulary(WORDS[:-1]).hash, Vocabulary(WORDS[::-1]).hash}) == 3
    assert len(vocabulary.hash) == 16


def test_a_word_like_none_is_left_out_and_that_is_said():
    vocabulary = Vocabulary(["<null>", "zot", "robe"])
    assert vocabulary.indices("герой", "nearest") == (
        [],
        ["'герой' is not known, nor any word like it, and was left out"],
    )
    assert vocabulary.indices("robbe", "nearest")[0] == [2]
