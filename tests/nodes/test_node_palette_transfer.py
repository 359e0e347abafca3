"""Palette: which style is whose, where it acts, and what comes out."""

from functools import partial

import pytest
import torch

from varifold.studio.errors import Cancelled

METHODS = ["optimal transport", "mkl"]


@pytest.fixture
def palette(call):
    return partial(call, "Palette")


def noise(count: int = 1, height: int = 24, width: int = 30, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def style(seed: int = 9, count: int = 1) -> torch.Tensor:
    """Greenish pictures of another size, each its own."""
    return 0.2 + noise(count, 17, 13, seed) * torch.tensor([0.2, 0.7, 0.3])


def left(count: int, height: int, width: int, value: float = 1.0) -> torch.Tensor:
    mask = torch.zeros(count, height, width)
    mask[..., : width // 2] = value
    return mask


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("keep_lightness", [False, True])
def test_at_strength_0_the_pictures_are_as_they_were(method, keep_lightness, palette):
    images = 3 * noise(2) - 1
    (image,) = palette(images=images, style=style(), strength=0.0, method=method, keep_lightness=keep_lightness)
    assert torch.equal(image, images)


@pytest.mark.parametrize("method", METHODS)
def test_half_the_strength_is_halfway(method, palette):
    given = {"images": noise(), "style": style(), "method": method}
    (half,), (full,) = palette(**given, strength=0.5), palette(**given)
    assert torch.allclose(half, (noise() + full) / 2, atol=1e-6)
    assert (full - noise()).abs().mean() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_the_colours_are_those_of_the_style(method, palette):
    (image,) = palette(images=noise(height=80, width=100), style=style(), method=method, smooth=0.0)
    for moment in (torch.mean, torch.std):
        assert (moment(image, (0, 1, 2)) - moment(style(), (0, 1, 2))).abs().max() < 0.03


def test_each_picture_has_its_own_style_or_all_the_same(palette):
    images, styles = noise(3), style(count=3)
    (one_each,) = palette(images=images, style=styles)
    (shared,) = palette(images=images, style=styles[:1])
    (times_three,) = palette(images=images[:1], style=styles)
    assert one_each.shape == shared.shape == times_three.shape == images.shape
    for number in range(3):
        assert torch.equal(one_each[number], palette(images=images[[number]], style=styles[[number]])[0][0])
        assert torch.equal(shared[number], palette(images=images[[number]], style=styles[:1])[0][0])
        assert torch.equal(times_three[number], palette(images=images[:1], style=styles[[number]])[0][0])


def test_another_number_of_styles_is_refused(palette):
    with pytest.raises(ValueError, match="3 images and 2 pictures in style"):
        palette(images=noise(3), style=style(count=2))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (33, 65), (300, 7)])
@pytest.mark.parametrize("method", METHODS)
def test_any_size(size, method, palette):
    for smooth in (0.0, 0.5, 1.0):
        (image,) = palette(images=noise(1, *size), style=style(), method=method, smooth=smooth)
        assert image.shape == (1, *size, 3) and image.isfinite().all() and image.min() >= 0 and image.max() <= 1
    (image,) = palette(images=noise(), style=noise(1, *size, seed=2), method=method)
    assert image.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_style_of_one_colour_gives_that_colour(grey, method, palette):
    (image,) = palette(images=noise(), style=torch.full((1, 5, 5, 3), grey), method=method, smooth=0.0)
    assert (image - grey).abs().max() < 1 / 255
    brown = torch.tensor([0.5, 0.3, 0.1])
    (image,) = palette(images=noise(), style=brown.expand(1, 5, 5, 3), method=method, smooth=0.0)
    assert (image - brown).abs().max() < 1 / 255


def test_outside_the_mask_nothing_changes_and_inside_only_its_colours_count(palette):
    images, mask = noise(2), left(1, 24, 30)
    (image,) = palette(images=images, style=style(), mask=mask, smooth=0.0)
    assert torch.equal(image[..., 15:, :], images[..., 15:, :])
    (alone,) = palette(images=images[..., :15, :], style=style(), smooth=0.0)
    assert torch.allclose(image[..., :15, :], alone, atol=1e-6)


def test_a_soft_mask_recolours_in_part(palette):
    (full,) = palette(images=noise(), style=style())
    (part,) = palette(images=noise(), style=style(), mask=torch.full((24, 30), 0.25))
    assert torch.allclose(part, noise() + (full - noise()) / 4, atol=1e-6)


