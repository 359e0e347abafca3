"""Croissant: every name in the JSON-LD leads to a thing that is there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from view_sets import INFO, odd, ordinary

from varifold.dataset.views import croissant


def read(folder):
    view = folder / "views/croissant"
    records = (view / "samples.jsonl").read_bytes()
    lines = [json.loads(line) for line in records.split(b"\n") if line]
    return view, json.loads((view / "croissant.json").read_text("utf-8")), lines


def ids(value):
    if isinstance(value, dict):
        if "@type" in value and "@id" in value:
            yield value["@id"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from ids(each)


def references(value):
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_it_declares_what_the_standard_requires(tmp_path):
    croissant.write(tmp_path, ordinary(tmp_path), INFO)
    _, about, _ = read(tmp_path)
    assert about["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert about["license"] == ["https://spdx.org/licenses/CC0-1.0.html"]
    assert [each["name"] for each in about["creator"]] == ["Ada", "Ada ‹tester›"]
    assert about["datePublished"] == "2026-01-02"
    assert about["url"] == INFO.url
    named = list(ids([about["distribution"], about["recordSet"]]))
    assert len(named) == len(set(named))
    assert set(references([about["distribution"], about["recordSet"]])) <= set(named)


def test_files_and_columns_are_there(tmp_path):
    samples = ordinary(tmp_path)
    croissant.write(tmp_path, samples, INFO)
    view, about, lines = read(tmp_path)
    resource, images, masks = about["distribution"]
    assert resource["sha256"] == hashlib.sha256((view / resource["contentUrl"]).read_bytes()).hexdigest()
    assert len(list(view.glob(images["includes"]))) == len(samples)
    assert len(list(view.glob(masks["includes"]))) == sum(len(each.instances) for each in samples)
    columns = {
        field["source"]["extract"]["column"]
        for field in about["recordSet"][1]["field"]
        if "column" in field["source"]["extract"]
    }
    for line, sample in zip(lines, samples, strict=True):
        assert columns <= line.keys()
        assert (view / "images" / line["file_name"]).read_bytes() == (tmp_path / sample.image).read_bytes()
        for name, instance in zip(line["masks"], sample.instances, strict=True):
            assert (view / "masks" / name).read_bytes() == (tmp_path / instance.mask).read_bytes()


def test_what_made_the_pictures_is_told(tmp_path):
    croissant.write(tmp_path, ordinary(tmp_path), INFO)
    _, about, _ = read(tmp_path)
    used = about["prov:wasGeneratedBy"]["prov:used"]
    assert {"@type": "prov:Entity", "prov:label": "checkpoint small.safetensors", "sha256": "cd" * 32} in used
    assert {"@type": "prov:Plan", "prov:label": "graph", "sha256": "ab" * 32} in used


def test_what_nobody_told_is_not_made_up(tmp_path):
    samples = [replace(each, provenance=None) for each in odd(tmp_path)]
    croissant.write(tmp_path, samples, replace(INFO, author="", licence="", url="", date=""))
    _, about, lines = read(tmp_path)
    assert not {"license", "creator", "url", "datePublished"} & about.keys()
    assert lines[0]["licence"] == ""
    assert about["distribution"][1]["encodingFormat"] == ["image/jpeg", "image/png", "image/webp"]
