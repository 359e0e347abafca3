"""Sheet at its edges: odd sizes, long labels, and what it leaves alone."""

import math

import pytest
import torch

from varifold.nodes import sheet as module
from varifold.nodes.drawing import BACKGROUNDS

PAPER = {name: torch.tensor(paper) / 255 for name, (paper, _) in BACKGROUNDS.items()}


@pytest.fixture
def sheet(call):
    """One sheet [H, W, 3]."""
    return lambda images, **given: call("Sheet", images=images, **given)[0][0]


def colours(count: int, height: int = 40, width: int = 40) -> torch.Tensor:
    """Pictures of one colour each, all different and none like the paper."""
    shades = torch.stack([torch.tensor([1.0, index / count, 0.5]) for index in range(count)])
    return shades[:, None, None].expand(count, height, width, 3)


def ink(sheet: torch.Tensor, background: str = "dark") -> torch.Tensor:
    """Where [H, W] the sheet is not paper."""
    return (sheet - PAPER[background]).abs().amax(-1) > 2 / 255


@pytest.mark.parametrize(("columns", "expected"), [(0, 4), (1, 1), (5, 5), (10, 10), (256, 10)])
def test_columns(columns, expected, sheet):
    assert sheet(colours(10), columns=columns, scale=1, gap=0).shape[1] == expected * 40


@pytest.mark.parametrize(("scale", "expected"), [(0, 160), (1, 40), (3, 120)])
def test_scale_repeats_pixels(scale, expected, sheet):
    image = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    laid = sheet(image, scale=scale, gap=0)
    assert laid.shape == (expected, expected, 3)
    times = expected // 40
    assert torch.allclose(laid, image[0].repeat_interleave(times, 0).repeat_interleave(times, 1), atol=1 / 255)


@pytest.mark.parametrize("gap", [0, 1, 256])
def test_gap(gap, sheet):
    assert sheet(colours(4), columns=2, scale=1, gap=gap).shape == (80 + 3 * gap, 80 + 3 * gap, 3)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_backgrounds_can_be_told_from_their_ink(background, sheet):
    laid = sheet(colours(1), background=background, labels="euler", gap=8)
    assert torch.allclose(laid[0, 0], PAPER[background])
    caption = laid[8 + 160 :]
    assert (caption - PAPER[background]).abs().max() > 0.6


def test_one_picture_alone_fills_its_sheet(sheet):
    assert sheet(colours(1), scale=1, gap=8).shape == (56, 56, 3)


def test_a_hundred_pictures(sheet):
    laid = sheet(colours(100, 8, 8), labels="\n".join(map(str, range(100))), scale=4)
    assert ink(laid)[8:40, 8:40].all() and laid.shape[1] == 10 * 40 + 8


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 60), (120, 120)), ((60, 20), (120, 120)), ((1, 200), (12, 200)), ((200, 1), (200, 12))]
)
def test_pictures_of_any_shape_make_a_sheet_about_as_wide_as_high(size, expected, sheet):
    assert sheet(colours(12, *size), scale=1, gap=0).shape[:2] == expected


def test_without_labels_there_is_no_caption(sheet):
    bare = sheet(colours(4), scale=3)
    for empty in ("\n\n\n", "  \n \n", "\n" * 9 + "the tenth of four"):
        assert torch.equal(sheet(colours(4), scale=3, labels=empty), bare)
    assert sheet(colours(4), scale=3, labels="one").shape[0] > bare.shape[0]


LABELS = {
    "sentences": "a rather long label that goes on and on for several lines",
    "one long word": "dpmpp_2m_sde_heun_gpu_ancestral_karras_exponential_cfgpp",
    "wide letters": "WWWWWWWWWWWWWWWWWWWW MMMMMMMMMM",
    "accents": "Überstrapazierfähigkeitsprüfungsverfügung Ágýj",
}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("side", [32, 128])
def test_labels_stay_under_their_picture(label, side, sheet):
    gap = 12
    laid = sheet(colours(4, side, side), columns=2, scale=1, gap=gap, labels=f"{label}\n" * 4)
    inked = ink(laid)
    columns = torch.zeros(laid.shape[1], dtype=torch.bool)
    for left in (gap, 2 * gap + side):
        columns[left - 2 : left + side + 2] = True  # a glyph may lean over its advance by a pixel
    assert not inked[:, ~columns].any()
    height = (laid.shape[0] - 3 * gap) // 2
    below_pictures = [top + side for top in (gap, 2 * gap + height)]
    for bottom in below_pictures:
        caption = inked[bottom : bottom + height - side]
        assert caption.any(1).sum() > 20, "several lines of text"
        assert not inked[bottom + height - side : bottom + height - side + gap].any(), "text runs into the next row"


def test_pictures_of_other_types_and_out_of_range(sheet):
    images = colours(2)
    reference = sheet(images)
    assert (sheet(images.half()) - reference).abs().max() < 1.5 / 255
    assert torch.equal(sheet(torch.full((1, 8, 8, 3), 7.0)), sheet(torch.ones(1, 8, 8, 3)))
    assert torch.equal(sheet(torch.ones(1, 8, 8, 1)), sheet(torch.ones(1, 8, 8, 3)))


def test_sheet_does_not_modify_its_inputs(call):
    images, masks = colours(2).clone(), torch.full((2, 40, 40), 0.3)
    before = images.clone(), masks.clone()
    with torch.inference_mode():
        call("Sheet", images=images, masks=masks)[0].fill_(0)
    assert torch.equal(images, before[0]) and torch.equal(masks, before[1])


def test_the_hero_is_cut_out(call):
    _, mask = call("SamplePicture", which="hero (transparent)")
    assert set(mask.unique().tolist()) == {0, 1} and 0.2 < mask.mean() < 0.9
    assert mask[0, 0, 0] == 1


def test_sheets_of_sample_pictures_are_not_enlarged(call, sheet):
    image, _ = call("SamplePicture", which="cat")
    assert sheet(image, gap=0).shape == image.shape[1:]
    assert math.prod(image.shape[1:3]) <= 1024**2


@pytest.fixture
def labels(sheet, monkeypatch):
    """The labels that a sheet is drawn with."""
    drawn, draw_sheet = [], module.draw_sheet
    monkeypatch.setattr(
        module, "draw_sheet", lambda cells, labels, **more: drawn.append(labels) or draw_sheet(cells, labels, **more)
    )
    return lambda images, **given: (sheet(images, **given), drawn.pop())[1]


def test_a_reference_tells_how_far_each_picture_is(labels):
    pictures = torch.stack([torch.full((8, 8, 3), level) for level in (0.5, 0.75, 0.5)])
    pictures[2, :4] = 0.7
    told = labels(pictures, labels="same\nbrighter", reference=pictures[:1])
    assert told == ["same  error 0.000", "brighter  error 0.250", f"error {0.2 / math.sqrt(2):.3f}"]


def test_a_reference_for_each_picture(labels):
    pictures = colours(3)
    assert labels(pictures, reference=pictures) == ["error 0.000"] * 3


def test_a_reference_of_another_size_is_refused(sheet):
    with pytest.raises(ValueError, match="reference is 2 of 40×40 and images are 3 of 40×40"):
        sheet(colours(3), reference=colours(2))
    with pytest.raises(ValueError, match="1 of 20×20"):
        sheet(colours(3), reference=colours(1, 20, 20))
