"""Sets read back: what our views tell comes back as it was, others' ways are known, and what is broken is named."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import add
from view_sets import INFO, odd, ordinary, picture

from varifold.dataset import store
from varifold.dataset.errors import DatasetError
from varifold.dataset.readers import READERS, recognise
from varifold.dataset.readers.entry import Loaded
from varifold.dataset.readers.outlines import filled, mask_of
from varifold.dataset.readers.yaml import parse
from varifold.dataset.views import FORMATS
from varifold.dataset.views.info import utf8
from varifold.dataset.views.objects import objects

TELLS = {  # view -> what of a sample it keeps
    "imagefolder": {"label", "caption", "boxes"},
    "coco": {"caption", "boxes", "masks", "scores"},
    "yolo_detect": {"boxes"},
    "yolo_segment": {"masks"},
    "yolo_classify": {"label"},
    "webdataset": {"label", "caption", "boxes", "masks", "scores"},
}


def written(text: str | None) -> str | None:
    return None if text is None else utf8(text).decode()


def read(folder: Path) -> dict[str, tuple[str, Loaded]]:
    """Id -> split and what was loaded."""
    found = READERS[recognise(folder)](folder)
    read = {re.search(r"([0-9a-f]{16})(\.\w+)?$", entry.where)[1]: (entry.split, entry.load()) for entry in found}
    assert len(read) == len(found)
    return read


@pytest.mark.parametrize("make", [ordinary, odd])
@pytest.mark.parametrize("name", TELLS)
def test_what_a_view_tells_comes_back(tmp_path, name, make):
    samples, tells = make(tmp_path), TELLS[name]
    FORMATS[name](tmp_path, samples, INFO)
    found = read(tmp_path / "views" / name)
    left_out = {sample.id for sample in samples if not sample.split or (tells == {"label"} and sample.label is None)}
    assert found.keys() == {sample.id for sample in samples} - left_out
    for sample in samples:
        if sample.id in left_out:
            continue
        split, loaded = found[sample.id]
        assert split == sample.split
        np.testing.assert_array_equal(loaded.picture, np.asarray(Image.open(tmp_path / sample.image)))
        assert loaded.label == (written(sample.label) if "label" in tells else None)
        assert loaded.caption == (written(sample.caption) if "caption" in tells else None)
        seen = list(objects(tmp_path, sample, Counter())) if tells & {"boxes", "masks"} else []
        assert [mark.label for mark in loaded.marks] == [written(each.label) for each in seen]
        for mark, each in zip(loaded.marks, seen, strict=True):
            if "masks" not in tells or ("scores" in tells and each.mask is None):
                assert mark.mask is None
            elif each.mask is not None:
                np.testing.assert_array_equal(mark.mask, each.mask)
            if "boxes" in tells:
                assert mark.box == pytest.approx(each.box, abs=1e-5 if "yolo" in name else 0)
            if "scores" in tells:
                assert (mark.score, mark.visibility) == (each.instance.score, each.instance.visibility)


def test_a_set_of_our_own_comes_back_without_what_was_rejected(tmp_path):
    with store.open(tmp_path) as opened:
        for number in range(6):
            add(opened, number, caption=f"№ {number}")
        gone = next(opened.samples()).id
        opened.reject(gone)
        opened.split()
        samples = list(opened.samples())
    entries = READERS[recognise(tmp_path)](tmp_path)
    assert len(entries) == 5
    for sample, entry in zip(samples, entries, strict=True):
        loaded = entry.load()
        assert entry.split == sample.split != ""
        assert (loaded.label, loaded.caption) == (sample.label, sample.caption)
        np.testing.assert_array_equal(loaded.picture, np.asarray(Image.open(tmp_path / sample.image)))
        (mark,), (instance,) = loaded.marks, sample.instances
        assert (mark.label, mark.box) == (instance.label, instance.box)
        np.testing.assert_array_equal(mark.mask, np.asarray(Image.open(tmp_path / instance.mask)) > 127)
    (tmp_path / samples[0].image).write_bytes(b"other")
    with pytest.raises(DatasetError, match="is not what was written"):
        entries[0].load()


def put(path: Path, content: str | bytes | None = None) -> Path:
    """A file with this content, or with a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        Image.fromarray(picture(1)).save(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_folders_of_classes_are_read_with_splits_and_without(tmp_path):
    put(tmp_path / "plain" / "cat" / "deep" / "1.png")
    put(tmp_path / "plain" / "testing" / "2.png")
    found = READERS["imagefolder"](tmp_path / "plain")
    assert [(each.split, each.load().label) for each in found] == [("", "cat"), ("", "testing")]
    for split in ("train", "validation", "test"):
        put(tmp_path / "split" / split / "cat" / "1.jpg")
    found = READERS["imagefolder"](tmp_path / "split")
    assert sorted(each.split for each in found) == ["test", "train", "val"]


def test_one_metadata_file_may_list_all_splits(tmp_path):
    rows = [{"file_name": "train/a.png", "text": "one"}, {"file_name": "dev/cat/b.png"}]
    for row in rows:
        put(tmp_path / row["file_name"])
    put(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = READERS["imagefolder"](tmp_path)
    assert (first.split, first.load().label, first.load().caption) == ("train", None, "one")
    assert (second.split, second.load().label) == ("val", "cat")


COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 56, "height": 40}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": []}],
}


