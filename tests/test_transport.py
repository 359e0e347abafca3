"""Colours moved onto others: closed forms in float64, and pictures that keep what is theirs."""

from pathlib import Path

import pytest
import torch
from numpy import array
from PIL import Image
from scipy.linalg import sqrtm

from varifold.models.style import guided
from varifold.models.style.oklab import oklab, srgb
from varifold.models.style.recolour import SAMPLES, colours_of, recolour
from varifold.models.style.transport import KNOTS, METHODS, MKL, SLICED, fit, mkl, monotone, sliced

PICTURES = Path(__file__).parent.parent / "nodes" / "pictures"


def photo(name: str, width: int = 120) -> torch.Tensor:
    with Image.open(PICTURES / f"{name}.jpg") as file:
        small = file.convert("RGB").resize((width, width * 2 // 3))
    return torch.from_numpy(array(small)).float() / 255


def cloud(seed: int, count: int = 4000, scale: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = scale * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64) @ mixing + mixing[0]


def in_colours_of(style: torch.Tensor, picture: torch.Tensor, method: str = SLICED, seed: int = 0, **given):
    transport = fit(colours_of(picture, seed=seed), colours_of(style, seed=seed), method, seed)
    return recolour(picture, transport, **given)


def distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """Sliced Wasserstein distance between as many colours [N, 3], along 64 directions."""
    directions = torch.randn(3, 64, generator=torch.Generator().manual_seed(5), dtype=left.dtype)
    directions /= directions.norm(dim=0)
    return float(((left @ directions).sort(0)[0] - (right @ directions).sort(0)[0]).square().mean().sqrt())


def grain(picture: torch.Tensor) -> torch.Tensor:
    """How much lightness varies from pixel to pixel, by second differences."""
    return oklab(picture)[..., 0].diff(n=2, dim=1).square().mean().sqrt()


def test_mkl_gives_the_mean_and_covariance_of_the_other():
    source, target = cloud(1), cloud(2)
    moved = mkl(source, target)(source)
    assert torch.allclose(moved.mean(0), target.mean(0), atol=1e-12)
    assert torch.allclose(moved.T.cov(), target.T.cov(), atol=1e-12)


def test_mkl_is_the_map_of_the_paper():
    source, target = cloud(1), cloud(2)
    at, to = (torch.cov(each.T, correction=0).numpy() for each in (source, target))
    root = sqrtm(at)
    inverse = torch.linalg.inv(torch.from_numpy(root)).numpy()
    expected = inverse @ sqrtm(root @ to @ root) @ inverse
    assert torch.allclose(mkl(source, target).matrix, torch.from_numpy(expected), atol=1e-9)


def test_on_a_line_the_sorted_of_one_go_to_the_sorted_of_the_other():
    generator = torch.Generator().manual_seed(3)
    source = torch.rand(KNOTS, generator=generator, dtype=torch.float64)
    source = (source.argsort().argsort() + 0.25 * source) / KNOTS  # none closer than knots are merged
    target = torch.randn(KNOTS, generator=generator, dtype=torch.float64)
    assert torch.allclose(monotone(source, target)(source).sort()[0], target.sort()[0], atol=1e-10)


def test_between_its_knots_a_map_is_linear_and_outside_it_shifts():
    along = monotone(torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([2.0, 5.0], dtype=torch.float64))
    x = torch.tensor([-0.5, 0.0, 0.1, 0.5, 1.0, 3.0], dtype=torch.float64)
    assert torch.allclose(along(x), torch.tensor([1.5, 2.0, 2.3, 3.5, 5.0, 7.0], dtype=torch.float64))


def test_many_of_the_same_go_to_the_mean_of_where_they_should():
    same, target = torch.full((50,), 0.4, dtype=torch.float64), torch.arange(101, dtype=torch.float64)
    assert torch.allclose(monotone(same, target)(same), torch.tensor(50.0, dtype=torch.float64))


def test_sliced_transport_reaches_what_no_linear_map_does():
    generator = torch.Generator().manual_seed(4)
    source, corners = cloud(1), torch.randint(0, 2, (4000, 3), generator=generator) + 0.0
    target = 0.5 * corners.double() + 0.05 * cloud(2, scale=1.0)
    linear = mkl(source, target)(source)
    moved = linear
    for slices in sliced(linear, target, seed=0):
        moved = slices(moved)
    assert distance(moved, target) < 0.3 * distance(linear, target)


def test_along_one_rotation_a_round_matches_every_quantile():
    source, target = cloud(1), cloud(2)
    (slices,) = sliced(source, target, seed=0, rounds=1)
    levels = torch.linspace(0, 1, KNOTS, dtype=torch.float64)
    for axis in slices.rotation.T:
        found, wanted = ((points @ axis).quantile(levels) for points in (slices(source), target))
        assert (found - wanted).abs().max() < 1e-3
    assert torch.allclose(slices.rotation @ slices.rotation.T, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("smooth", [0, 0.5])
@pytest.mark.parametrize("method", METHODS)
def test_a_picture_in_its_own_colours_is_itself(method, smooth):
    cat = photo("cat")
    assert (in_colours_of(cat, cat, method, smooth=smooth) - cat).abs().max() < 1e-3


@pytest.mark.parametrize("smooth", [0, 0.5])
@pytest.mark.parametrize("keep_lightness", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("style", [photo("coffee").mean(-1, keepdim=True), torch.tensor(0.3)], ids=["greys", "grey"])
def test_a_grey_style_gives_grey(style, method, keep_lightness, smooth):
    given = in_colours_of(style.expand(80, 120, 3), photo("cat"), method, keep_lightness=keep_lightness, smooth=smooth)
    assert (given.amax(-1) - given.amin(-1)).max() < 1 / 255
    if keep_lightness:
        assert (oklab(given) - oklab(photo("cat")))[..., 0].abs().max() < 5e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_picture_becomes_one_colour_of_the_style(value, method):
    coffee = photo("coffee")
    given = in_colours_of(coffee, torch.full((9, 14, 3), value), method)
    assert given.isfinite().all() and (given - given[0, 0]).abs().max() < 1e-4
    assert (oklab(given[0, 0]) - oklab(coffee).mean((0, 1))).abs().max() < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("smooth", [0.0, 0.7])
def test_in_strips_it_is_what_it_is_as_a_whole(smooth, method, monkeypatch):
    cat, coffee = photo("cat", 450), photo("coffee")
    whole = in_colours_of(coffee, cat, method, smooth=smooth)
    monkeypatch.setattr(guided, "STRIP", 450 * 7)
    assert len(list(guided.strips(cat))) == 43
    assert (in_colours_of(coffee, cat, method, smooth=smooth) - whole).abs().max() < 1e-6


def test_keeping_lightness_changes_only_hue_and_chroma():
    cat = photo("cat")
    given = in_colours_of(photo("coffee"), cat, keep_lightness=True)
    before, after = oklab(cat), oklab(given)
    assert (after - before)[..., 0].abs().max() < 5e-3
    assert (after - before)[..., 1:].abs().mean() > 0.03


def test_smoothing_keeps_grain_from_growing_and_still_gives_the_colours():
    cat = (photo("cat", 450) + 0.01 * torch.randn(300, 450, 3, generator=torch.Generator().manual_seed(6))).clamp(0, 1)
    night = torch.where(photo("coffee") > 0.5, photo("coffee").flip(-1), 0.1)  # two clusters: what posterises
    rough, smoothed = (in_colours_of(night, cat, smooth=smooth) for smooth in (0, 0.5))
    assert grain(smoothed) < 0.75 * grain(rough)
    colours = [colours_of(each) for each in (rough, smoothed, cat, night.repeat(4, 4, 1))]
    far = [distance(each, colours[-1]) for each in colours[:-1]]
    assert far[0] < far[1] < 0.7 * far[2]


def test_the_seed_decides():
    cat, coffee = photo("cat"), photo("coffee")
    first = in_colours_of(coffee, cat, seed=3)
    assert torch.equal(first, in_colours_of(coffee, cat, seed=3))
    other = in_colours_of(coffee, cat, seed=4)
    assert not torch.equal(first, other) and (first - other).abs().mean() < 0.02


def test_of_many_pixels_some_stand_for_all_evenly():
    ramp = torch.linspace(0, 1, 4 * SAMPLES).reshape(512, -1, 1).expand(-1, -1, 3)
    colours = colours_of(ramp, seed=1)
    assert colours.shape == (SAMPLES, 3) and torch.equal(colours, colours_of(ramp, seed=1))
    assert (srgb(colours)[:, 0] - torch.linspace(0, 1, SAMPLES)).abs().max() < 1e-4


def test_only_what_counts_is_sampled():
    picture = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(1))
    weight = torch.zeros(4, 5)
    assert colours_of(picture, weight).shape == (0, 3)
    weight[1], weight[2] = 0.4, 0.1
    assert torch.equal(colours_of(picture, weight), oklab(picture[1].double()))


def test_another_method_is_refused():
    with pytest.raises(ValueError, match=r"'reinhard'.*optimal transport, mkl"):
        fit(cloud(1), cloud(2), "reinhard")
    assert MKL in METHODS


def test_oklab_and_back():
    colours = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    assert (srgb(oklab(colours)) - colours).abs().max() < 1e-4
    corners = torch.tensor([[r, g, b] for r in (0.0, 1) for g in (0.0, 1) for b in (0.0, 1)])
    assert (srgb(oklab(corners)) - corners).abs().max() < 1e-3


def test_a_colour_that_there_is_not_loses_chroma_but_neither_lightness_nor_hue():
    vivid = torch.tensor([[0.5, 0.5, 0.1], [0.7, -0.3, 0.4], [0.2, 0.1, -0.6]])
    found = oklab(srgb(vivid))
    assert (found - vivid)[:, 0].abs().max() < 5e-3
    angle = torch.atan2(found[:, 2], found[:, 1]) - torch.atan2(vivid[:, 2], vivid[:, 1])
    assert angle.abs().max() < 0.05 and (found[:, 1:].norm(dim=1) < vivid[:, 1:].norm(dim=1)).all()
    beyond = srgb(torch.tensor([[1.4, 0.1, 0.0], [-0.2, 0.1, 0.0]]))
    assert torch.allclose(beyond, torch.tensor([[1.0] * 3, [0.0] * 3]), atol=5e-3)
