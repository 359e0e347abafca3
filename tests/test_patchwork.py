"""A picture laid out of patches: which are taken, from where, and how they come to lie."""

import math

import pytest
import torch
from torch import Tensor

from varifold.models.style import patchwork as module
from varifold.models.style.atlas import TURNS, Atlas, Patches, atlas
from varifold.models.style.patchwork import Size, patchwork
from varifold.models.style.tensor import blur

torch.set_num_threads(1)

SIZES = [Size(13, 5), Size(9, 4), Size(7, 3)]
SEEN = 0.01  # a difference of layers of about 1


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def layers(height: int = 60, width: int = 72, seed: int = 1) -> Tensor:
    """Six layers [6, H, W] with things of a few pixels in them."""
    return 4 * blur(noise(6, height, width, seed=seed) - 0.5, 1.5)


def itself(picture: Tensor) -> Tensor:
    """Guides that tell places apart by all that is there."""
    return 3 * picture


def unturned(picture: Tensor) -> Atlas:
    """A single page with a picture, as it is."""
    side = max(picture.shape[1:])
    page = torch.zeros(1, 6, side, side)
    inside = torch.zeros(1, side, side)
    page[0, :, : picture.shape[1], : picture.shape[2]] = picture
    inside[0, : picture.shape[1], : picture.shape[2]] = 1
    return Atlas(3 * page, page, inside, torch.ones(1))