@pytest.mark.parametrize(
    ("file", "image", "split"),
    [
        ("annotations/instances_val2017.json", "val2017/a.png", "val"),
        ("annotations/instances_train.json", "images/train/a.png", "train"),
        ("annotations/instances_default.json", "images/a.png", ""),
        ("valid/_annotations.coco.json", "valid/a.png", "val"),
        ("instances.json", "a.png", ""),
    ],
)
def test_coco_is_found_where_tools_put_it(tmp_path, file, image, split):
    put(tmp_path / file, json.dumps(COCO))
    put(tmp_path / image)
    assert recognise(tmp_path) == "coco"
    (entry,) = READERS["coco"](tmp_path)
    (mark,) = entry.load().marks
    assert (entry.split, mark.label, mark.box, mark.mask) == (split, "cat", (1, 2, 3, 4), None)


YAMLS = {
    "train: ../train/images\nval: ../valid/images # here\nnc: 2\nnames: ['it''s', dog]\nroboflow:\n  url: x\n": "it's",
    "path: /data/set\ntrain: train/images\nval: valid/images\nnames:\n- cat\n- dog\n": "cat",
    "train: train/images\nval: valid/images\n\n# classes\nnames:\n  0: big cat\n  1: 'dog: small'\n": "big cat",
    'train: train/images\nval: valid/images\nnames: {0: "a, \\u00e9", 1: dog}\n': "a, é",
}


@pytest.mark.parametrize(("text", "label"), YAMLS.items())
def test_yolo_is_read_as_tools_write_it(tmp_path, text, label):
    put(tmp_path / "data.yaml", text)
    put(tmp_path / "train/images/a.png")
    put(tmp_path / "valid/images/b.png")
    put(tmp_path / "train/labels/a.txt", "0 0.5 0.5 0.25 0.5\n\n0 0.5 0.5 0.25 0.5 0.75\n")
    train, val = READERS["yolo"](tmp_path)
    assert (train.split, val.split, val.load().marks) == ("train", "val", ())
    marks = train.load().marks
    assert [(mark.label, mark.score) for mark in marks] == [(label, None), (label, 0.75)]
    assert marks[0].box == (21, 10, 14, 20)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_folder_of_yolo_that_stands_for_another_split_is_read_once(tmp_path, split):
    samples = [sample for sample in ordinary(tmp_path) if sample.split == split]
    FORMATS["yolo_detect"](tmp_path, samples, INFO)
    assert "val: images/" in (tmp_path / "views/yolo_detect/data.yaml").read_text()
    found = READERS["yolo"](tmp_path / "views/yolo_detect")
    assert [entry.split for entry in found] == [split] * len(samples)


