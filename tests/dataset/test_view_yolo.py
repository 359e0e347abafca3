"""YOLO's files: lines that give boxes and masks back."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from pycocotools import mask as coco_mask
from view_sets import HEIGHT, INFO, WIDTH, odd, ordinary

from varifold.dataset.views import yolo
from varifold.dataset.views.objects import read_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def lines(folder, kind, sample):
    text = (folder / "views" / kind / "labels" / sample.split / f"{sample.id}.txt").read_text()
    return [(int(line.split()[0]), np.array(line.split()[1:], float)) for line in text.splitlines()]


def test_detect_gives_the_boxes_back(tmp_path):
    samples = ordinary(tmp_path)
    assert yolo.write_detect(tmp_path, samples, INFO) == {}
    names = yaml.safe_load((tmp_path / "views/yolo_detect/data.yaml").read_text("utf-8"))["names"]
    for sample in samples:
        for (number, values), instance in zip(lines(tmp_path, "yolo_detect", sample), sample.instances, strict=True):
            centre, size = values[:2] * (WIDTH, HEIGHT), values[2:] * (WIDTH, HEIGHT)
            assert [*(centre - size / 2), *size] == pytest.approx(instance.box, abs=1e-5)
            assert names[number] == instance.label
            assert values.min() >= 0 and values.max() <= 1


def test_segment_gives_the_masks_back_with_parts_and_holes(tmp_path):
    samples = ordinary(tmp_path)
    assert yolo.write_segment(tmp_path, samples, INFO) == {}
    for sample in samples:
        for (_, values), instance in zip(lines(tmp_path, "yolo_segment", sample), sample.instances, strict=True):
            outline = values.reshape(-1, 2) * (WIDTH, HEIGHT)
            (drawn,) = coco_mask.frPyObjects([outline.ravel().tolist()], HEIGHT, WIDTH)
            mask = read_mask(tmp_path, instance.mask, sample)
            assert np.array_equal(coco_mask.decode(drawn).astype(bool), mask)
            assert [*outline.min(0), *np.ptp(outline, axis=0)] == pytest.approx(instance.box, abs=1e-5)


def test_a_picture_has_its_labels_where_readers_look(tmp_path):
    samples = odd(tmp_path)
    told = yolo.write_segment(tmp_path, samples, INFO)
    assert told["objects have no mask: their outline is their box"] == 1
    view = tmp_path / "views/yolo_segment"
    for sample in samples[:7]:
        (picture,) = (view / "images" / sample.split).glob(f"{sample.id}.*")
        assert (view / "labels" / sample.split / f"{picture.stem}.txt").is_file()
    assert (view / "labels/train" / f"{samples[0].id}.txt").read_text() == ""
    assert (view / "labels/train" / f"{samples[2].id}.txt").read_text() == (
        "2 0 0.75 0.29910714 0.75 0.29910714 1 0 1\n"
    )


def test_data_yaml_names_folders_and_odd_labels(tmp_path):
    yolo.write_detect(tmp_path, odd(tmp_path), INFO)
    data = yaml.safe_load((tmp_path / "views/yolo_detect/data.yaml").read_text("utf-8"))
    names = {0: "a?\x01<&", 1: "big", 2: "cat", 3: "dog", 4: "small"}
    folders = {split: f"images/{split}" for split in ("train", "val", "test")}
    assert data == {**folders, "names": names}


def test_without_val_pictures_data_yaml_names_others_and_says_so(tmp_path):
    samples = [each for each in ordinary(tmp_path) if each.split == "train"]
    told = yolo.write_detect(tmp_path, samples, INFO)
    assert list(told) == ["the set has no val pictures: data.yaml names those of train instead"]
    data = yaml.safe_load((tmp_path / "views/yolo_detect/data.yaml").read_text("utf-8"))
    assert data["val"] == "images/train"
    assert "test" not in data


def test_classify_has_the_labelled_pictures_in_folders(tmp_path):
    told = yolo.write_classify(tmp_path, odd(tmp_path), INFO)
    assert told["pictures were left out, for they have no label"] == 2
    view = tmp_path / "views/yolo_classify"
    found = sorted(path.relative_to(view).parts for path in view.rglob("*.*") if path.name != "labels.json")
    assert len(found) == 5
    assert {len(parts) for parts in found} == {3}
