"""Outlines: pycocotools rasterises them to the very mask, and they count parts and holes."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy.ndimage import gaussian_filter, label

from varifold.dataset import polygons

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def masks():
    rng = np.random.default_rng(1)
    for number in range(300):
        height, width = rng.integers(1, 32, 2)
        noise = rng.random((height, width))
        yield gaussian_filter(noise, 2) > np.median(noise) if number % 3 else noise < rng.choice([0.05, 0.3, 0.6, 0.95])
    y, x = np.mgrid[:300, :400]
    yield np.hypot(y - 150, x - 200) < 120
    yield (np.hypot(y, x) < 120) | (np.hypot(y - 299, x - 399) < 90)
    yield np.ones((5, 4), bool)
    yield np.ones((1, 1), bool)


def rasterised(outlines, height, width):
    drawn = coco.frPyObjects([outline.ravel().tolist() for outline in outlines], height, width)
    return coco.decode(coco.merge(drawn)).astype(bool)


@pytest.mark.parametrize("batch", range(4))
def test_pycocotools_gives_the_mask_back(batch):
    holes = 0
    for mask in list(masks())[batch::4]:
        if not mask.any():
            assert polygons.outlines(mask) == ([], [])
            continue
        found = polygons.outlines(mask)
        assert len(found.outer) == label(mask)[1]
        outside = np.pad(~mask, 1, constant_values=True)
        assert len(found.holes) == label(outside, np.ones((3, 3)))[1] - 1
        if not found.holes:
            assert np.array_equal(rasterised(found.outer, *mask.shape), mask)
        holes += bool(found.holes)
        assert np.array_equal(rasterised([polygons.joined(found)], *mask.shape), mask)
    assert 10 < holes < 65


def test_an_outline_has_corners_alone():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 1:7] = True
    ((outline,), holes) = polygons.outlines(mask)
    assert outline.tolist() == [[1, 2], [7, 2], [7, 4], [1, 4]]
    assert not holes


def test_pixels_that_touch_at_a_corner_are_apart_whichever_way_they_lie():
    for mask in (np.eye(2, dtype=bool), np.eye(2, dtype=bool)[::-1]):
        found = polygons.outlines(mask)
        assert [len(outline) for outline in found.outer] == [4, 4]
        assert not found.holes


def test_holes_that_touch_at_a_corner_are_one():
    mask = np.ones((4, 4), bool)
    mask[1, 1] = mask[2, 2] = False
    found = polygons.outlines(mask)
    assert (len(found.outer), len(found.holes)) == (1, 1)


def test_a_mask_of_many_parts_is_joined_in_little_time():
    mask = np.random.default_rng(0).random((256, 256)) < 0.3
    joined = polygons.joined(polygons.outlines(mask))
    assert np.array_equal(rasterised([joined], *mask.shape), mask)
