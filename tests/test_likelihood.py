"""Bits per number against densities in closed form: Gaussians, mixtures and pictures of 8 bits."""

from __future__ import annotations

import math

import pytest
import torch
from exact import small_mixture, states
from stubs import small_denoiser, words
from test_analytic import log_density as true_log_density

from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.pixels import encode
from varifold.models.denoising.space import FLOW, SPACES, VE
from varifold.models.generating import Generator
from varifold.models.likelihood.bits import Bits, bound_bits, exact_bits, generator_bits
from varifold.models.likelihood.bound import bound
from varifold.models.likelihood.density import log_density
from varifold.models.likelihood.eight_bits import log_posterior, rounded, values
from varifold.models.train.autoencoding import autoencoder_from_scratch

torch.set_num_threads(1)

SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
HIGH = {VE: 1e6, FLOW: 1.0}  # far enough that pure noise is what the data becomes
LOW = 0.01


def ranged(mixture: GaussianMixture, low: float = LOW) -> GaussianMixture:
    mixture.sigma_min, mixture.sigma_max = low, HIGH[mixture.space]
    return mixture


def gaussian(space, dims=3, low=LOW):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(1, dims, generator=generator, dtype=torch.float64)
    return ranged(GaussianMixture(mean, torch.full((1,), 0.3).double(), torch.zeros(1).double(), space), low)


def entropy(variance: float) -> float:
    """Of a Gaussian, in bits per number."""
    return math.log2(2 * math.pi * math.e * variance) / 2


@SPACE
def test_the_ode_gives_the_density_of_a_mixture(space):
    mixture = ranged(small_mixture(space, count=3, dims=2))
    z = states(mixture, LOW)
    found = log_density(mixture, z, LOW, HIGH[space], steps=240)
    assert torch.allclose(found.log_p, true_log_density(mixture, z, LOW, mixture.log_weights), rtol=0, atol=5e-5)
    assert not found.error.any()


def test_its_error_falls_with_the_fourth_power_of_the_steps():
    mixture = gaussian(FLOW)
    z = states(mixture, LOW)
    true = true_log_density(mixture, z, LOW, mixture.log_weights)
    few, many = ((log_density(mixture, z, LOW, 1.0, steps=n).log_p - true).abs().max().item() for n in (12, 24))
    assert 8 < few / many < 40


def test_random_probes_are_right_within_their_error():
    mixture = ranged(small_mixture(FLOW, count=3, dims=4))
    z = states(mixture, LOW, count=16)
    exact = log_density(mixture, z, LOW, 1.0)
    guessed = log_density(mixture, z, LOW, 1.0, probes=16)
    off = (guessed.log_p - exact.log_p) / guessed.error
    assert off.abs().max() < 6 and 0.2 < off.std() < 3
    assert (exact.log_p - guessed.log_p).abs().max() > 1e-3
    few = log_density(mixture, z, LOW, 1.0, probes=4).error
    assert 1.3 < few.mean() / guessed.error.mean() < 3
    assert log_density(mixture, z, LOW, 1.0, steps=1, probes=1).error.isnan().all()