def test_names_of_yolo_keep_their_numbers():
    assert parse("names:\n  5: a\n  2: b\n", "here").names == {5: "a", 2: "b"}
    assert parse("names: [a b, c]\n", "here").names == {0: "a b", 1: "c"}
    assert parse("names: {}\n", "here").names == {}


def tar(path: Path, **members: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def test_a_tar_of_others_is_read(tmp_path):
    png = put(tmp_path / "a.png").read_bytes()
    tar(tmp_path / "set" / "val-0001.tar", a_PNG=png, a_cls=b"12\n", a_txt="鳥".encode(), b_json=b"{}", c_jpg=b"broken")
    good, bad = READERS["webdataset"](tmp_path / "set")
    assert (good.split, good.load().label, good.load().caption) == ("val", "12", "鳥")
    with pytest.raises(DatasetError, match=r"val-0001\.tar, c\.jpg is no picture"):
        bad.load()


def brute(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    inside = np.zeros((height, width), bool)
    for y, x in np.ndindex(height, width):
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if (ay <= y + 0.5) != (by <= y + 0.5) and ax + (y + 0.5 - ay) / (by - ay) * (bx - ax) <= x + 0.5:
                inside[y, x] ^= True
    return inside


@pytest.mark.parametrize("seed", range(8))
def test_an_outline_is_filled_by_the_centres_of_pixels(seed):
    corners = np.random.default_rng(seed).uniform(-6, 26, (3 + seed, 2))
    np.testing.assert_array_equal(filled(corners, 17, 21), brute(corners, 17, 21))


def test_polygons_of_one_mask_may_overlap():
    left, right = [0, 0, 3, 0, 3, 2, 0, 2], [1, 0, 4, 0, 4, 2, 1, 2]
    np.testing.assert_array_equal(mask_of([left, right], 2, 5, "here"), [[True] * 4 + [False]] * 2)


def test_runs_are_taken_compressed_or_not():
    plain = mask_of({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3, "here")
    np.testing.assert_array_equal(plain, [[False, True, False], [True, False, False]])
    assert not filled(np.array([[1e300, -1e300], [1e300, 1e300], [2e300, 0]]), 4, 4).any()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3]], "three corners"),
        ([[1, 2, 3, 4, 5, "x"]], "three corners"),
        ("text", "three corners"),
        ({"size": [9, 9], "counts": [81]}, "of size"),
        ({"size": [2, 3], "counts": [7]}, "must fill"),
        ({"size": [2, 3], "counts": "\x00"}, "not a compressed mask"),
        ({"size": [2, 3], "counts": [10**30]}, "here"),
        ({"size": [2, 3]}, "should be text or whole numbers"),
    ],
)
def test_a_broken_mask_is_named(segmentation, message):
    with pytest.raises(DatasetError, match=f"here.*{message}|{message}"):
        mask_of(segmentation, 2, 3, "here")


def coco(**more: object) -> str:
    return json.dumps({**COCO, **more})


def row(**more: object) -> str:
    return "\n" + json.dumps({"file_name": "a.png", **more})


