"""Load Dataset: chunks of a set as lists, from the host's folders alone, and back into Export Dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import add
from view_sets import INFO, ordinary, picture

from varifold.dataset import store
from varifold.dataset.marks import Mark
from varifold.dataset.readers import READERS
from varifold.dataset.views import FORMATS
from varifold.nodes.load_dataset import VarifoldLoadDataset
from varifold.studio import folders


@pytest.fixture(autouse=True)
def output(tmp_path) -> Path:
    folders.use(folders.Folders((tmp_path / "input", tmp_path / "more"), tmp_path / "output", tmp_path / "temp"))
    yield tmp_path / "output"
    folders.use(None)


@pytest.fixture
def coco(output) -> str:
    FORMATS["coco"](output / "set", ordinary(output / "set"), INFO)
    return "set/views/coco"


def test_chunk_after_chunk_is_the_whole_set(call, coco):
    whole = call("LoadDataset", folder=coco, split="train")
    assert [len(output) for output in whole[:5]] == [6] * 5
    parts = [call("LoadDataset", folder=coco, split="train", start=start, count=4) for start in (0, 4)]
    assert [len(part[0]) for part in parts] == [4, 2]
    for output, (first, second) in zip(whole[:5], zip(*(part[:5] for part in parts), strict=True), strict=True):
        assert str(output) == str([*first, *second])
    assert "coco: 12 pictures, test 3, train 6, val 3" in parts[1][5]
    assert "read: 2 of 6, numbers 4 to 5, with 4 objects, 4 masked" in parts[1][5]


def test_each_picture_has_a_mask_a_box(call, coco, output):
    images, masks, boxes, labels, captions, _ = call("LoadDataset", folder=coco, split="val")
    assert images[0].shape == (1, 40, 56, 3) and images[0].dtype == torch.float32
    np.testing.assert_array_equal((images[0][0].numpy() * 255).round(), picture(2))
    assert [len(mask) for mask in masks] == [len(own) for own in boxes] == [3, 1, 2]
    assert boxes[0][0].keys() == {"x", "y", "width", "height", "label", "visibility"}
    for mask, own in zip(masks, boxes, strict=True):
        for each, box in zip(mask, own, strict=True):
            y, x = np.nonzero(each.numpy())
            assert (box["x"], box["y"], box["width"]) == (x.min(), y.min(), np.ptp(x) + 1)
    assert labels == [""] * 3 and captions[0].startswith("№ 2")


def test_pictures_of_different_sizes_and_without_anything_are_a_list(call, tmp_path):
    for number, size in enumerate([(8, 6), (5, 9)]):
        path = tmp_path / "more" / "mine" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", size).save(path)
    images, masks, boxes, labels, captions, _ = call("LoadDataset", folder="mine")
    assert [tuple(image.shape) for image in images] == [(1, 6, 8, 4), (1, 9, 5, 4)]
    assert [tuple(mask.shape) for mask in masks] == [(0, 6, 8), (0, 9, 5)]
    assert (boxes, labels, captions) == ([[], []], ["cat"] * 2, [""] * 2)


def test_objects_of_which_some_have_a_mask(call, output):
    with store.open(output / "set") as opened:
        mask = np.zeros((24, 24), bool)
        mask[2:9, 3:8] = True
        add(opened, 0, marks=[Mark("a", mask), Mark("b", box=(-2.0, 20.0, 6.5, 9.0))])
        add(opened, 1, marks=[Mark("b", box=(1.5, 2.0, 3.0, 4.0))])
    _, masks, boxes, _, _, report = call("LoadDataset", folder="set")
    np.testing.assert_array_equal(masks[0][0], mask)
    assert masks[0][1].sum() == 16 and masks[0][1][20:, :4].all()
    assert masks[1].shape == (1, 64, 64) and not masks[1].any()
    assert boxes[1] == [{"x": 1.5, "y": 2, "width": 3, "height": 4, "label": "b"}]
    assert "without a split 2" in report and "got their box for it: 1" in report


@pytest.mark.parametrize("name", ["coco", "webdataset", "yolo_segment"])
def test_what_is_loaded_can_be_exported(call, output, name):
    FORMATS[name](output / "set", ordinary(output / "set"), INFO)
    images, masks, boxes, labels, captions, _ = call("LoadDataset", folder=f"set/views/{name}", split="test")
    given = {"images": images, "masks": masks, "boxes": boxes, "labels": labels, "captions": captions}
    widgets = {"folder": "copy", "masks_are": "objects", "formats": "", "splits": "train: 1", "quotas": ""}
    widgets |= {"filters": "", "picture_files": "png", "with_workflow": False, "licence": "", "author": ""}
    call("ExportDataset", **given, **{key: [value] for key, value in widgets.items()})
    copied = call("LoadDataset", folder="copy")
    assert all(map(torch.equal, copied[0], images)) and all(map(torch.equal, copied[1], masks))
    assert copied[2:5] == (boxes, labels, captions)


@pytest.mark.parametrize("folder", ["../out", "", "/etc", "a/../b", "C:\\set", "a. /b"])
def test_no_name_leads_out_of_the_hosts_folders(call, folder):
    with pytest.raises(ValueError, match="is no name for a folder inside"):
        call("LoadDataset", folder=folder)


def test_no_link_leads_out_of_the_hosts_folders(call, output, tmp_path):
    output.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (output / "set").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of"):
        call("LoadDataset", folder="set")


def test_what_is_not_there_is_named(call, coco):
    with pytest.raises(ValueError, match=r"there is no folder 'other' in .*output or .*input or .*more"):
        call("LoadDataset", folder="other")
    with pytest.raises(ValueError, match="has 3 pictures in val as coco, and none of number 3"):
        call("LoadDataset", folder=coco, split="val", start=3)
    with pytest.raises(ValueError, match="no set of YOLO's"):
        call("LoadDataset", folder=coco, format="yolo")


def test_a_set_is_read_once_for_all_its_chunks_until_a_file_changes(call, coco, output, monkeypatch):
    read = []
    reader = READERS["coco"]
    monkeypatch.setitem(READERS, "coco", lambda folder: read.append(folder) or reader(folder))
    for start in (0, 2, 4):
        call("LoadDataset", folder=coco, split="train", start=start, count=2)
    assert read == [output / coco]
    path = output / coco / "annotations" / "instances_train.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {"categories": [each | {"name": "other"} for each in table["categories"]]}))
    boxes = call("LoadDataset", folder=coco, split="train")[2]
    assert read == [output / coco] * 2 and {box["label"] for own in boxes for box in own} == {"other"}


def test_the_node_runs_again_when_the_set_changes(coco, output):
    before = VarifoldLoadDataset.IS_CHANGED(coco)
    assert before == VarifoldLoadDataset.IS_CHANGED(coco) != ""
    (output / coco / "train" / "more.txt").write_text("more")
    assert VarifoldLoadDataset.IS_CHANGED(coco) != before
    assert VarifoldLoadDataset.IS_CHANGED(None) == VarifoldLoadDataset.IS_CHANGED("other") == ""
