"""Looking through a set: its pages, and other labels for what is in it."""

from __future__ import annotations

import pytest
from small_sets import add, key, mask

from varifold.dataset import store
from varifold.dataset.errors import DatasetError
from varifold.dataset.marks import Mark
from varifold.dataset.review import checked_label, page, pages, rename
from varifold.dataset.settings import Settings, complete, outdated_views


@pytest.fixture
def opened(tmp_path):
    with store.open(tmp_path / "set") as opened:
        yield opened


def test_pages_show_all_samples_once_the_newest_first(opened):
    for number in range(7):
        add(opened, number)
    opened.reject(key(5).id, "a whim")
    assert pages(opened, 3) == 3
    shown = [page(opened, number, 3)[1] for number in range(3)]
    assert [len(each) for each in shown] == [3, 3, 1]
    found = [(sample.id, reason) for each in shown for sample, reason in each]
    assert found == [(key(n).id, "a whim" if n == 5 else None) for n in range(6, -1, -1)]
    assert page(opened, 99, 3) == page(opened, 2, 3) and page(opened, -1, 3) == page(opened, 0, 3)


def test_an_empty_set_has_a_page_of_nothing(opened):
    assert (pages(opened, 3), page(opened, 0, 3)) == (1, (0, []))


def test_a_label_is_changed_wherever_the_sample_has_it_and_nowhere_else(opened):
    marks = [Mark("hero", mask(1)), Mark("tile", mask(2)), Mark("hero", mask(3))]
    add(opened, 1, label="hero", marks=marks)
    add(opened, 2, label="hero")
    rename(opened, key(1).id, "hero", " king ")
    rename(opened, key(1).id, "tile", "floor")
    sample = opened.sample(key(1).id)
    assert (sample.label, [each.label for each in sample.instances]) == ("king", ["king", "floor", "king"])
    assert opened.sample(key(2).id).label == "hero"
    with pytest.raises(DatasetError, match=r"nothing in sample \w+ is labelled 'hero' any more"):
        rename(opened, key(1).id, "hero", "queen")
    opened.close()
    with store.open(opened.folder) as later:
        assert later.sample(key(1).id) == sample and later.counts["king"] == 1


@pytest.mark.parametrize("label", ["hero", "a/b.c", "🐉 dragon", "👩‍🚀", "x" * 1000, "con", "剑"])
def test_labels_are_any_line_of_text(label):
    assert checked_label(f"  {label}\n") == label


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("", "needs a letter"),
        (" \t\n", "needs a letter"),
        ("two\nlines", r"cannot have '\\n' in it"),
        ("a\0b", r"cannot have '\\x00' in it"),
        ("half \ud800", r"cannot have '\\ud800' in it"),
        ("x" * 1001, "at most 1000 characters, and this one has 1001"),
    ],
)
def test_what_is_no_label_is_told(label, words):
    with pytest.raises(DatasetError, match=words):
        checked_label(label)


def test_views_are_out_of_date_from_a_judgement_to_the_next_build(opened):
    settings = Settings("set", formats=("imagefolder", "coco"))
    for number in range(4):
        add(opened, number)
    assert outdated_views(opened, settings) == [], "nothing is built yet"
    complete(opened, settings)
    assert outdated_views(opened, settings) == []
    for judge in (lambda: opened.reject(key(1).id), lambda: opened.relabel(key(2).id, "king")):
        judge()
        assert outdated_views(opened, settings) == ["imagefolder", "coco"]
        complete(opened, settings)
        assert outdated_views(opened, settings) == []
