"""Views of a real store: what was added, judged and split is what readers get."""

from __future__ import annotations

import json

import pytest
from pycocotools.coco import COCO
from small_sets import add, key

from varifold.dataset import store
from varifold.dataset.views import FORMATS, Info, Streamed


@pytest.fixture
def opened(tmp_path):
    with store.open(tmp_path / "set", store.Rules(duplicate=None, near=None)) as opened:
        for number in range(30):
            assert add(opened, number).outcome == "added"
        opened.split()
        yield opened


def info(opened):
    return Info("A store's set", names=opened.names)


@pytest.mark.parametrize("format", FORMATS)
def test_views_of_a_store_can_be_deleted_and_built_anew(opened, format):
    FORMATS[format](opened.folder, Streamed(opened.samples), info(opened))
    assert opened.broken() == []


def test_what_was_rejected_is_not_shown_and_what_was_relabelled_is_so(opened):
    opened.reject(key(3).id)
    opened.relabel(key(4).id, "another", instance=0)
    samples = {each.id: each for each in opened.samples()}
    FORMATS["coco"](opened.folder, Streamed(opened.samples), info(opened))
    found = {}
    for path in (opened.folder / "views/coco/annotations").glob("instances_*.json"):
        read = COCO(str(path))
        for image in read.dataset["images"]:
            marks = read.loadAnns(read.getAnnIds(image["id"]))
            found[image["file_name"][:16]] = (
                path.stem[10:],
                [read.cats[each["category_id"]]["name"] for each in marks],
            )
    assert found == {id: (each.split, [mark.label for mark in each.instances]) for id, each in samples.items()}
    assert key(3).id not in found
    assert found[key(4).id][1] == ["another"]


def test_a_set_that_grows_keeps_its_numbers_and_the_names_of_its_folders(opened):
    def numbers():
        FORMATS["coco"](opened.folder, Streamed(opened.samples), info(opened))
        FORMATS["imagefolder"](opened.folder, Streamed(opened.samples), info(opened))
        path = next((opened.folder / "views/coco/annotations").glob("instances_train.json"))
        categories = json.loads(path.read_text("utf-8"))["categories"]
        folders = json.loads((opened.folder / "views/imagefolder/labels.json").read_text("utf-8"))
        return {each["name"]: each["id"] for each in categories}, folders

    before = numbers()
    for number in range(30, 33):
        add(opened, number, label="a first label by the alphabet", marks=[])
    for number in range(33, 36):
        add(opened, number, label=None, marks=[store.Mark("0", box=(1.0, 1.0, 4.0, 4.0))])
    opened.split()
    after = numbers()
    for old, new in zip(before, after, strict=True):
        assert old.items() <= new.items()
        assert len(new) == len(old) + 1
