"""The card: what it counts is what is there, and what it shows is a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import yaml
from PIL import Image
from view_sets import INFO, odd, ordinary, sample

from varifold.dataset.views import card, sheet


def read(folder):
    _, front, text = (folder / "views/card/README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_front_tells_hugging_face_licence_tasks_and_size(tmp_path):
    card.write(tmp_path, ordinary(tmp_path), INFO)
    front, _ = read(tmp_path)
    tasks = ["image-classification", "object-detection", "image-segmentation", "text-to-image"]
    assert front == {
        "pretty_name": "A small set",
        "license": "cc0-1.0",
        "task_categories": tasks,
        "size_categories": ["n<1K"],
        "tags": ["synthetic"],
    }


def test_counts_are_those_of_the_set(tmp_path):
    samples = ordinary(tmp_path)
    card.write(tmp_path, samples, INFO)
    _, text = read(tmp_path)
    assert "12 pictures of 56 × 40 pixels; 12 captions, 24 masks." in text
    assert "| pictures | 6 | 3 | 3 | 12 |" in text
    cats = [sum(each.label == "cat" for s in samples if s.split == split for each in s.instances) for split in SPLITS]
    assert f"| cat | {' | '.join(map(str, cats))} | {sum(cats)} |" in text
    assert "| 🐉 \\| &lt;dragon>: \"x\" 'y' | 2 | 1 | 1 | 4 |" in text
    assert f"- checkpoint small.safetensors: SHA-256 `{'cd' * 32}` (12 pictures)" in text
    assert "- licence CC0-1.0: 12 pictures" in text


SPLITS = ("train", "val", "test")


def test_limits_are_told(tmp_path):
    card.write(tmp_path, [each for each in odd(tmp_path) if each.split != "test"], INFO)
    front, text = read(tmp_path)
    limits = text.partition("## Known limits")[2]
    assert "- There are no test pictures." in limits
    assert "- Boxes reached out of their picture and were cut at its edge: 1." in limits
    assert "- 1 picture without a label or an object." in limits
    assert front["license"] == "cc0-1.0"


def test_several_licences_are_other(tmp_path):
    samples = odd(tmp_path)
    card.write(tmp_path, [*samples[:6], replace(samples[6], provenance={"licence": "https://a.example/x"})], INFO)
    front, text = read(tmp_path)
    assert front["license"] == "other"
    assert "- licence https://a.example/x: 1 picture" in text


def test_the_sheet_shows_each_label_and_its_objects(tmp_path):
    samples = ordinary(tmp_path)
    card.write(tmp_path, samples, INFO)
    with Image.open(tmp_path / "views/card/samples.jpg") as image:
        assert b"trainedAlgorithmicMedia" in image.info["xmp"]
        pixels = np.asarray(image).astype(int)
    assert pixels.shape == (
        2 * (sheet.SIDE + sheet.LINE + sheet.GAP) + sheet.GAP,
        6 * (sheet.SIDE + sheet.GAP) + sheet.GAP,
        3,
    )
    assert (np.abs(pixels - sheet.MARK).max(2) < 60).sum() > 500


def test_a_set_of_many_labels_shows_the_first_of_each(tmp_path):
    samples = [sample(tmp_path, number, "train", label=f"{number % 40:02}") for number in range(80)]
    card.write(tmp_path, samples, INFO)
    _, text = read(tmp_path)
    with Image.open(tmp_path / "views/card/samples.jpg") as image:
        assert image.width == sheet.COLUMNS * (sheet.SIDE + sheet.GAP) + sheet.GAP
        assert image.height == 4 * (sheet.SIDE + sheet.LINE + sheet.GAP) + sheet.GAP
    assert "| 39 | 2 | 0 | 0 | 2 |" in text


def test_a_table_of_very_many_labels_ends(tmp_path):
    samples = [sample(tmp_path, number, "train", label=f"{number:02}") for number in range(60)]
    card.write(tmp_path, samples, INFO)
    assert "| 10 more | 10 | 0 | 0 | 10 |" in read(tmp_path)[1]
