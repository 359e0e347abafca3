"""WebDataset's shards as the `webdataset` package reads them."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
import webdataset
from PIL import Image
from view_sets import INFO, contents, odd, ordinary

from varifold.dataset import rle
from varifold.dataset.views import shards
from varifold.dataset.views import webdataset as view
from varifold.dataset.views.objects import read_mask


def read(folder, split):
    urls = sorted(str(path) for path in (folder / "views/webdataset").glob(f"{split}-*.tar"))
    return list(webdataset.WebDataset(urls, shardshuffle=False, nodesplitter=None).decode("rgb8"))


def test_samples_are_those_of_the_set(tmp_path):
    samples = ordinary(tmp_path)
    view.write(tmp_path, samples, INFO)
    labels = json.loads((tmp_path / "views/webdataset/labels.json").read_text("utf-8"))
    for split in ("train", "val", "test"):
        expected = [each for each in samples if each.split == split]
        for found, sample in zip(read(tmp_path, split), expected, strict=True):
            assert found["__key__"] == sample.id
            with Image.open(tmp_path / sample.image) as image:
                assert np.array_equal(found["png"], np.asarray(image))
            assert labels[found["cls"]] == sample.label
            assert found["txt"] == sample.caption
            about = found["json"]
            assert (about["label"], about["caption"], about["provenance"]["seed"]) == (
                sample.label,
                sample.caption,
                sample.provenance["seed"],
            )
            for told, instance in zip(about["instances"], sample.instances, strict=True):
                assert (told["label"], tuple(told["bbox"]), told["visibility"]) == (
                    instance.label,
                    instance.box,
                    instance.visibility,
                )
                mask = rle.decode(rle.decompress(told["segmentation"]["counts"]), *told["segmentation"]["size"])
                assert np.array_equal(mask, read_mask(tmp_path, instance.mask, sample))


def test_a_picture_of_any_format_is_as_it_was(tmp_path):
    samples = odd(tmp_path)
    view.write(tmp_path, samples, INFO)
    urls = [str(path) for path in (tmp_path / "views/webdataset").glob("*.tar")]
    found = {each["__key__"]: each for each in webdataset.WebDataset(sorted(urls), shardshuffle=False)}
    for sample in samples[:7]:
        suffix = sample.image.rpartition(".")[2]
        assert found[sample.id][suffix] == (tmp_path / sample.image).read_bytes()
    assert "cls" not in found[samples[0].id]
    assert "txt" not in found[samples[0].id]
    assert found[samples[4].id]["txt"] == b""


def test_members_tell_neither_when_nor_by_whom_they_were_written(tmp_path):
    view.write(tmp_path, ordinary(tmp_path), INFO)
    with tarfile.open(tmp_path / "views/webdataset/train-000000.tar") as tar:
        members = tar.getmembers()
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert all(each.name.count(".") == 1 for each in members)


@pytest.mark.parametrize("limit", [1, 15_000])
def test_a_full_shard_is_followed_by_another(tmp_path, monkeypatch, limit):
    samples = ordinary(tmp_path)
    view.write(tmp_path, samples, INFO)
    whole = read(tmp_path, "train")
    monkeypatch.setattr(shards, "SHARD_BYTES", limit)
    view.write(tmp_path, samples, INFO)
    files = contents(tmp_path / "views/webdataset")
    count = sum(name.startswith("train-") for name in files)
    assert count == {1: 6, 15_000: 3}[limit]
    assert [f"train-{number:06}.tar" in files for number in range(count)] == [True] * count
    assert [each["__key__"] for each in read(tmp_path, "train")] == [each["__key__"] for each in whole]
    for name, content in files.items():
        if name.endswith(".tar"):
            assert content.endswith(bytes(1024))
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                assert tar.getnames()
