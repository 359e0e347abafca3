"""Gaussian mixtures against the score that autograd finds in their density (Tweedie's formula)."""

from __future__ import annotations

import math

import pytest
import torch
from exact import small_mixture, states

from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.space import FLOW, SPACES, VE

torch.set_num_threads(1)

SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def log_density(mixture, x, sigma, weights):
    """log p(x; σ) of the noised data, by torch's own normal distributions."""
    alpha = mixture.space.alpha(sigma)
    spread = (alpha**2 * mixture.variances + sigma**2).sqrt()
    means = alpha * mixture.means.flatten(1)
    normal = torch.distributions.Normal(means, spread[:, None])
    return torch.logsumexp(weights + normal.log_prob(x.flatten(1)[:, None]).sum(-1), dim=1)


def tweedie(mixture, x, sigma, weights):
    """E[x0 | x] = (x + σ²·∇ log p(x; σ)) / α (Robbins 1956; Vincent 2011)."""
    x = x.clone().requires_grad_()
    score = torch.autograd.grad(log_density(mixture, x, sigma, weights).sum(), x)[0]
    return (x.detach() + sigma**2 * score) / mixture.space.alpha(sigma)


@SPACE
@pytest.mark.parametrize("share", [0.02, 0.2, 0.6, 0.95])
def test_is_tweedie_s_formula(space, share):
    sigma = share * (1.0 if space is FLOW else 20.0)
    mixture = small_mixture(space, count=5, dims=7)
    x = states(mixture, sigma, count=6)
    expected = tweedie(mixture, x, sigma, mixture.log_weights)
    assert torch.allclose(mixture(x, sigma), expected, rtol=1e-9, atol=1e-10)


@SPACE
def test_with_a_label_only_that_component_counts(space):
    mixture = small_mixture(space, count=3, dims=4)
    x = states(mixture, 0.5, count=3)
    labels = torch.tensor([2, 0, 1])
    known = mixture(x, 0.5, {"label": labels})
    for row, label in enumerate(labels):
        only = torch.full((3,), -math.inf, dtype=torch.float64)
        only[label] = 0.0
        expected = tweedie(mixture, x[row : row + 1], 0.5, only)
        assert torch.allclose(known[row : row + 1], expected, rtol=1e-10, atol=1e-12)


@SPACE
def test_levels_of_their_own_for_every_sample(space):
    mixture = small_mixture(space)
    x, sigmas = states(mixture, 0.5, count=3), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    together = mixture(x, sigmas)
    for row, sigma in enumerate(sigmas.tolist()):
        assert torch.allclose(together[row], mixture(x[row : row + 1], sigma)[0], rtol=1e-13, atol=1e-14)


def test_pictures_keep_their_shape():
    means = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixture = GaussianMixture(means, torch.tensor([0.1, 0.2]).double(), torch.zeros(2).double())
    assert mixture.shape == (3, 4, 5)
    flat = GaussianMixture(means.flatten(1), mixture.variances, mixture.log_weights)
    x = torch.randn(4, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mixture(x, 0.7).flatten(1), flat(x.flatten(1), 0.7))


def test_at_flow_sigma_one_it_knows_nothing_but_the_mean():
    mixture = small_mixture(FLOW)
    mean = mixture.log_weights.exp() @ mixture.means
    assert torch.allclose(mixture(states(mixture, 1.0), 1.0), mean.expand(4, 2), rtol=0, atol=1e-13)


@SPACE
def test_without_noise_it_gives_back_the_state(space):
    mixture = small_mixture(space)
    x0 = mixture.draw(4, torch.Generator().manual_seed(0))
    assert torch.allclose(mixture(x0, 0.0), x0, rtol=1e-12)


def test_far_out_nothing_overflows():
    mixture = small_mixture(VE)
    for scale, sigma in ((1e6, 1e-3), (1e6, 4518.0), (0.0, 1e-4)):
        assert mixture(torch.full((1, 2), scale, dtype=torch.float64), sigma).isfinite().all()


def test_weights_need_not_be_normalised():
    mixture = small_mixture(VE)
    shifted = GaussianMixture(mixture.means, mixture.variances, mixture.log_weights + 3.0)
    x = states(mixture, 0.8)
    assert torch.allclose(shifted(x, 0.8), mixture(x, 0.8), rtol=1e-13)


def test_draws_have_the_mixture_s_moments():
    mixture, count = small_mixture(VE), 40_000
    drawn = mixture.draw(count, torch.Generator().manual_seed(0))
    weights = mixture.log_weights.exp()
    mean = weights @ mixture.means
    second = weights @ (mixture.means.square() + mixture.variances[:, None])
    spread = (second - mean**2).sqrt()
    assert drawn.dtype == torch.float64
    assert ((drawn.mean(0) - mean).abs() < 4 * spread / math.sqrt(count)).all()
    assert torch.allclose(drawn.var(0), spread**2, rtol=0.05)
