"""Views are built once for each state of the set; those of formats that are wanted no more go, if they are all ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_sets import add, contents, key

from varifold.dataset import store
from varifold.dataset.errors import DatasetError
from varifold.dataset.settings import Settings, complete
from varifold.dataset.views import upkeep

BOTH = Settings("set", store.Rules(duplicate=None, near=None), formats=("coco", "imagefolder"))
COCO = replace(BOTH, formats=("coco",))


@pytest.fixture
def opened(tmp_path):
    with store.open(tmp_path / "set", BOTH.rules) as opened:
        for number in range(9):
            add(opened, number)
        yield opened


@pytest.fixture
def built(monkeypatch) -> list[str]:
    """The formats that were built, in order."""
    formats: list[str] = []

    def noting(name, write):
        def build(*given):
            formats.append(name)
            return write(*given)

        return build

    noted = {name: noting(name, write) for name, write in upkeep.FORMATS.items()}
    monkeypatch.setattr(upkeep, "FORMATS", noted)
    return formats


def test_a_view_that_is_up_to_date_is_not_built_again(opened, built):
    first = complete(opened, BOTH)
    before = contents(opened.folder)
    assert built == ["coco", "imagefolder"]
    assert complete(opened, BOTH) == first
    assert built == ["coco", "imagefolder"] and contents(opened.folder) == before


def test_what_a_view_has_to_tell_is_told_each_time(opened):
    add(opened, 9, marks=[])
    told = complete(opened, replace(BOTH, formats=("yolo_detect",))).remarks
    assert any(told["yolo_detect"].values())
    assert complete(opened, replace(BOTH, formats=("yolo_detect",))).remarks == told


@pytest.mark.parametrize(
    "change",
    [
        lambda opened: add(opened, 9),
        lambda opened: opened.reject(key(1).id),
        lambda opened: opened.relabel(key(1).id, "another"),
        lambda opened: next((opened.folder / "views/coco").rglob("*.json")).unlink(),
        lambda opened: next((opened.folder / "views/coco").rglob("*.json")).write_text("{}"),
        lambda opened: (opened.folder / "views/coco/more").touch(),
        lambda opened: (opened.folder / upkeep.RECORD).unlink(),
        lambda opened: (opened.folder / upkeep.RECORD).write_text("[1]"),
    ],
)
def test_a_view_is_built_again_where_the_set_or_the_view_has_changed(opened, built, change):
    complete(opened, COCO)
    change(opened)
    complete(opened, COCO)
    assert built == ["coco", "coco"]
    complete(opened, COCO)
    assert built == ["coco", "coco"]


@pytest.mark.parametrize("change", [{"licence": "CC0-1.0"}, {"author": "me"}, {"name": "another"}])
def test_a_view_is_built_again_where_its_words_have_changed(opened, built, change):
    complete(opened, COCO)
    complete(opened, replace(COCO, **change))
    assert built == ["coco", "coco"]


def test_another_format_leaves_the_others_as_they_are(opened, built):
    complete(opened, COCO)
    complete(opened, BOTH)
    assert built == ["coco", "imagefolder"]


def test_the_view_of_a_format_that_is_wanted_no_more_is_removed(opened):
    complete(opened, BOTH)
    views = complete(opened, COCO)
    assert (views.removed, views.left) == (("imagefolder",), ())
    assert [path.name for path in (opened.folder / "views").iterdir()] == ["coco"]
    assert opened.broken() == []
    assert complete(opened, COCO).removed == ()
    assert complete(opened, replace(BOTH, formats=())).removed == ("coco",)


def test_a_view_with_files_that_are_not_ours_is_left_and_told_until_it_is_gone(opened):
    complete(opened, BOTH)
    theirs = opened.folder / "views/imagefolder/train/notes.txt"
    theirs.write_text("mine")
    for _ in range(2):
        views = complete(opened, COCO)
        assert (views.removed, views.left) == ((), ("imagefolder",)) and theirs.read_text() == "mine"
    theirs.unlink()
    assert complete(opened, COCO).removed == ("imagefolder",)
    assert complete(opened, COCO).left == ()


def test_folders_that_no_build_recorded_are_left_alone(opened):
    complete(opened, COCO)
    for name in ("voc", "notes", ".cache"):
        (opened.folder / "views" / name).mkdir()
        (opened.folder / "views" / name / "mine.txt").touch()
    views = complete(opened, COCO)
    assert (views.removed, views.left) == ((), ("voc",))
    assert len(list((opened.folder / "views").iterdir())) == 4


def test_what_was_built_before_a_build_failed_is_known(opened, built, monkeypatch):
    def fail(*_):
        raise DatasetError("cannot build it")

    monkeypatch.setitem(upkeep.FORMATS, "imagefolder", fail)
    with pytest.raises(DatasetError, match="cannot build it"):
        complete(opened, BOTH)
    complete(opened, COCO)
    assert built == ["coco"]


def test_a_removal_that_was_cut_off_is_finished(opened, monkeypatch):
    complete(opened, BOTH)
    monkeypatch.setattr(upkeep.shutil, "rmtree", lambda *_, **__: None)
    complete(opened, COCO)
    monkeypatch.undo()
    complete(opened, COCO)
    assert [path.name for path in (opened.folder / "views").iterdir()] == ["coco"]


def test_the_record_is_the_same_wherever_the_set_is(opened, tmp_path):
    complete(opened, BOTH)
    with store.open(tmp_path / "other", BOTH.rules) as other:
        for number in range(9):
            add(other, number)
        complete(other, BOTH)
        assert (other.folder / upkeep.RECORD).read_bytes() == (opened.folder / upkeep.RECORD).read_bytes()
