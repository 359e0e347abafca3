"""Palettes and pictures in few colours, against published Oklab values, brute force and scipy's k-means."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from numpy import asarray
from PIL import Image
from scipy.cluster.vq import kmeans2

from varifold.models.style.oklab import oklab
from varifold.models.style.snap import choose, snap

PICTURES = Path(__file__).parent.parent / "nodes" / "pictures"
SMALL = (113, 75)  # 7,399 different colours; in full it has 31,063, more than are told apart


def photo(size: tuple[int, int] | None = SMALL) -> torch.Tensor:
    with Image.open(PICTURES / "cat.jpg") as file:
        picture = file.convert("RGB")
    picture = picture.resize(size, Image.Resampling.BOX) if size else picture
    return levels(torch.from_numpy(asarray(picture).copy())).reshape(-1, 3)


def levels(values) -> torch.Tensor:
    return torch.as_tensor(values).float() / 255


def noise(count: int) -> torch.Tensor:
    # An odd step gives no colour twice before all 2²⁴ have been.
    code = torch.arange(count) * 10_000_019 % 2**24
    return levels(torch.stack([code >> 16, code >> 8 & 255, code & 255], 1))


def ramp(*ends: tuple[int, int, int]) -> torch.Tensor:
    first, last = (torch.tensor(end).double() for end in ends)
    return levels((first + (last - first) * torch.arange(256)[:, None] / 255).round())


def distances(rgb: torch.Tensor, palette: torch.Tensor) -> torch.Tensor:
    return (oklab(rgb.double())[:, None] - oklab(palette.double())).norm(dim=-1)


def root_mean_square_error(rgb: torch.Tensor, count: int) -> float:
    snapped = snap(rgb, choose(rgb, count))
    return (oklab(rgb.double()) - oklab(snapped.double())).square().sum(1).mean().sqrt().item()


def colours(rgb: torch.Tensor) -> set[tuple]:
    return {tuple(colour) for colour in (rgb.reshape(-1, 3) * 255).round().int().tolist()}


def shuffled(rgb: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return rgb[torch.randperm(len(rgb), generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        pytest.param((0, 0, 0), (0, 0, 0), id="black"),
        pytest.param((255, 255, 255), (1, 0, 0), id="white"),
        pytest.param((255, 0, 0), (0.62796, 0.22486, 0.12585), id="red"),
        pytest.param((0, 255, 0), (0.86644, -0.23389, 0.17950), id="lime"),
        pytest.param((0, 0, 255), (0.45201, -0.03246, -0.31153), id="blue"),
        pytest.param((0, 255, 255), (0.90540, -0.14944, -0.03940), id="cyan"),
        pytest.param((255, 0, 255), (0.70167, 0.27457, -0.16916), id="magenta"),
        pytest.param((255, 255, 0), (0.96798, -0.07137, 0.19857), id="yellow"),
        pytest.param((0, 128, 0), (0.51975, -0.14030, 0.10768), id="green"),
        pytest.param((102, 51, 153), (0.44027, 0.08818, -0.13386), id="rebeccapurple"),
    ],
)
def test_oklab_of_the_colours_of_css_is_the_published_one(rgb, expected):
    for dtype in (torch.float32, torch.float64):
        lab = oklab((torch.tensor(rgb) / 255).to(dtype))
        assert lab.dtype == dtype
        assert lab.tolist() == pytest.approx(expected, abs=2e-5)


def test_greys_have_no_hue_and_the_cube_root_of_their_light():
    level = torch.arange(256).double() / 255
    lightness, *hue = oklab(level[:, None].expand(-1, 3)).unbind(1)
    assert max(axis.abs().max() for axis in hue) < 1e-6
    assert lightness[10] ** 3 == pytest.approx(10 / 255 / 12.92, rel=1e-6)
    assert lightness[11] ** 3 == pytest.approx(((11 / 255 + 0.055) / 1.055) ** 2.4, rel=1e-6)
    assert lightness.diff().min() > 0


def test_oklab_of_colours_out_of_range_is_finite():
    assert oklab(torch.tensor([[-1.0, 2.0, 0.5], [-0.01, -0.01, -0.01], [9.0, -3.0, 0.0]])).isfinite().all()


@pytest.mark.parametrize("count", [1, 2, 5, 16, 64, 256])
def test_a_palette_is_of_different_colours_of_the_picture_and_no_more_than_asked_for(count):
    rgb = photo()
    palette = choose(rgb, count)
    assert len(colours(palette)) == len(palette) <= count
    assert len(palette) > 0.9 * count
    assert colours(palette) <= colours(rgb)
    assert torch.equal(snap(rgb, palette).unique(dim=0), palette.unique(dim=0))


@pytest.mark.parametrize("size", [SMALL, None], ids=["thousands", "tens of thousands"])
def test_the_palette_does_not_depend_on_where_the_pixels_are(size):
    rgb = photo(size)
    palette = choose(rgb, 16)
    assert torch.equal(choose(rgb.flip(0), 16), palette)
    assert torch.equal(choose(shuffled(rgb), 16), palette)


@pytest.mark.parametrize("count", [5, 6, 256])
def test_a_picture_of_few_colours_keeps_them_the_most_frequent_first(count):
    few = levels([[9, 0, 0], [250, 240, 1], [10, 0, 0], [0, 128, 255], [255, 255, 255]])
    rgb = shuffled(few.repeat_interleave(torch.tensor([3, 40, 7, 1, 20]), 0))
    palette = choose(rgb, count)
    assert torch.equal(palette, few[[1, 4, 2, 0, 3]])
    assert torch.equal(snap(rgb, palette), rgb)


def test_colours_between_two_levels_move_to_the_nearer():
    rgb = torch.rand(12, 3, generator=torch.Generator().manual_seed(0))
    assert (snap(rgb, choose(rgb, 12)) - rgb).abs().max() < 0.501 / 255


@pytest.mark.parametrize(
    "ends",
    [
        ((0, 0, 0), (255, 255, 255)),
        ((0, 0, 0), (0, 0, 255)),
        ((255, 255, 0), (255, 255, 255)),
        ((0, 255, 0), (255, 255, 0)),
        ((0, 255, 255), (255, 255, 255)),
    ],
    ids=["grey", "blue", "yellow to white", "green to yellow", "cyan to white"],
)
def test_a_ramp_of_256_colours_keeps_every_one(ends):
    rgb = ramp(*ends)
    palette = choose(rgb, 256)
    assert colours(palette) == colours(rgb)
    assert torch.equal(snap(rgb, palette), rgb)


def test_clusters_far_apart_are_found_exactly_the_largest_first():
    centres = levels(torch.cartesian_prod(*[torch.tensor([60, 140, 220])] * 3))
    sizes = [2000 - 73 * number for number in range(len(centres))]
    around = levels([[step if axis == other else 0 for other in range(3)] for axis in range(3) for step in (-2, 2)])
    clouds = [
        torch.cat([centre.expand(size, 3), (centre + around).repeat_interleave(size // 20, 0)])
        for centre, size in zip(centres, sizes, strict=True)
    ]
    palette = choose(shuffled(torch.cat(clouds)), len(centres))
    assert torch.equal((palette * 255).round(), (centres * 255).round())


@pytest.mark.parametrize("count", [16, 32])
def test_the_palette_of_a_photo_has_the_most_frequent_first(count):
    rgb = photo()
    palette = choose(rgb, count)
    times = [int((snap(rgb, palette) == colour).all(1).sum()) for colour in palette]
    assert times == sorted(times, reverse=True)


def test_a_palette_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing: all pixels are transparent"):
        choose(torch.zeros(0, 3), 4)


def test_up_to_16384_colours_the_palette_is_of_the_picture():
    rgb = noise(16384)
    assert colours(choose(rgb, 16)) <= colours(rgb)


@pytest.mark.parametrize("count", [2, 16, 256])
def test_above_16384_colours_the_palette_is_within_half_a_coarse_level_of_the_picture(count):
    rgb = noise(20000)
    palette = choose(rgb, count)
    assert len(colours(palette)) == len(palette) == count
    assert torch.cdist(palette, rgb, p=math.inf).amin(1).max() < 0.501 / 31
    assert colours(snap(rgb, palette)) <= colours(palette)


@pytest.mark.parametrize(
    ("rgb", "count"),
    [
        *(pytest.param(photo(), count, id=f"photo, {count}") for count in (2, 4, 8, 16, 32, 64)),
        pytest.param(photo(None), 16, id="photo of many colours, 16"),
        pytest.param(noise(20000), 16, id="noise, 16"),
    ],
)
def test_a_snapped_picture_is_about_as_near_as_with_the_palette_of_scipys_k_means(rgb, count):
    lab = oklab(rgb.double()).numpy()
    errors = []
    for seed in range(2):
        centres, nearest = kmeans2(lab, count, iter=20, minit="++", rng=seed)
        errors.append(math.sqrt(((lab - centres[nearest]) ** 2).sum(1).mean()))
    assert root_mean_square_error(rgb, count) < 1.15 * min(errors)


@pytest.mark.parametrize("size", [SMALL, None], ids=["thousands", "tens of thousands"])
def test_more_colours_are_no_further_from_the_picture(size):
    rgb = photo(size)
    errors = [root_mean_square_error(rgb, count) for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)]
    assert all(more < 1.02 * fewer for fewer, more in pairwise(errors))
    assert errors[-1] < errors[0] / 10


@pytest.mark.parametrize("count", [1, 2, 16, 40, 256])
def test_each_colour_becomes_the_nearest_of_the_palette(count):
    rgb, palette = noise(4000), shuffled(noise(9000))[:count]
    snapped = snap(rgb, palette)
    assert colours(snapped) <= colours(palette)
    offset = (oklab(rgb.double()) - oklab(snapped.double())).norm(dim=1)
    assert (offset - distances(rgb, palette).amin(1)).max() < 1e-5


@pytest.mark.parametrize(
    "rgb", [photo(), photo(None), noise(20000), ramp((255, 255, 0), (255, 255, 255))], ids=lambda rgb: f"{len(rgb)}"
)
@pytest.mark.parametrize("count", [3, 64])
def test_snapping_again_changes_nothing(rgb, count):
    palette = choose(rgb, count)
    snapped = snap(rgb, palette)
    assert torch.equal(snap(snapped, palette), snapped)


def test_snapping_keeps_the_shape_and_the_picture_given():
    rgb = noise(24).reshape(2, 3, 4, 3)
    before = rgb.clone()
    red = levels([[255, 0, 0]])
    assert torch.equal(snap(rgb, red), red.expand(2, 3, 4, 3))
    assert torch.equal(rgb, before)
    assert snap(rgb[:0], red).shape == (0, 3, 4, 3)


def test_colours_out_of_range_are_taken_as_the_nearest_in_range():
    wild, tame = torch.tensor([[1.5, -0.2, 0.0], [-9.0, 0.5, 2.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 1.0]])
    assert torch.equal(choose(wild, 2), choose(tame, 2))
    assert torch.equal(snap(wild, tame), tame)
