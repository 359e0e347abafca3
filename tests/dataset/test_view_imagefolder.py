"""ImageFolder: folders of labels, and metadata whose columns have one type in every split."""

from __future__ import annotations

import json
from dataclasses import replace

from view_sets import INFO, LABELS, odd, ordinary

from varifold.dataset.views import imagefolder


def rows(folder, split):
    lines = (folder / "views/imagefolder" / split / "metadata.jsonl").read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line]


def test_metadata_tells_all_that_the_set_knows(tmp_path):
    samples = ordinary(tmp_path)
    assert "column is empty" not in "".join(imagefolder.write(tmp_path, samples, INFO))
    for split in ("train", "val", "test"):
        found = rows(tmp_path, split)
        expected = [each for each in samples if each.split == split]
        for row, sample in zip(found, expected, strict=True):
            file = tmp_path / "views/imagefolder" / split / row["file_name"]
            assert file.read_bytes() == (tmp_path / sample.image).read_bytes()
            assert (row["id"], row["label"], row["caption"]) == (sample.id, sample.label, sample.caption)
            assert row["objects"]["bbox"] == [list(each.box) for each in sample.instances]
            assert row["objects"]["categories"] == [each.label for each in sample.instances]


def test_numbers_are_written_so_that_every_split_has_one_type(tmp_path):
    imagefolder.write(tmp_path, ordinary(tmp_path), INFO)
    assert b'"bbox": [[8.0, 5.0, 22.0, 15.0]' in (tmp_path / "views/imagefolder/train/metadata.jsonl").read_bytes()


def test_folders_are_those_of_labels_and_labels_json_tells_which(tmp_path):
    samples = ordinary(tmp_path)
    imagefolder.write(tmp_path, samples, replace(INFO, names={"cat": "the_cat", "dog/wolf": "../no"}))
    names = json.loads((tmp_path / "views/imagefolder/labels.json").read_text("utf-8"))
    assert sorted(names.values()) == sorted(LABELS)
    assert names["the_cat"] == "cat"
    for split in ("train", "val", "test"):
        for row in rows(tmp_path, split):
            name, _, file = row["file_name"].partition("/")
            assert names[name] == row["label"]
            assert "/" not in file


def test_pictures_without_a_label_are_in_no_folder(tmp_path):
    told = imagefolder.write(tmp_path, odd(tmp_path), INFO)
    assert rows(tmp_path, "train")[0]["file_name"] == f"{0:016x}.png"
    assert told["pictures have no label: they lie in no class's folder"] == 2


def test_a_column_that_a_split_lacks_is_told(tmp_path):
    samples = [replace(each, caption=None) if each.split == "val" else each for each in ordinary(tmp_path)]
    told = imagefolder.write(tmp_path, samples, INFO)
    assert [remark for remark in told if remark.startswith("column is empty in val, caption")]
    assert rows(tmp_path, "val")[0]["caption"] is None


def test_a_class_that_a_split_lacks_is_told(tmp_path):
    samples = ordinary(tmp_path)
    assert not [remark for remark in imagefolder.write(tmp_path, samples, INFO) if "classes" in remark]
    kept = [each for each in samples if each.split != "val" or each.label != "cat"]
    told = imagefolder.write(tmp_path, kept, INFO)
    assert [count for remark, count in told.items() if remark.startswith("classes have no picture in val")] == [1]


def test_a_line_is_a_line_to_every_reader(tmp_path):
    samples = ordinary(tmp_path)
    imagefolder.write(tmp_path, samples, INFO)
    text = (tmp_path / "views/imagefolder/train/metadata.jsonl").read_text("utf-8")
    assert len(text.splitlines()) == sum(each.split == "train" for each in samples)
