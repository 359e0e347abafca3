"""Toys against their posterior mean written out in numpy, and what is sampled from them against what they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from varifold.models import Guidance, sample, schedule
from varifold.models.denoising import toy as module
from varifold.models.denoising.space import FLOW, SPACES, VE
from varifold.models.denoising.strokes import MODES, SHAPES, SPREAD
from varifold.models.denoising.toy import Toy

torch.set_num_threads(1)

SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
SHAPE = pytest.mark.parametrize("shape", SHAPES)


def centres_of(toy: Toy) -> np.ndarray:
    return toy.net.centres.double().numpy()


def posterior_mean(toy: Toy, x: np.ndarray, sigma: float) -> np.ndarray:
    """E[x0 | x] of points x [N, 2], each Gaussian's density and mean in full."""
    alpha, variance = float(toy.space.alpha(sigma)), toy.net.spread**2
    spread = alpha**2 * variance + sigma**2
    means = []
    for point in x:
        offsets = point - alpha * centres_of(toy)
        log_density = -np.log(2 * np.pi * spread) - (offsets**2).sum(1) / (2 * spread)
        weights = np.exp(log_density - log_density.max())
        each = centres_of(toy) + alpha * variance / spread * offsets
        means.append((weights[:, None] * each).sum(0) / weights.sum())
    return np.stack(means)


