"""Views as those read them for whom they are made: datasets, mlcroissant, torchvision, Ultralytics and TensorFlow.

Each is asked in a process of its own, from another folder, so that nothing here shadows it. The interpreters that have
them are listed in $VARIFOLD_READERS, apart like folders of $PATH; without it, this one is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from view_sets import HEIGHT, INFO, LABELS, WIDTH, ordinary

from varifold.dataset.views import FORMATS
from varifold.dataset.views.objects import read_mask

pytestmark = pytest.mark.heavy
READERS = Path(__file__).parent / "readers"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    samples = ordinary(folder)
    for write in FORMATS.values():
        write(folder, samples, INFO)
    return folder, samples


@pytest.fixture
def ask(made, require, tmp_path):
    def run(package: str) -> dict:
        pythons = os.environ.get("VARIFOLD_READERS", sys.executable).split(os.pathsep)
        known = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
        has = [each for each in pythons if subprocess.run([each, "-c", known], cwd=tmp_path).returncode == 0]
        require(package, has, f"pip install {package}, where $VARIFOLD_READERS finds it")
        command = [has[0], READERS / f"{package}_reader.py", made[0] / "views"]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **OFFLINE}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def of(samples, split):
    return [each for each in samples if each.split == split]


def pixels(folder, sample):
    with Image.open(folder / sample.image) as image:
        return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def test_datasets(made, ask):
    folder, samples = made
    found = ask("datasets")
    for splits in found.values():
        assert sorted(splits) == ["test", "train", "validation"]
        for split, rows in splits.items():
            for row, sample in zip(rows, of(samples, split.replace("validation", "val")), strict=True):
                assert row == {
                    "id": sample.id,
                    "pixels": pixels(folder, sample),
                    "caption": sample.caption,
                    "label": sample.label,
                    "boxes": [list(each.box) for each in sample.instances],
                    "categories": [each.label for each in sample.instances],
                }


def test_mlcroissant(made, ask):
    folder, samples = made
    found = ask("mlcroissant")
    assert (found["errors"], found["warnings"]) == ([], [])
    assert found["splits"] == ["train", "val", "test"]
    rows = {row["id"]: row for row in found["samples"]}
    assert len(rows) == len(found["samples"]) == len(samples)
    for sample in samples:
        row = rows[sample.id]
        assert row["pixels"] == pixels(folder, sample)
        assert (row["label"], row["caption"], row["split"]) == (sample.label, sample.caption, sample.split)
        assert row["boxes"] == [list(each.box) for each in sample.instances]
        assert row["categories"] == [each.label for each in sample.instances]


def test_torchvision(made, ask):
    _, samples = made
    found = ask("torchvision")
    train = of(samples, "train")
    names = json.loads((made[0] / "views/imagefolder/labels.json").read_text("utf-8"))
    assert sorted([name[:16], names[label]] for name, label in found["imagefolder"]) == sorted(
        [sample.id, sample.label] for sample in train
    )
    assert found["coco"] == [[[WIDTH, HEIGHT], [list(each.box) for each in sample.instances]] for sample in train]
    assert found["captions"] == [[sample.caption] for sample in train]
    for split, wanted in {"train": ["train"], "val": ["val"], "trainval": ["train", "val"]}.items():
        assert found[f"voc {split}"] == [
            [f"{sample.id}.jpg", [each.label for each in sample.instances]]
            for sample in samples
            if sample.split in wanted
        ]
    assert found["masks"] == [
        [[WIDTH, HEIGHT]] * 2 + ["P", 1 + any(each.label != "cat" for each in sample.instances)] for sample in train
    ]


def test_ultralytics(made, ask):
    _, samples = made
    found = ask("ultralytics")
    for task in ("detect", "segment"):
        assert found[task]["names"] == ["cat", "dog/wolf"]
        for split in ("train", "val", "test"):
            assert found[task][split].keys() == {sample.id for sample in of(samples, split)}
            for sample in of(samples, split):
                classes, boxes = found[task][split][sample.id]
                assert classes == [each.label != "cat" for each in sample.instances]
                x, y, width, height = np.array([each.box for each in sample.instances]).T
                expected = np.stack(
                    [(x + width / 2) / WIDTH, (y + height / 2) / HEIGHT, width / WIDTH, height / HEIGHT]
                )
                assert np.allclose(boxes, expected.T, atol=1e-6)
    assert found["classify"]["count"] == len(of(samples, "train"))
    assert len(found["classify"]["classes"]) == len(LABELS)


def test_tensorflow(made, ask):
    folder, samples = made
    found = ask("tensorflow")
    for split, rows in found.items():
        for row, sample in zip(rows, of(samples, split), strict=True):
            assert (row["id"], row["label"], row["shape"]) == (sample.id, sample.label, [HEIGHT, WIDTH, 3])
            assert row["left"] == pytest.approx([each.box[0] / WIDTH for each in sample.instances])
            assert row["classes"] == [1 + (each.label != "cat") for each in sample.instances]
            masks = [read_mask(folder, each.mask, sample) for each in sample.instances]
            assert row["pixels"] == [int(mask.sum()) for mask in masks]