def placed(height: int, width: int) -> Tensor:
    """Layers that say where in their picture they are."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([y, x, torch.ones_like(x), *torch.zeros(3, height, width)])


# Pages


def test_pages_are_the_pictures_in_eight_turns():
    picture = layers(40, 40)
    pages = atlas([picture], itself, [None], [1.0])
    assert pages.layers.shape == (TURNS, 6, 40, 40) and pages.side == 40
    quarters = pages.layers[::2]
    for turns, page in enumerate(quarters):
        assert torch.equal(page, picture.rot90(turns, (1, 2)))
    y, x = torch.meshgrid(torch.arange(40.0) - 19.5, torch.arange(40.0) - 19.5, indexing="ij")
    bowl = torch.exp(-((x - 8) ** 2 + y**2) / 18).expand(6, -1, -1)
    pages = atlas([bowl], itself, [None], [1.0])
    angles = []
    for page in pages.layers[:, 0]:
        weight = page / page.sum()
        angles.append(math.degrees(math.atan2(float((weight * y).sum()), float((weight * x).sum()))) % 360)
    assert sorted(round(angle) % 360 for angle in angles) == [0, 45, 90, 135, 180, 225, 270, 315]


def test_guides_are_of_the_turned_picture():
    picture = layers(30, 50)
    pages = atlas([picture], lambda turned: turned.diff(dim=2, prepend=turned[..., :1]), [None], [1.0])
    assert torch.equal(
        pages.guides[2][:, :50, :30], picture.rot90(1, (1, 2)).diff(dim=2, prepend=pages.layers[2][:, :50, :1])
    )


def test_pictures_of_several_sizes_share_an_atlas():
    pages = atlas([layers(30, 50), layers(44, 20)], itself, [None, None], [1.0, 1.0])
    assert pages.layers.shape == (2 * TURNS, 6, 50, 50)
    assert torch.equal(pages.inside[0], torch.nn.functional.pad(torch.ones(30, 50), (0, 0, 0, 20)))
    assert torch.equal(pages.inside[TURNS], torch.nn.functional.pad(torch.ones(44, 20), (0, 30, 0, 6)))


@pytest.mark.parametrize("side", [7, 10])
def test_patches_are_there_where_they_are_wholly_inside(side):
    pages = atlas([placed(30, 50)], itself, [None], [1.0])
    there = Patches(pages, side).there.unflatten(0, pages.inside.shape)
    for turn, (height, width) in enumerate([(30, 50), (50, 30)] * 2):
        expected = torch.zeros(50, 50, dtype=torch.bool)
        expected[: height - side + 1, : width - side + 1] = True
        assert torch.equal(there[2 * turn], expected)
        eighth = there[2 * turn + 1]
        assert 0 < eighth.sum() < expected.sum() and not (eighth & ~expected).any()


def test_of_a_mask_smaller_than_a_patch_those_with_most_of_it_are_there():
    mask = torch.zeros(30, 50)
    mask[-4:, -4:] = 1
    pages = atlas([torch.full((6, 30, 50), 0.7)], itself, [mask], [1.0])
    there = Patches(pages, 9).there.unflatten(0, (TURNS, 50, 50))
    assert there[0, 21, 41] and not there[0, :21].any() and not there[0, :, :41].any()
    assert not there[:, 42:].any() and not there[:, :, 42:].any()
    made = patchwork(noise(6, 40, 40), pages, SIZES, looks=1.0)
    torch.testing.assert_close(made, torch.full((6, 40, 40), 0.7), atol=1e-3, rtol=0)


def test_a_patch_is_cut_at_its_place():
    pages = unturned(placed(30, 50))
    patches = Patches(pages, 5)
    cut = patches.cut(torch.tensor([7 * 50 + 11, 25 * 50 + 45]))
    assert cut.shape == (2, 6, 5, 5)
    for patch, (y, x) in zip(cut, [(7, 11), (25, 45)], strict=True):
        assert torch.equal(patch, pages.layers[0, :, y : y + 5, x : x + 5])


# Laying


def test_a_picture_is_laid_of_itself():
    picture = layers()
    made = patchwork(itself(picture), unturned(picture), SIZES, looks=1.0)
    assert (made - picture).abs().mean() < SEEN
    turned = patchwork(itself(picture), atlas([picture], itself, [None], [1.0]), SIZES, looks=1.0)
    assert (turned - picture).abs().mean() < 0.1 * picture.abs().mean()


def test_a_turned_picture_is_laid_of_patches_turned_with_it():
    picture = layers()
    made = patchwork(itself(picture.rot90(1, (1, 2))), atlas([picture], itself, [None], [1.0]), SIZES, looks=1.0)
    assert (made - picture.rot90(1, (1, 2))).abs().mean() < 0.1 * picture.abs().mean()


@pytest.mark.parametrize("size", [(40, 60), (13, 13), (13, 80), (31, 14)])
def test_what_is_laid_is_of_the_pages_and_reaches_every_border(size):
    """All that the pages hold is one pattern; zeros are around it."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(30.0), indexing="ij")
    tones = torch.stack([0.2 + 0.1 * torch.sin(x), 0.5 + 0.1 * torch.cos(y), *torch.full((4, 48, 30), 0.7)])
    pages = atlas([tones], itself, [None], [1.0])
    made = patchwork(noise(6, *size), pages, SIZES, looks=1.0)
    assert made.shape == (6, *size)
    assert made[0].min() >= 0.1 - 1e-4 and made[0].max() <= 0.3 + 1e-4
    assert made[1].min() >= 0.4 - 1e-4 and made[1].max() <= 0.6 + 1e-4
    torch.testing.assert_close(made[2:], torch.full((4, *size), 0.7), atol=1e-3, rtol=0)


def test_neighbours_lie_beside_each_other_in_their_picture_too(monkeypatch):
    """Where all patches are about as far from what is wanted, places go on one by one across a row of pixels."""
    pages = unturned(placed(60, 60))._replace(guides=noise(1, 6, 60, 60, seed=3))

    def going_on() -> float:
        made = patchwork(5 + noise(6, 50, 50, seed=4), pages, SIZES[:1], looks=1.0)
        return float(((made[1].diff(dim=1) - 1).abs() < 0.01).float().mean())

    together = going_on()
    monkeypatch.setattr(module, "SWEEPS", 0)
    assert together > 3 * going_on()


def test_only_what_the_mask_shows_is_taken():
    outside = torch.zeros(6, 60, 72)
    outside[:, :, 36:] = 1.0
    picture = torch.where(outside > 0, 9.0, layers())
    mask = 1 - outside[0]
    pages = atlas([picture], itself, [mask], [1.0])
    assert Patches(pages, 9).there.any()
    made = patchwork(itself(picture), pages, SIZES, looks=1.0)
    bound = picture[:, :, :36].abs().max()
    assert made[:3].abs().max() <= bound + 1e-3 < 4
    whole = patchwork(itself(picture), atlas([picture], itself, [None], [1.0]), SIZES, looks=1.0)
    assert whole[:3].max() > 8