def noisy(toy: Toy, sigma: float, batch: int = 1, side: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x0 = toy.draw(batch * side * side, generator).double().view(batch, side, side, 2).permute(0, 3, 1, 2)
    return toy.space.alpha(sigma) * x0 + sigma * torch.randn(x0.shape, generator=generator, dtype=x0.dtype)


def points_of(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, 2)


def energy_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """0 for samples [N, 2] of one distribution, up to about 4/N (Székely & Rizzo 2013)."""
    between = torch.cdist(a, b).mean()
    return (2 * between - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


@SPACE
@SHAPE
@pytest.mark.parametrize("share", [0.002, 0.05, 0.3, 1.0])
def test_is_the_posterior_mean(shape, space, share):
    toy = Toy(shape, 3, 0.1, space)
    sigma = share * toy.sigma_max
    x = noisy(toy, sigma)
    expected = torch.from_numpy(posterior_mean(toy, points_of(x).numpy(), sigma))
    assert torch.allclose(points_of(toy(x, sigma)), expected, rtol=1e-9, atol=1e-10)
    single = toy(x.float(), sigma)
    assert single.dtype == torch.float32
    assert torch.allclose(points_of(single).double(), expected, atol=2e-4)


@SPACE
def test_every_sample_has_a_level_of_its_own(space):
    toy = Toy("spiral", 2, 0.05, space)
    x, levels = noisy(toy, 0.5, batch=3), torch.tensor([0.05, 0.5, 0.9])
    together = toy(x, levels)
    for row, sigma in enumerate(levels):
        assert torch.allclose(together[row], toy(x[row : row + 1], sigma.item())[0], atol=1e-12)


def test_pixels_do_not_know_of_each_other():
    toy = Toy()
    x = noisy(toy, 0.7, batch=2, side=6)
    alone = torch.cat([toy(x[..., row : row + 1, :], 0.7) for row in range(6)], 2)
    assert torch.allclose(toy(x, 0.7), alone, atol=1e-12)


def test_many_points_are_taken_in_parts(monkeypatch):
    toy = Toy("rings", 4, 0.05)
    x, seen, forward = noisy(toy, 0.5, batch=2, side=9), [], toy.net.forward
    whole = toy(x, torch.tensor([0.5, 0.4]))
    monkeypatch.setattr(module, "MOST_PAIRS", 10 * len(toy.net.centres))
    monkeypatch.setattr(toy.net, "forward", lambda points, *rest: seen.append(len(points)) or forward(points, *rest))
    assert torch.allclose(toy(x, torch.tensor([0.5, 0.4])), whole, atol=1e-12)
    assert max(seen) == 10 and sum(seen) == 2 * 81


def test_of_pure_noise_it_believes_the_mean():
    toy = Toy("moons", 2, 0.05, FLOW)
    assert toy(noisy(toy, 1.0), 1.0).abs().max() < 1e-6


@SHAPE
@pytest.mark.parametrize(("modes", "spread"), [*itertools.product([*MODES, 2, 5], [*SPREAD, 0.05])])
def test_mean_is_0_and_variance_1(shape, modes, spread):
    toy = Toy(shape, modes, spread)
    variance = centres_of(toy).var(0).mean() + spread**2
    assert np.abs(centres_of(toy).mean(0)).max() < 1e-5
    assert variance == pytest.approx(spread**2 if (shape, modes) == ("mixture", 1) else 1, abs=1e-5)
    assert len(toy.net.centres) < 2500


@pytest.mark.parametrize("shape", ["moons", "rings", "spiral"])
def test_no_gap_is_left_along_a_line(shape):
    toy = Toy(shape, 2, 0.05)
    apart = torch.cdist(toy.net.centres, toy.net.centres).fill_diagonal_(9).min(1).values
    assert apart.max() < 1.05 * 2 * 0.05


@pytest.mark.parametrize("modes", [2, 5, 12])
def test_a_mixture_has_as_many_gaussians_as_modes(modes):
    assert len(Toy("mixture", modes).net.centres) == modes


@SHAPE
def test_draws_have_its_moments(shape):
    toy, count = Toy(shape, 3, 0.1), 40_000
    drawn = toy.draw(count, torch.Generator().manual_seed(0)).double().numpy()
    covariance = np.cov(centres_of(toy).T, bias=True) + 0.1**2 * np.eye(2)
    assert np.abs(drawn.mean(0)).max() < 4 * 1.5 / np.sqrt(count)
    assert np.allclose(np.cov(drawn.T), covariance, atol=0.03)


@SPACE
@SHAPE
def test_a_fine_schedule_draws_the_distribution(shape, space):
    toy = Toy(shape, 2, 0.05, space)
    sigmas = schedule.karras(60, toy.sigma_min, toy.sigma_max)
    drawn = points_of(sample(toy, sigmas, solver="heun", seed=3, batch=4))
    covariance = np.cov(centres_of(toy).T, bias=True) + 0.05**2 * np.eye(2)
    assert drawn.mean(0).abs().max() < 0.08
    assert np.allclose(np.cov(drawn.numpy().T), covariance, atol=0.1)
    true = toy.draw(len(drawn), torch.Generator().manual_seed(0))
    assert energy_distance(drawn, true) < 0.003
    off = torch.cdist(drawn, toy.net.centres).min(1).values
    assert off.mean() == pytest.approx(torch.cdist(true, toy.net.centres).min(1).values.mean().item(), rel=0.06)


def test_a_coarse_one_does_not():
    toy = Toy()
    sigmas = schedule.karras(5, toy.sigma_min, toy.sigma_max)
    drawn = points_of(sample(toy, sigmas, solver="euler", seed=3, batch=4))
    assert energy_distance(drawn, toy.draw(len(drawn), torch.Generator().manual_seed(0))) > 0.01


def test_guidance_makes_a_changed_copy():
    toy, guidance = Toy(), Guidance("rescale", (("phi", 0.5),))
    guided = toy.with_guidance(guidance)
    assert guided.guidance is guidance and toy.guidance is not guidance and guided.net is toy.net


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"shape": "cube"}, "unknown shape 'cube': use one of moons, rings, spiral, mixture"),
        ({"modes": 0}, "modes should be from 1 to 12, and is 0"),
        ({"modes": 13}, "modes"),
        ({"spread": 0.0}, "spread should be from 0.02 to 0.5, and is 0"),
        ({"spread": float("nan")}, "spread"),
    ],
)
def test_bad_knobs_are_told(knobs, said):
    with pytest.raises(ValueError, match=said):
        Toy(**knobs)


def test_what_it_cannot_take_is_told():
    toy = Toy(space=VE)
    with pytest.raises(ValueError, match=r"states \[B, 2, H, W\], x and y of each point, not of shape \(1, 3, 4, 4\)"):
        toy(torch.zeros(1, 3, 4, 4), 1.0)
    with pytest.raises(ValueError, match="takes no condition"):
        toy(torch.zeros(1, 2, 4, 4), 1.0, {"label": torch.tensor([0])})