NAMED = "names: [cat]\ntrain: images/a\n"
INSTANCES = "annotations/instances_train.json"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it is no set that can be read"),
        ({"metadata.jsonl": "\n{"}, "metadata.jsonl, line 2 is no JSON"),
        ({"metadata.jsonl": "[]"}, "metadata.jsonl, line 1 should be an object"),
        ({"metadata.jsonl": row(file_name="../a.png")}, r"metadata.jsonl, line 2: '../a.png' is no file inside"),
        ({"metadata.jsonl": row(file_name=3)}, "metadata.jsonl, line 2: 3 is no file inside"),
        ({"metadata.jsonl": row()}, "metadata.jsonl, line 2: there is no picture"),
        ({"metadata.jsonl": row(label=[]), "a.png": None}, "line 2: label should be text"),
        ({"metadata.jsonl": row(objects={"bbox": [[1]], "categories": []}), "a.png": None}, "as many of one"),
        ({"metadata.jsonl": row(objects={"bbox": [[1]], "categories": [1]}), "a.png": None}, "line 2: bbox should"),
        ({"metadata.jsonl": b"\xff"}, "metadata.jsonl is not written in UTF-8"),
        ({"cat/a.png": b"no picture"}, "a.png is no picture that can be read"),
        ({INSTANCES: "{"}, "instances_train.json is no JSON"),
        ({INSTANCES: coco()}, "image 1: there is no picture 'a.png'"),
        ({INSTANCES: coco(categories=[]), "train/a.png": None}, "annotation 1: there is no category 3"),
        ({INSTANCES: coco(images=[]), "train/a.png": None}, "annotation 1: there is no image 7"),
        ({INSTANCES: coco(images=[{"id": []}])}, "number 1 of images should be an object"),
        ({INSTANCES: coco(images=[3])}, "number 1 of images should be an object"),
        ({INSTANCES: coco(images={}), "train/a.png": None}, "images should be a list"),
        ({INSTANCES: coco(images=[{"id": 7, "file_name": "/etc/passwd"}])}, "is no file inside"),
        ({INSTANCES: coco(images=[{"id": 7, "file_name": "../../a.png"}])}, "is no file inside"),
        ({"data.yaml": "names: [cat\ntrain: a\n"}, "data.yaml, line 1: names should end on their line"),
        ({"data.yaml": "names: [cat]\nnonsense\n"}, "data.yaml, line 2 should be a key"),
        ({"data.yaml": "names:\n  cat: 0\n"}, "data.yaml, line 2 should be a number"),
        ({"data.yaml": "train:\n  - a\n  - b\n"}, "data.yaml, line 2: train should be one folder"),
        ({"data.yaml": 'names: ["cat]\n'}, "line 1: .* is no name of a class"),
        ({"data.yaml": "train: ../../out\n"}, "train: '../out' is no file inside"),
        ({"data.yaml": "train: /etc\n"}, "train: '/etc' is no file inside"),
        ({"data.yaml": NAMED}, "train names images/a, where no pictures are"),
        ({"data.yaml": NAMED, "images/a/1.png": None, "labels/a/1.txt": "0 1 1 1 1\n1 1 1 1 1"}, "1.txt, line 2: .*1"),
        ({"data.yaml": NAMED, "images/a/1.png": None, "labels/a/1.txt": "0 1 nan 1 1"}, "1.txt, line 1 should be"),
        ({"data.yaml": NAMED, "images/a/1.png": None, "labels/a/1.txt": "0 1 1 1 1 1 1 1"}, "1.txt, line 1 should be"),
        ({"data.yaml": NAMED, "images/a/1.png": None, "labels/a/1.txt": "0 1 1 -1 1"}, "line 1: its box has a neg"),
        ({"a.tar": b"x" * 2000}, "a.tar is no tar file"),
    ],
)
def test_what_is_broken_is_named_with_its_file_and_line(tmp_path, files, message):
    for name, content in files.items():
        put(tmp_path / name, content)
    with pytest.raises(DatasetError, match=message):
        for entry in READERS[recognise(tmp_path)](tmp_path):
            entry.load()


def test_no_link_leads_out_of_the_folder(tmp_path):
    secret = put(tmp_path / "secret" / "a.png")
    inside = tmp_path / "set" / "cat" / "a.png"
    inside.parent.mkdir(parents=True)
    inside.symlink_to(secret)
    with pytest.raises(DatasetError, match="is no file inside"):
        READERS["imagefolder"](tmp_path / "set")
