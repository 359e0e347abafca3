"""Snap Palette: what is transparent, whose palette it is, and what comes out."""

from functools import partial

import pytest
import torch

from varifold.nodes.palette import EACH, TOGETHER
from varifold.studio.errors import Cancelled

RED, ROSE, BLUE, SKY = (
    torch.tensor(colour) / 255 for colour in [(200, 0, 0), (255, 90, 90), (0, 0, 200), (90, 90, 255)]
)
WHITE, BLACK = torch.ones(3), torch.zeros(3)


@pytest.fixture
def snap(call):
    return partial(call, "SnapPalette")


def stripes(*colours: torch.Tensor) -> torch.Tensor:
    # Each wider than the one before, so that the last is the most frequent.
    widths = torch.arange(2, 2 + len(colours))
    return torch.stack(colours).repeat_interleave(widths, 0).expand(1, 4, -1, 3).clone()


def noise(count: int = 1, size: int = 24, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator) / 255


def colours(picture: torch.Tensor) -> set[tuple]:
    return {tuple(colour) for colour in (picture.reshape(-1, picture.shape[-1]) * 255).round().int().tolist()}


def with_alpha(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.cat([images, 1 - mask.expand(images.shape[:-1])[..., None]], -1)


def upper_half(images: torch.Tensor, value: float = 1.0) -> torch.Tensor:
    mask = torch.zeros(images.shape[:-1])
    mask[:, : images.shape[1] // 2] = value
    return mask


@pytest.mark.parametrize("count", [2, 16, 256])
def test_each_picture_has_its_own_colours_and_they_are_its_palette(count, snap):
    image, mask, palette = snap(images=noise(3), colours=count)
    assert image.shape == (3, 24, 24, 3) and mask.shape == (3, 24, 24) and not mask.any()
    assert palette.shape[:2] == (3, 1) and palette.shape[2] <= count
    for picture, own in zip(image, palette, strict=True):
        assert colours(picture) == colours(own)
    assert colours(palette[0]) != colours(palette[1])


def test_the_picture_keeps_its_colours_where_they_are_few(snap):
    images = stripes(RED, BLUE, WHITE)
    image, _, palette = snap(images=images)
    assert torch.equal(image, images)
    assert torch.equal(palette, torch.stack([WHITE, BLUE, RED])[None, None])


def test_a_palette_of_fewer_colours_than_the_others_repeats_its_last(snap):
    _, _, palette = snap(images=torch.cat([stripes(RED, BLUE, WHITE), stripes(SKY, SKY, ROSE)]))
    assert torch.equal(palette[0, 0], torch.stack([WHITE, BLUE, RED]))
    assert torch.equal(palette[1, 0], torch.stack([SKY, ROSE, ROSE]))


def test_one_palette_for_all_is_shared(snap):
    reds_and_blues = torch.cat([stripes(RED, ROSE), stripes(BLUE, SKY)])
    image, _, palette = snap(images=reds_and_blues, colours=4, palettes=TOGETHER)
    assert torch.equal(image, reds_and_blues)
    assert palette.shape == (1, 1, 4, 3) and colours(palette) == colours(reds_and_blues)

    image, _, palette = snap(images=reds_and_blues, colours=2, palettes=TOGETHER)
    assert palette.shape == (1, 1, 2, 3) and [len(colours(picture)) for picture in image] == [1, 1]
    assert colours(image) == colours(palette)

    image, _, palette = snap(images=reds_and_blues, colours=2, palettes=EACH)
    assert torch.equal(image, reds_and_blues) and palette.shape == (2, 1, 2, 3)


@pytest.mark.parametrize("palettes", [EACH, TOGETHER])
def test_a_palette_given_is_used_instead_of_the_images_own(palettes, snap):
    image, _, palette = snap(
        images=torch.cat([stripes(RED, SKY), stripes(BLUE, ROSE)]), palettes=palettes, palette=stripes(WHITE, RED, BLUE)
    )
    assert torch.equal(palette, torch.stack([BLUE, RED, WHITE])[None, None])
    assert torch.equal(image[0], stripes(RED, BLUE)[0]) and torch.equal(image[1], stripes(BLUE, RED)[0])


def test_a_palette_given_is_reduced_to_the_colours_asked_for(snap):
    given = noise(seed=1)
    image, _, palette = snap(images=noise(2), colours=5, palette=given)
    assert palette.shape == (1, 1, 5, 3) and colours(palette) <= colours(given)
    assert colours(image) <= colours(palette)


def test_all_pictures_of_a_palette_given_are_used_but_what_is_transparent_in_them(snap):
    given = with_alpha(torch.cat([stripes(RED, BLUE), stripes(SKY, WHITE)]), torch.zeros(2, 4, 5))
    given[0, :, :2, 3] = 0
    _, _, palette = snap(images=noise(), palette=given)
    assert colours(palette) == colours(torch.stack([BLUE, SKY, WHITE]))


@pytest.mark.parametrize("count", [4, 256])
def test_the_palette_of_one_snaps_another_alike(count, snap):
    first, _, palette = snap(images=noise(), colours=count)
    again, _, same = snap(images=noise(), colours=count, palette=palette)
    assert torch.equal(again, first) and colours(same) == colours(palette)


def test_a_palette_of_nothing_is_refused(snap):
    with pytest.raises(ValueError, match="all pixels are transparent"):
        snap(images=noise(), palette=torch.zeros(1, 2, 2, 4))


def test_what_is_transparent_is_black_and_is_not_in_the_palette(snap):
    images = torch.cat([RED.expand(1, 4, 5, 3), stripes(BLUE, WHITE)], 1)
    image, mask, palette = snap(images=images, masks=upper_half(images))
    assert torch.equal(mask, upper_half(images))
    assert not image[:, :4].any() and torch.equal(image[:, 4:], images[:, 4:])
    assert colours(palette) == colours(torch.stack([BLUE, WHITE]))

    _, _, palette = snap(images=images, masks=upper_half(images), palettes=TOGETHER)
    assert colours(palette) == colours(torch.stack([BLUE, WHITE]))


@pytest.mark.parametrize(("value", "cut"), [(0.0, 0), (0.3, 0), (0.49, 0), (0.51, 1), (0.7, 1), (1.0, 1), (7.0, 1)])
def test_a_soft_mask_is_cut_to_0_or_1(value, cut, snap):
    images = stripes(RED, BLUE)
    image, mask, _ = snap(images=images, masks=upper_half(images, value))
    assert torch.equal(mask, upper_half(images, cut))
    assert torch.equal(image, images * (1 - mask)[..., None])


def test_the_fourth_channel_of_an_image_is_its_alpha(snap):
    images = stripes(RED, BLUE)
    for given, cut in ((0.7, 1), (0.3, 0)):
        image, mask, _ = snap(images=with_alpha(images, upper_half(images, given)))
        assert torch.equal(mask, upper_half(images, cut))
        assert torch.equal(image, images * (1 - mask)[..., None])


@pytest.mark.parametrize("count", [1, 2])
def test_the_empty_mask_of_load_image_is_no_mask(count, snap):
    images = torch.cat([stripes(RED, BLUE)] * 2)
    masks = torch.zeros(count, 64, 64)
    image, mask, _ = snap(images=images, masks=masks)
    assert torch.equal(image, images) and torch.equal(mask, upper_half(images, 0))
    _, mask, _ = snap(images=with_alpha(images, upper_half(images)), masks=masks)
    assert torch.equal(mask, upper_half(images))


@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (1, 1, 4, 5)])
def test_one_mask_is_for_all_pictures(shape, snap):
    images = torch.cat([stripes(RED, BLUE), stripes(SKY, ROSE)])
    _, mask, _ = snap(images=images, masks=upper_half(images)[0].reshape(shape))
    assert torch.equal(mask, upper_half(images))