def test_masks_of_other_sizes_are_scaled(palette):
    given = {"images": noise(2), "style": style(2)}
    (expected,) = palette(**given, mask=left(2, 24, 30))
    (image,) = palette(**given, mask=left(2, 48, 60))
    assert torch.allclose(image, expected, atol=1e-6)
    (image,) = palette(**given, mask=torch.ones(1, 3, 4), style_mask=torch.ones(1, 64, 64))
    assert torch.allclose(image, palette(**given)[0], atol=1e-6)


def test_another_number_of_masks_is_refused(palette):
    with pytest.raises(ValueError, match="3 masks for 2 pictures"):
        palette(images=noise(2), style=style(), mask=torch.ones(3, 24, 30))
    with pytest.raises(ValueError, match="2 masks for 1 pictures"):
        palette(images=noise(2), style=style(), style_mask=torch.ones(2, 17, 13))


def test_only_what_the_style_mask_shows_is_taken(palette):
    half = torch.cat([style(), noise(1, 17, 13)], 2)
    (image,) = palette(images=noise(), style=half, style_mask=left(1, 17, 26))
    assert torch.equal(image, palette(images=noise(), style=style())[0])


def test_the_empty_mask_of_load_image_is_no_mask(palette):
    given = {"images": noise(), "style": style()}
    (image,) = palette(**given, mask=torch.zeros(1, 64, 64), style_mask=torch.zeros(1, 64, 64))
    assert torch.equal(image, palette(**given)[0])


def test_an_empty_mask_leaves_its_picture_and_an_empty_style_is_refused(palette):
    mask = torch.stack([torch.zeros(24, 30), torch.ones(24, 30)])
    (image,) = palette(images=noise(2), style=style(), mask=mask)
    assert torch.equal(image[0], noise(2)[0]) and not torch.equal(image[1], noise(2)[1])
    for given in (
        {"style": style(), "style_mask": torch.zeros(1, 17, 13)},
        {"style": torch.cat([style(), torch.zeros(1, 17, 13, 1)], -1)},
    ):
        with pytest.raises(ValueError, match="no colours to take"):
            palette(images=noise(), **given)


def test_what_is_transparent_gives_no_colours(palette):
    alpha = left(1, 24, 30)[..., None]
    (image,) = palette(images=torch.cat([noise(), alpha], -1), style=style(), smooth=0.0)
    assert image.shape == (1, 24, 30, 3)
    (alone,) = palette(images=noise()[..., :15, :], style=style(), smooth=0.0)
    assert torch.allclose(image[..., :15, :], alone, atol=1e-6)
    half = torch.cat([torch.cat([style(), noise(1, 17, 13)], 2), left(1, 17, 26)[..., None]], -1)
    assert torch.equal(palette(images=noise(), style=half)[0], palette(images=noise(), style=style())[0])


@pytest.mark.parametrize("name", ["images", "style", "mask", "style_mask"])
def test_nan_is_refused(name, palette):
    given = {"images": noise(), "style": style(), "mask": torch.ones(1, 24, 30), "style_mask": torch.ones(1, 17, 13)}
    given[name] = given[name].clone()
    given[name][0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        palette(**given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_pictures_of_other_types_come_out_in_float32(dtype, palette):
    given = {"images": noise(), "style": style(), "mask": left(1, 24, 30), "style_mask": left(1, 17, 13)}
    (image,) = palette(**{name: tensor.to(dtype) for name, tensor in given.items()})
    assert image.dtype == torch.float32 and (image - palette(**given)[0]).abs().mean() < 5e-3


def test_the_seed_decides_and_nothing_given_is_modified(palette):
    given = {"images": noise(2), "style": style(), "mask": left(1, 24, 30)}
    before = {name: tensor.clone() for name, tensor in given.items()}
    (image,) = palette(**given, seed=2**64 - 1)
    assert torch.equal(image, palette(**given, seed=2**64 - 1)[0])
    assert not torch.equal(image, palette(**given, seed=1)[0])
    with torch.inference_mode():
        image.fill_(0.5)
    assert all(torch.equal(given[name], before[name]) for name in given)


def test_progress_counts_pictures_to_the_end(palette, events):
    palette(images=noise(3), style=style())
    assert [(data["value"], data["max"]) for event, data in events if event == "progress"] == [
        (0, 3),
        (1, 3),
        (2, 3),
        (3, 3),
    ]


def test_cancelling_stops_at_the_next_picture(palette, host):
    heard = []

    def listen(event, data):
        heard.append(data["value"])
        if data["value"] == 2:
            host.cancel.set()

    host.listener = listen
    with pytest.raises(Cancelled):
        palette(images=noise(9), style=style())
    assert heard == [0, 1, 2]
