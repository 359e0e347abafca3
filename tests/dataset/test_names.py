"""File names for labels: safe, each its own, and the same whatever came first."""

from __future__ import annotations

import random

import pytest

from varifold.dataset.names import file_names

ODD = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    " ",
    "/",
    "\\",
    "C:\\x",
    "con",
    "NUL",
    "Com1",
    "lpt¹",
    "aux.txt",
    "a.b",
    "a b",
    "a_b",
    "trailing.",
    "trailing ",
    "-",
    "__",
    "🐉",
    "🐲",
    "龙",
    "é",
    "e\u0301",
    "ﬁ",
    "fi",
    "Cat",
    "cat",
    "CAT",
    "ß",
    "ss",
    "x" * 300,
    "x" * 301,
    "龙" * 300,
    "nul\0l",
    "new\nline",
    "\ud800",
    "\u202egnp",
    "*?<>|\"'",
    "hero",
    "label",
    "İ",
    "i̇",
]


def test_names_are_safe_for_every_system_and_each_its_own(tmp_path):
    names = file_names(ODD)
    assert set(names) == set(ODD)
    folded = {name.casefold() for name in names.values()}
    assert len(folded) == len(ODD)
    for name in names.values():
        assert all(letter.isalnum() or letter in "-_" for letter in name)
        assert 0 < len(name.encode()) <= 240
        (tmp_path / name).mkdir()
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    reserved = {"con", "nul", "com1", "lpt¹", "aux"}
    assert not reserved & folded


@pytest.mark.parametrize("label", ["hero", "Stone-Tile_2", "龙", "é", "x" * 48])
def test_a_label_that_is_a_safe_name_keeps_it(label):
    assert file_names([label]) == {label: label}


def test_order_does_not_matter():
    expected = file_names(ODD)
    for seed in range(20):
        assert file_names(random.Random(seed).sample(ODD, len(ODD))) == expected


def test_names_that_are_known_stay():
    known = file_names(["a b", "cat"])
    later = file_names(["Cat", "a_b", "a/b", known["a b"]], known)
    assert {label: later[label] for label in known} == known
    assert len({name.casefold() for name in later.values()}) == len(later)
    assert later["Cat"].startswith("Cat-")


def test_a_label_that_looks_like_the_name_of_another_gets_its_own():
    taken = file_names(["a/b"])["a/b"]
    names = file_names(["a/b", taken])
    assert names[taken] == taken and names["a/b"] != taken
    names = file_names([taken], {"a/b": taken})
    assert names["a/b"] == taken and names[taken] != taken
