"""Run-length encoding: byte for byte what pycocotools writes, and back."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from varifold.dataset import rle
from varifold.dataset.errors import DatasetError


def masks():
    rng = np.random.default_rng(0)
    for density in (0, 0.01, 0.2, 0.5, 0.9, 1):
        for height, width in ((1, 1), (1, 9), (9, 1), (7, 5), (33, 40), (300, 200), (200, 300)):
            yield rng.random((height, width)) < density
    y, x = np.mgrid[:400, :500]
    yield np.hypot(y - 200, x - 250) < 150
    yield y % 2 == 0
    yield x % 2 == 1
    yield (y < 10) | (y >= 390)
    yield np.zeros((200, 70_000), bool) | (np.arange(70_000) % 777 == 0)


@pytest.mark.parametrize("mask", list(masks()), ids=lambda mask: "x".join(map(str, mask.shape)))
def test_it_is_what_pycocotools_writes(mask):
    expected = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    counts = rle.encode(mask)
    assert rle.compress(counts) == expected["counts"].decode()
    assert rle.decompress(expected["counts"].decode()).tolist() == counts.tolist()
    assert np.array_equal(rle.decode(counts, *mask.shape), mask)
    assert np.array_equal(rle.encode(mask.astype(np.float32) * 0.25), counts)


def test_long_runs_take_many_letters():
    counts = np.array([0, 2**31, 5, 2**33, 1, 7], np.int64)
    assert rle.decompress(rle.compress(counts)).tolist() == counts.tolist()


@pytest.mark.parametrize("text", ["", "é", "~~~", "PP", "o" * 20 + "0", "\ud800"])
def test_other_text_is_refused(text):
    with pytest.raises(DatasetError, match="not a compressed mask"):
        rle.decompress(text)


@pytest.mark.parametrize("counts", [[3], [2, 3], [-1, 5], [1, 1, 1, 1, 1], []])
def test_runs_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(DatasetError, match="must fill its 2 × 2 pixels"):
        rle.decode(counts, 2, 2)
