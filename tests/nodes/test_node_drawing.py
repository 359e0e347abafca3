"""Sheet and Sample Picture."""

import numpy as np
import pytest
import torch

from varifold.nodes.drawing import BACKGROUNDS, CHECKER
from varifold.nodes.sample_picture import PICTURES

PAPER, INK = (np.array(colour) for colour in BACKGROUNDS["dark"])


@pytest.fixture
def sheet(call):
    """`sheet(images, ...)` gives the sheet as levels [H, W, 3] of 0 to 255."""

    def draw(images: torch.Tensor, **given) -> np.ndarray:
        drawn = call("Sheet", images=images, **given)[0]
        assert drawn.shape[0] == 1 and drawn.dtype == torch.float32
        return (drawn[0] * 255).round().numpy().astype(int)

    return draw


def colours(count: int, height: int = 4, width: int = 4) -> torch.Tensor:
    """Flat pictures, the red of picture k being k/10."""
    images = torch.zeros(count, height, width, 3)
    images[..., 0] = torch.arange(count).view(-1, 1, 1) / 10
    return images


def test_pictures_lie_row_by_row(sheet):
    drawn = sheet(colours(5), columns=3, scale=2, gap=1)
    assert drawn.shape == (2 * 9 + 1, 3 * 9 + 1, 3)
    for k in range(5):
        top, left = 1 + k // 3 * 9, 1 + k % 3 * 9
        assert (drawn[top : top + 8, left : left + 8, 0] == round(k / 10 * 255)).all()
    assert (drawn[10:, 19:] == PAPER).all(), "the place of the missing sixth"


def test_small_pictures_grow_and_large_ones_do_not(sheet):
    assert sheet(colours(1, 32, 32), gap=0).shape == (128, 128, 3)
    assert sheet(colours(1, 300, 200), gap=0).shape == (300, 200, 3)


@pytest.mark.parametrize(
    ("count", "size", "rows", "columns"), [(24, (32, 32), 5, 5), (12, (20, 80), 6, 2), (1, (8, 8), 1, 1)]
)
def test_without_columns_it_is_about_as_wide_as_high(sheet, count, size, rows, columns):
    height, width = size
    assert sheet(colours(count, *size), scale=1, gap=0).shape == (rows * height, columns * width, 3)


def test_more_columns_than_pictures_leave_no_empty_paper(sheet):
    assert sheet(colours(2), columns=9, scale=1, gap=0).shape == (4, 8, 3)


def test_labels_stand_under_their_pictures(sheet):
    plain, labelled = (sheet(colours(4), columns=4, labels=labels) for labels in ("", "one\ntwo\n\nfour"))
    assert labelled.shape[0] > plain.shape[0] and labelled.shape[1] == plain.shape[1]
    captions = (labelled[8 + 128 :] != PAPER).any(-1)
    inked = [captions[:, 8 + k * 136 : 136 + k * 136].any() for k in range(4)]
    assert inked == [True, True, False, True]
    assert not captions[:, [*range(8), *range(136, 144), *range(272, 280)]].any(), "nothing between the columns"


@pytest.mark.parametrize(
    "label", ["many words that do not fit into one line at all", "oneverylongwordwithoutanyspaceinit" * 2]
)
def test_long_labels_wrap_inside_their_column(sheet, label):
    drawn = sheet(colours(2), columns=2, labels=label)
    captions = (drawn[8 + 128 :] != PAPER).any(-1)
    assert captions.any() and not captions[:, 136:].any() and not captions[:, :8].any()


def test_more_labels_than_pictures_are_left_out(sheet):
    assert np.array_equal(sheet(colours(1), labels="one"), sheet(colours(1), labels="one\ntwo\nthree"))


def test_transparency_shows_a_checkerboard(sheet):
    image, mask = torch.ones(1, 16, 16, 3), torch.zeros(1, 16, 16)
    mask[:, :, 8:] = 1
    drawn = sheet(image, masks=mask, scale=1, gap=0)
    assert (drawn[:, :8] == 255).all()
    assert {tuple(level) for level in drawn[:, 8:].reshape(-1, 3).tolist()} == set(CHECKER)
    four = torch.cat([image, 1 - mask[..., None]], -1)
    assert np.array_equal(sheet(four, scale=1, gap=0), drawn)


def test_one_mask_serves_all(sheet):
    mask = torch.ones(1, 4, 4)
    assert np.array_equal(sheet(colours(3), masks=mask), sheet(colours(3), masks=mask.expand(3, 4, 4)))


def test_loadimages_zero_mask_is_none(sheet):
    assert np.array_equal(sheet(colours(2), masks=torch.zeros(1, 64, 64)), sheet(colours(2)))


@pytest.mark.parametrize(("mask", "says"), [((1, 5, 5), "5×5 and images 4×4"), ((2, 4, 4), "2 masks for 3 images")])
def test_masks_that_do_not_fit_are_refused(sheet, mask, says):
    with pytest.raises(ValueError, match=says):
        sheet(colours(3), masks=torch.ones(mask))


def test_backgrounds(sheet):
    for name, (paper, _) in BACKGROUNDS.items():
        assert (sheet(colours(1), background=name, gap=3)[0] == paper).all()


@pytest.mark.parametrize("which", PICTURES)
def test_sample_pictures(call, which):
    image, mask = call("SamplePicture", which=which)
    assert image.ndim == 4 and image.shape[-1] == 3 and image.dtype == torch.float32
    assert mask.shape == image.shape[:3]
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.05
    assert set(mask.unique().tolist()) == ({0.0, 1.0} if "transparent" in which else {0.0})