def test_of_large_states_the_divergence_is_guessed_unless_it_is_simple():
    mean = torch.randn(1, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixture = ranged(GaussianMixture(mean, torch.tensor([0.25]).double(), torch.zeros(1).double(), FLOW))
    z = states(mixture, LOW)
    found = log_density(mixture, z, LOW, 1.0)  # the Jacobian is a multiple of the identity: any signs are exact
    assert torch.allclose(found.log_p, true_log_density(mixture, z, LOW, mixture.log_weights), rtol=0, atol=1e-3)


@SPACE
def test_exact_bits_of_a_gaussian_are_its_entropy(space):
    mixture = gaussian(space)
    x0 = mixture.draw(2000, torch.Generator().manual_seed(1))
    bits = exact_bits(mixture, x0, steps=60)
    assert 0.005 < bits.error < 0.02
    assert bits.mean == pytest.approx(entropy(0.3 + (LOW / space.alpha(LOW)) ** 2), abs=4 * bits.error)


@SPACE
def test_the_bound_is_the_exact_value_where_the_denoiser_is_the_best_there_is(space):
    mixture = ranged(small_mixture(space, count=3, dims=2))
    x0 = mixture.draw(2000, torch.Generator().manual_seed(1))
    apart = Bits(bound_bits(mixture, x0, levels=100).each - exact_bits(mixture, x0, steps=60).each)
    assert apart.error < 0.02
    assert abs(apart.mean) < 4 * apart.error


@SPACE
def test_the_bound_is_the_density_of_each_picture(space):
    mixture = ranged(small_mixture(space, count=3, dims=2))
    for x0 in mixture.draw(3, torch.Generator().manual_seed(2)):
        many = x0.expand(3000, 2)
        bits = bound_bits(mixture, many, levels=60)
        true = -true_log_density(mixture, space.alpha(LOW) * x0[None], LOW, mixture.log_weights).item()
        curved = 2 * LOW**2 / mixture.variances.min().item()  # z is x0 with noise on it
        assert bits.mean == pytest.approx(true / math.log(4) - math.log2(space.alpha(LOW)), abs=4 * bits.error + curved)


class Off:
    """A mixture's denoiser whose every number is wrong by offset/(1 + SNR)."""

    def __init__(self, mixture: GaussianMixture, offset: float):
        self.mixture, self.offset = mixture, offset
        self.space, self.sigma_min, self.sigma_max = mixture.space, mixture.sigma_min, mixture.sigma_max

    def __call__(self, x, sigma, cond=None):
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1)
        snr = (self.space.alpha(level) / level) ** 2
        return self.mixture(x, sigma) + self.offset / (1 + snr)


@SPACE
def test_a_denoiser_that_is_off_costs_what_its_error_says(space):
    mixture = gaussian(space)
    x0 = mixture.draw(2000, torch.Generator().manual_seed(1))
    best, worse = (bound_bits(each, x0, levels=100) for each in (mixture, Off(mixture, 0.7)))
    apart = Bits(worse.each - best.each)
    # ½ ∫ 0.7²/(1 + SNR)² dSNR of each number, over all of SNR but the last 1/(1 + 10⁴)
    assert apart.mean == pytest.approx(0.7**2 / 2 / math.log(2), abs=4 * apart.error + 1e-3)
    assert worse.mean > exact_bits(mixture, x0, steps=60).mean + 10 * apart.error


def test_what_is_pure_noise_is_counted():
    mixture = gaussian(VE)
    x0 = mixture.draw(5, torch.Generator().manual_seed(1))
    near, far = (bound(mixture, x0, VE, LOW, high).prior for high in (2.0, 1e6))
    assert torch.allclose(near, x0.square().sum(1) / 8, rtol=1e-12) and far.max() < 1e-10
    wider = bound(mixture, x0, VE, LOW, 2.0, pure_noise=3.0).prior
    normal = torch.distributions.Normal(x0, torch.full_like(x0, 2.0))
    prior = torch.distributions.Normal(torch.zeros_like(x0), torch.full_like(x0, 3.0))
    assert torch.allclose(wider, torch.distributions.kl_divergence(normal, prior).sum(1), rtol=1e-12)


@pytest.mark.parametrize("channels", ["rgb", "rgba"])
def test_pictures_of_8_bits_have_just_the_values_that_encode_makes(channels):
    levels = torch.randint(256, (2, 6, 5, 3), generator=torch.Generator().manual_seed(0)).float() / 255
    alpha = (levels[..., 0] > 0.4).float()
    x0 = encode(levels, alpha, channels)
    assert torch.allclose(rounded(x0, channels), x0, rtol=0, atol=1e-6)
    shaken = x0 + 0.4 / 255 * (2 * torch.rand(x0.shape, generator=torch.Generator().manual_seed(1)) - 1)
    assert torch.allclose(rounded(shaken, channels), x0, rtol=0, atol=1e-6)
    assert [len(each) for each in values(channels)] == ([256] * 3 if channels == "rgb" else [257, 257, 257, 2])
    with pytest.raises(ValueError, match="plane are no channels of 8 bits"):
        rounded(x0, "plane")