@pytest.mark.parametrize("mask", [torch.zeros(1, 9, 7), torch.ones(1, 9, 7), torch.zeros(9, 7)])
def test_masks_of_another_size_are_refused_with_both_sizes(mask, snap):
    with pytest.raises(ValueError, match=r"7×9.* 5×4"):
        snap(images=stripes(RED, BLUE), masks=mask)


def test_another_number_of_masks_is_refused(snap):
    with pytest.raises(ValueError, match="3 masks for 2 images"):
        snap(images=noise(2), masks=torch.zeros(3, 24, 24))


@pytest.mark.parametrize(
    "given", [{}, {"palettes": TOGETHER}, {"palette": stripes(RED, BLUE)}], ids=[EACH, TOGETHER, "given"]
)
def test_an_all_transparent_picture_comes_out_as_one(given, snap):
    image, mask, palette = snap(images=noise(), masks=torch.ones(1, 24, 24), **given)
    assert not image.any() and mask.all()
    assert colours(palette) == (colours(stripes(RED, BLUE)) if "palette" in given else {(0, 0, 0)})


@pytest.mark.parametrize("palettes", [EACH, TOGETHER])
def test_an_all_transparent_picture_leaves_the_others_as_they_are(palettes, snap):
    images = torch.cat([stripes(RED, BLUE), stripes(SKY, WHITE), stripes(ROSE, BLUE)])
    masks = torch.tensor([0.0, 1.0, 0.0])[:, None, None].expand(3, 4, 5)
    image, mask, palette = snap(images=images, masks=masks, palettes=palettes)
    assert torch.equal(mask, masks)
    assert torch.equal(image[::2], images[::2]) and not image[1].any()
    seen = colours(images[::2])
    assert colours(palette) == (seen if palettes == TOGETHER else seen | {(0, 0, 0)})