def test_a_mask_of_one_picture_is_not_that_of_another():
    low, high = (torch.full((6, 40, 40), value) for value in (0.2, 0.8))
    pages = atlas([low, high], itself, [torch.zeros(40, 40), None], [1.0, 1.0])
    made = patchwork(torch.zeros(6, 30, 30), pages, SIZES, looks=1.0)
    torch.testing.assert_close(made[:3], torch.full((3, 30, 30), 0.8), atol=1e-4, rtol=0)


def test_the_contrast_of_detail_is_that_of_its_patches():
    """Layers of patches that have nothing to do with each other would be paler for lying over each other."""
    pages = unturned(layers(70, 70, seed=5))._replace(guides=noise(1, 6, 70, 70, seed=3))
    made = patchwork(noise(6, 60, 72, seed=4), pages, SIZES[:1], looks=1.0)
    assert 0.85 < made[3].std() / pages.layers[0, 3].std() < 1.2
    assert made[0].std() / pages.layers[0, 0].std() < 0.8


def test_of_many_patches_those_tried_are_of_all_pages(monkeypatch):
    monkeypatch.setattr(module, "TRIED", 200)
    low, high = (torch.full((6, 40, 40), value) for value in (0.2, 0.8))
    made = patchwork(itself(high), atlas([low, high], itself, [None, None], [1.0, 1.0]), SIZES[:1], looks=1.0)
    torch.testing.assert_close(made[:3], torch.full((3, 40, 40), 0.8), atol=1e-4, rtol=0)


@pytest.mark.parametrize("layer", [0, 3])
def test_guides_choose(layer):
    """Dark is laid where dark is wanted."""
    picture = layers() / 10
    picture[layer, :, :36] += 1
    wanted = torch.zeros(6, 40, 40)
    wanted[layer, :20] = 3
    made = patchwork(wanted, atlas([picture], itself, [None], [1.0]), SIZES, looks=0.1)
    assert made[layer, :14].min() > made[layer, 26:].max()


def test_the_seed_alone_decides():
    picture, wanted = layers(), noise(6, 40, 50)
    pages = atlas([picture], itself, [None], [1.0])
    first, other = (patchwork(wanted, pages, SIZES, looks=1.0, seed=seed) for seed in (3, 4))
    torch.manual_seed(99)
    assert torch.equal(patchwork(wanted, pages, SIZES, looks=1.0, seed=3), first)
    assert (first - other).abs().mean() > SEEN


def test_each_pass_is_told_of_and_goes_on_from_the_last():
    states = []
    pages = atlas([layers()], itself, [None], [1.0])
    made = patchwork(noise(6, 40, 50), pages, SIZES, looks=1.0, passed=lambda state: states.append(state.clone()))
    assert [tuple(state.shape) for state in states] == [(6, 40, 50)] * len(SIZES)
    assert torch.equal(states[-1], made)
    alone = patchwork(noise(6, 40, 50), pages, SIZES[:1], looks=1.0)
    assert torch.equal(states[0], alone)


def test_what_stands_is_kept_as_far_as_it_counts():
    """Without it, guides that say nothing let the next pass lay other things."""
    pages = atlas([layers()], lambda picture: 0 * picture, [None], [1.0])
    changes = []
    for looks in (0.0, 10.0):
        states: list[Tensor] = []
        patchwork(torch.zeros(6, 40, 50), pages, SIZES[:2], looks=looks, passed=states.append)
        changes.append((states[1][3] - states[0][3]).square().mean())
    assert changes[1] < 0.8 * changes[0]


def test_what_is_raised_between_passes_ends_it():
    def stop(state: Tensor) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        patchwork(noise(6, 40, 50), atlas([layers()], itself, [None], [1.0]), SIZES, looks=1.0, passed=stop)
