"""Parquet as pyarrow reads it, and without pyarrow."""

from __future__ import annotations

import json
import sys

import pyarrow.parquet as pq
import pytest
from view_sets import INFO, LABELS, odd, ordinary

from varifold.dataset.errors import DatasetError
from varifold.dataset.views import parquet


def rows(folder, split):
    paths = sorted((folder / "views/parquet").glob(f"{split}-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_rows_are_the_samples(tmp_path):
    samples = ordinary(tmp_path)
    parquet.write(tmp_path, samples, INFO)
    for split in ("train", "val", "test"):
        expected = [each for each in samples if each.split == split]
        for row, sample in zip(rows(tmp_path, split), expected, strict=True):
            assert row["image"] == {"bytes": (tmp_path / sample.image).read_bytes(), "path": f"{sample.id}.png"}
            assert (row["id"], row["caption"]) == (sample.id, sample.caption)
            assert sorted(LABELS)[row["label"]] == sample.label
            assert row["objects"]["bbox"] == [list(each.box) for each in sample.instances]
            assert row["objects"]["visibility"] == [each.visibility for each in sample.instances]
            for mask, instance in zip(row["objects"]["mask"], sample.instances, strict=True):
                assert mask["bytes"] == (tmp_path / instance.mask).read_bytes()
            assert json.loads(row["provenance"]) == sample.provenance


def test_what_a_sample_lacks_is_null(tmp_path):
    parquet.write(tmp_path, odd(tmp_path), INFO)
    first, second, third = rows(tmp_path, "train")
    assert (first["label"], first["caption"], first["objects"]["bbox"]) == (None, None, [])
    assert second["caption"] == "a ? half and a \x00 \x0b\x1b control"
    assert (third["objects"]["mask"], third["objects"]["score"]) == ([None], [None])


def test_every_split_has_the_same_columns_whose_features_datasets_reads(tmp_path):
    samples = ordinary(tmp_path)
    parquet.write(tmp_path, samples, INFO)
    schemas = [pq.read_schema(path) for path in sorted((tmp_path / "views/parquet").iterdir())]
    assert len(schemas) == 3
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    features = json.loads(schemas[0].metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schemas[0].names
    assert features["label"] == {"names": sorted(LABELS), "_type": "ClassLabel"}


@pytest.mark.parametrize("group", [1, 15_000, 1 << 30])
def test_full_files_and_row_groups_are_followed_by_others(tmp_path, monkeypatch, group):
    samples = ordinary(tmp_path)
    parquet.write(tmp_path, samples, INFO)
    whole = rows(tmp_path, "train")
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", group)
    monkeypatch.setattr(parquet, "FILE_BYTES", 15_000)
    parquet.write(tmp_path, samples, INFO)
    count = 1 if group > 15_000 else 2
    names = sorted(path.name for path in (tmp_path / "views/parquet").glob("train-*"))
    assert names == [f"train-{number:05}-of-{count:05}.parquet" for number in range(count)]
    assert rows(tmp_path, "train") == whole


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r'pip install "varifold\[parquet\]"'):
        parquet.write(tmp_path, ordinary(tmp_path, 1), INFO)
    assert not (tmp_path / "views").exists()