def test_a_sprite_with_soft_edges_gets_few_colours_and_hard_edges(call, snap):
    hero, transparency = call("SamplePicture", which="hero (transparent)")
    soft = torch.nn.functional.avg_pool2d(transparency, 12)
    small = torch.nn.functional.avg_pool2d(hero.movedim(-1, 1), 12).movedim(1, -1)
    assert len(colours(small)) > 8 and len(soft.unique()) > 2
    image, mask, palette = snap(images=small, masks=soft, colours=8)
    assert set(mask.unique().tolist()) == {0, 1}
    assert colours(image[mask == 0]) == colours(palette) and palette.shape == (1, 1, 8, 3)
    assert colours(image[mask == 1]) == {(0, 0, 0)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_pictures_of_other_types_come_out_in_float32(dtype, snap):
    given = {"images": noise(2), "masks": upper_half(noise(2), 0.7), "palette": noise(seed=1)}
    expected = snap(**given)
    outputs = snap(**{name: tensor.to(dtype) for name, tensor in given.items()})
    assert [output.dtype for output in outputs] == [torch.float32] * 3
    assert all(torch.equal(output, same) for output, same in zip(outputs, expected, strict=True))


def test_colours_out_of_range_come_out_in_range(snap):
    image, *_ = snap(images=stripes(2 * WHITE, BLACK - 1))
    assert torch.equal(image, stripes(WHITE, BLACK))


def test_nothing_given_is_modified_even_if_what_comes_out_is(snap):
    given = {"images": noise(2), "masks": upper_half(noise(2), 0.3), "palette": stripes(RED, BLUE)}
    before = {name: tensor.clone() for name, tensor in given.items()}
    outputs = snap(**given)
    with torch.inference_mode():
        for output in outputs:
            output.fill_(0.5)
    assert all(torch.equal(given[name], before[name]) for name in given)


@pytest.mark.parametrize("palettes", [EACH, TOGETHER])
def test_progress_counts_pictures_to_the_end(palettes, snap, events):
    snap(images=noise(3), palettes=palettes)
    seen = [(data["value"], data["max"]) for event, data in events if event == "progress"]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("palettes", [EACH, TOGETHER])
def test_cancelling_stops_at_the_next_picture(palettes, snap, host):
    heard = []

    def listen(event, data):
        heard.append(data["value"])
        if data["value"] == 2:
            host.cancel.set()

    host.listener = listen
    with pytest.raises(Cancelled):
        snap(images=noise(9), palettes=palettes)
    assert heard == [0, 1, 2]
