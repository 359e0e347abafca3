"""COCO as pycocotools reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from view_sets import INFO, contents, odd, ordinary

from varifold.dataset.views import coco
from varifold.dataset.views.objects import read_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def built(tmp_path):
    samples = ordinary(tmp_path)
    coco.write(tmp_path, samples, INFO)
    return tmp_path, samples


def read(folder, name):
    return COCO(str(folder / "views/coco/annotations" / f"{name}.json"))


def test_masks_boxes_and_areas_are_those_of_the_set(built):
    folder, samples = built
    seen = polygons = 0
    for split in ("train", "val", "test"):
        file = read(folder, f"instances_{split}")
        assert {image["file_name"] for image in file.dataset["images"]} == {
            path.name for path in (folder / "views/coco" / split).iterdir()
        }
        for image in file.dataset["images"]:
            (sample,) = (each for each in samples if each.id == image["file_name"].split(".")[0])
            assert (image["width"], image["height"]) == (sample.width, sample.height)
            annotations = file.loadAnns(file.getAnnIds(image["id"]))
            for about, instance in zip(annotations, sample.instances, strict=True):
                mask = read_mask(folder, instance.mask, sample)
                assert np.array_equal(file.annToMask(about).astype(bool), mask)
                assert about["area"] == mask.sum()
                assert about["bbox"] == list(instance.box)
                assert about["iscrowd"] == 0
                assert file.cats[about["category_id"]]["name"] == instance.label
                seen, polygons = seen + 1, polygons + isinstance(about["segmentation"], list)
    assert seen == sum(len(sample.instances) for sample in samples)
    assert 0 < polygons < seen


def test_the_set_evaluated_against_itself_is_perfect(built):
    folder, _ = built
    file = read(folder, "instances_train")
    keys = ("image_id", "category_id", "segmentation", "bbox")
    results = [{**{key: about[key] for key in keys}, "score": 1.0} for about in file.dataset["annotations"]]
    for about in results:
        if isinstance(about["segmentation"], list):
            about["segmentation"] = file.annToRLE(about)
    for kind in ("segm", "bbox"):
        evaluation = COCOeval(file, file.loadRes(json.loads(json.dumps(results, default=bytes.decode))), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)


def test_ids_are_unique_from_1_through_all_splits(built):
    folder, samples = built
    files = [read(folder, f"instances_{split}").dataset for split in ("train", "val", "test")]
    for name, count in (("images", len(samples)), ("annotations", sum(len(each.instances) for each in samples))):
        assert sorted(entry["id"] for file in files for entry in file[name]) == list(range(1, count + 1))
    assert [category["id"] for category in files[0]["categories"]] == [1, 2]
    assert all(file["categories"] == files[0]["categories"] for file in files)


def test_captions_are_a_file_of_their_own(built):
    folder, samples = built
    found = {}
    for split in ("train", "val", "test"):
        file = read(folder, f"captions_{split}")
        for about in file.dataset["annotations"]:
            found[file.imgs[about["image_id"]]["file_name"][:16]] = about["caption"]
    assert found == {sample.id: sample.caption for sample in samples}


def test_a_set_that_grows_keeps_its_numbers(built):
    folder, samples = built
    first = read(folder, "instances_train").dataset
    more = ordinary(folder, 16)
    names = {"dog/wolf": "dog_wolf", "cat": "cat"}
    coco.write(folder, samples, INFO.__class__(**{**INFO.__dict__, "names": names}))
    assert [each["name"] for each in read(folder, "instances_train").dataset["categories"]] == list(names)
    coco.write(folder, more, INFO)
    grown = read(folder, "instances_train").dataset
    for name in ("images", "annotations"):
        assert grown[name][: len(first[name])] == first[name]


def test_what_is_odd(tmp_path):
    samples = odd(tmp_path)
    coco.write(tmp_path, samples, INFO)
    train = read(tmp_path, "instances_train")
    (about,) = train.dataset["annotations"]
    assert about["bbox"] == [0, 30, 16.75, 10]
    assert about["segmentation"] == []
    assert about["area"] == 167.5
    val = read(tmp_path, "instances_val")
    assert len(val.dataset["annotations"]) == 3
    for entry in val.dataset["annotations"]:
        assert train.cats[entry["category_id"]]["name"] in ("big", "small")
        assert val.annToMask(entry).sum() == entry["area"]
    assert [each["caption"] for each in read(tmp_path, "captions_val").dataset["annotations"]] == [""]
    (text,) = (each["caption"] for each in read(tmp_path, "captions_train").dataset["annotations"])
    assert text == "a ? half and a \x00 \x0b\x1b control"
    licences = {each["id"]: each["name"] for each in val.dataset["licenses"]}
    assert licences[val.dataset["images"][0]["license"]] == "CC0-1.0"


def test_files_have_a_line_an_entry_and_no_date_of_today(built):
    folder, _ = built
    for path, content in contents(folder / "views/coco/annotations").items():
        assert path.endswith(".json")
        assert json.loads(content)["info"]["date_created"] == "2026/01/02"
        assert content.count(b"\n") > 6