def test_the_reconstruction_weighs_all_values_that_might_be():
    generator = torch.Generator().manual_seed(0)
    z = torch.rand(2, 4, 3, 2, generator=generator, dtype=torch.float64) * 2 - 1
    x0 = rounded(torch.rand(2, 4, 3, 2, generator=generator, dtype=torch.float64) * 2 - 1, "rgba")
    expected = torch.zeros(2, dtype=torch.float64)
    for picture, channel, row, column in torch.cartesian_prod(*map(torch.arange, x0.shape)):
        each, true = values("rgba")[channel], x0[picture, channel, row, column]
        likely = torch.distributions.Normal(0.9 * each, 0.05).log_prob(z[picture, channel, row, column]).exp()
        expected[picture] += (likely[(each - true).abs().argmin()] / likely.sum()).log()
    assert torch.allclose(log_posterior(x0, z, 0.9, 0.05, "rgba"), expected, rtol=1e-9)


@SPACE
def test_pictures_that_are_a_few_cost_what_tells_them_apart(space):
    levels = torch.randint(256, (5, 1, 1, 3), generator=torch.Generator().manual_seed(0)).float() / 255
    pictures = encode(levels, torch.ones(5, 1, 1), "rgb").double()
    few = ranged(GaussianMixture(pictures, torch.zeros(5).double(), torch.zeros(5).double(), space), low=0.0005)
    few.channels = "rgb"
    x0 = pictures.repeat(100, 1, 1, 1)
    bounded, exact = bound_bits(few, x0, eight_bits=True, levels=200), exact_bits(few, x0, eight_bits=True, steps=160)
    true = math.log2(5) / 3
    assert bounded.error < 0.05 and bounded.mean == pytest.approx(true, abs=4 * bounded.error)
    assert exact.mean == pytest.approx(true, abs=4 * exact.error + 2e-3)


def test_a_vae_whose_latent_says_nothing_costs_what_its_spread_says():
    net, spec = autoencoder_from_scratch((3, 8, 8), "rgb", size="tiny")
    with torch.no_grad():
        for layer in (net.to_latent, net.out):
            layer.weight.zero_()
            layer.bias.zero_()
        net.spread.copy_(0.05)
    levels = torch.randint(256, (40, 8, 8, 3), generator=torch.Generator().manual_seed(0)).float() / 255
    x0, rows = encode(levels, torch.ones(40, 8, 8), "rgb"), torch.zeros(40, 0, dtype=torch.long)
    bits = generator_bits(Generator(net.eval(), spec), x0, rows, samples=2)
    spread = net.log_spread.exp().item()
    of_each = torch.distributions.Normal(0.0, spread).log_prob(x0.double()).exp() * 2 / 255
    assert 0.5 < spread < 3 and bits.mean == pytest.approx(-of_each.log2().mean().item(), abs=0.06)


@pytest.mark.parametrize("measure", [exact_bits, bound_bits])
def test_nets_are_measured_as_nodes_run_them(measure):
    seen = []

    def watching(D):
        def watched(x, sigma):
            seen.append(x.shape)
            return D(x, sigma)

        return watched

    counts = {"steps": 3, "probes": 2} if measure is exact_bits else {"levels": 12}
    denoiser = small_denoiser()
    with torch.inference_mode():
        x0 = torch.rand(2, 4, 8, 8) * 2 - 1
        usual = measure(denoiser, x0, **counts, wrap=watching)
        told = measure(denoiser, x0, words(0), **counts)
        again = measure(denoiser, x0, **counts)
        coarse = measure(denoiser, x0, **counts, eight_bits=True)
    assert seen == [torch.Size([2, 4, 8, 8])] * 12
    assert torch.equal(usual.each, again.each) and not torch.equal(usual.each, told.each)
    assert coarse.each.isfinite().all() and math.isnan(Bits(coarse.each[:1]).error)
    assert all(parameter.grad is None for parameter in denoiser.net.parameters())
