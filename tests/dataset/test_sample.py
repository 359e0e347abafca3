"""Samples and instances as JSON data: exact round trips, and refusals that name the place and the field."""

from __future__ import annotations

import json

import pytest

from varifold.dataset.errors import DatasetError
from varifold.dataset.sample import Instance, Sample, is_path_inside

INSTANCE = Instance("🐉", (0.5, 1.0, 3.25, 4.0), "masks/ab/cd.png", 0.75, 1.0)
SAMPLE = Sample(
    "0123456789abcdef",
    "images/ab/cd.png",
    640,
    480,
    "a" * 64,
    "hero",
    "a \ud800 caption\n",
    (INSTANCE, Instance("none", (0.0, 0.0, 0.0, 0.0))),
    "train",
    "0123456789abcdef",
    {"seed": 2**63, "conditioning": ["a", {"b": None}]},
)


def test_round_trip_is_exact():
    assert Sample.from_json(json.loads(json.dumps(SAMPLE.to_json()))) == SAMPLE
    bare = Sample("x", "a.png", 1, 1, "0" * 64, provenance={})
    assert Sample.from_json(bare.to_json()) == bare


SPOILED = {
    "id": ["", 7, None],
    "image": ["/etc/passwd", "../a.png", "a/../b.png", "C:/a.png", "a\\b.png", "", "a//b.png", "a/./b", None, "a\0b"],
    "width": [0, -1, 1.5, True, "1"],
    "height": [0, None],
    "sha256": ["a" * 63, "A" * 64, "g" * 64, None],
    "label": [7, ["a"]],
    "caption": [7],
    "instances": [None, {}, "none"],
    "split": ["training", None, 0],
    "group": [None, 3],
    "provenance": [None, [], "me"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in SPOILED for value in SPOILED[field]])
def test_a_wrong_field_is_named_with_its_line(field, value):
    with pytest.raises(DatasetError, match=rf"line 12: {field} is "):
        Sample.from_json({**SAMPLE.to_json(), field: value}, "line 12")


SPOILED_INSTANCE = {
    "label": [None, 3],
    "box": [[1, 2, 3], [1, 2, 3, -1], [1, 2, float("nan"), 4], [1, 2, float("inf"), 4], "1234", None, [1, 2, 3, True]],
    "mask": ["/a.png", 3],
    "score": [float("nan"), "0.5", True],
    "visibility": [1.01, -0.1, float("nan")],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in SPOILED_INSTANCE for value in SPOILED_INSTANCE[field]]
)
def test_a_wrong_field_of_an_instance_is_named(field, value):
    spoiled = SAMPLE.to_json()
    spoiled["instances"][1][field] = value
    with pytest.raises(DatasetError, match=rf"line 12, instance 1: {field} is "):
        Sample.from_json(spoiled, "line 12")


@pytest.mark.parametrize("field", [*SPOILED])
def test_a_missing_field_is_named(field):
    table = SAMPLE.to_json()
    del table[field]
    with pytest.raises(DatasetError, match=rf"line 3 has no {field}"):
        Sample.from_json(table, "line 3")


@pytest.mark.parametrize("table", [None, [], "text", 7])
def test_what_is_no_object_is_refused(table):
    with pytest.raises(DatasetError, match="line 3 is "):
        Sample.from_json(table, "line 3")


def test_paths_inside():
    assert is_path_inside("images/ab/龙.png")
    assert not is_path_inside("..")
