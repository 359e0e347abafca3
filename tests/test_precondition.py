"""Preconditioning: an ideal net of every parametrisation is the exact denoiser, and its loss is the paper's."""

from __future__ import annotations

import math

import pytest
import torch
from exact import small_mixture, states

from varifold.models.denoising.precondition import PRECONDITIONS, edm, loss
from varifold.models.denoising.space import FLOW, VE

torch.set_num_threads(1)

NAMES = pytest.mark.parametrize("name", PRECONDITIONS)
SIGMAS = [0.02, 0.3, 0.9]


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ideal(name, x0, x, sigma):
    """What the papers say the net of this name should answer if the clean picture is x0."""
    noise = (x - (1 - sigma if name == "flow" else 1.0) * x0) / sigma
    total = math.sqrt(1 + sigma**2)
    return {
        "eps": lambda: noise,
        "v": lambda: noise / total - sigma / total * x0,
        "x0": lambda: x0,
        "flow": lambda: noise - x0,
        "edm": lambda: (x0 - 0.25 / (sigma**2 + 0.25) * x) * math.sqrt(sigma**2 + 0.25) / (0.5 * sigma),
    }[name]()


def assemble(c, x, output):
    return c.skip * x + c.out * output


@NAMES
@pytest.mark.parametrize("sigma", SIGMAS)
def test_an_ideal_net_is_the_exact_denoiser(name, sigma):
    precondition = PRECONDITIONS[name]()
    mixture = small_mixture(precondition.space)
    x = states(mixture, sigma)
    exact = mixture(x, sigma)
    output = ideal(name, exact, x, sigma)
    assert torch.allclose(assemble(precondition.scalars(sigma), x, output), exact, rtol=1e-11, atol=1e-12)


@NAMES
@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_target_is_the_paper_s(name, sigma):
    precondition = PRECONDITIONS[name]()
    x0, noise = double(3, 2, 4, 4), double(3, 2, 4, 4, seed=1)
    x = precondition.space.alpha(sigma) * x0 + sigma * noise
    assert torch.allclose(
        precondition.target(x0, x, torch.tensor(sigma, dtype=torch.float64)), ideal(name, x0, x, sigma), rtol=1e-9
    )


@NAMES
def test_the_space(name):
    assert PRECONDITIONS[name]().space is (FLOW if name == "flow" else VE)
    assert PRECONDITIONS[name]().name == name


@NAMES
def test_scalars_of_floats_and_of_tensors_agree(name):
    precondition = PRECONDITIONS[name]()
    levels = torch.tensor(SIGMAS, dtype=torch.float64)
    for row, sigma in enumerate(SIGMAS):
        for of_float, of_tensor in zip(precondition.scalars(sigma), precondition.scalars(levels), strict=True):
            value = of_tensor[row] if isinstance(of_tensor, torch.Tensor) else of_tensor
            assert float(value) == pytest.approx(of_float, rel=1e-14)


@pytest.mark.parametrize("sigma", [0.002, 0.5, 3.0, 80.0])
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_scalars(sigma, sigma_data):
    """Karras et al. 2022, table 1."""
    c = edm(sigma_data).scalars(sigma)
    assert c.skip == pytest.approx(sigma_data**2 / (sigma**2 + sigma_data**2))
    assert c.out == pytest.approx(sigma * sigma_data / math.sqrt(sigma_data**2 + sigma**2))
    assert c.input == pytest.approx(1 / math.sqrt(sigma**2 + sigma_data**2))
    assert c.noise == pytest.approx(math.log(sigma) / 4)


@pytest.mark.parametrize("sigma", [0.002, 0.5, 3.0, 80.0])
def test_edm_gives_unit_variance_in_and_out(sigma):
    """For data of variance σ_data², exactly: Var(c_in·x) = 1 and Var(target) = 1 (appendix B.6)."""
    precondition, data = edm(0.7), 0.7**2
    c = precondition.scalars(sigma)
    assert c.input**2 * (data + sigma**2) == pytest.approx(1, rel=1e-12)
    # The target is ((1 − c_skip)·x0 − c_skip·σ·ε) / c_out.
    assert ((1 - c.skip) ** 2 * data + (c.skip * sigma) ** 2) / c.out**2 == pytest.approx(1, rel=1e-12)


class Guess:
    """A net that answers some function of what it sees."""

    def embed(self, c_noise, cond):
        self.labels, self.cond = c_noise, cond
        return c_noise[:, None]

    def context(self, cond):
        return []

    def __call__(self, x, embedding, context=()):
        return torch.tanh(x) * embedding.view(-1, 1, 1, 1) + 0.1


PAPER_LOSSES = {
    # For a net output F: what each paper minimises, without its weights but for EDM's, which are part of it.
    "eps": lambda F, D, x0, eps, s: (F - eps) ** 2,
    "v": lambda F, D, x0, eps, s: (F - (eps - s * x0) / (1 + s**2).sqrt()) ** 2,
    "x0": lambda F, D, x0, eps, s: (F - x0) ** 2,
    "flow": lambda F, D, x0, eps, s: (F - (eps - x0)) ** 2,
    "edm": lambda F, D, x0, eps, s: (s**2 + 0.25) / (s * 0.5) ** 2 * (D - x0) ** 2,
}


@NAMES
def test_the_loss_is_the_paper_s(name):
    precondition, net, cond = PRECONDITIONS[name](), Guess(), {"label": torch.arange(3)}
    x0, noise = double(3, 2, 4, 4), double(3, 2, 4, 4, seed=1)
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    s = sigma.view(-1, 1, 1, 1)
    x = precondition.space.alpha(s) * x0 + s * noise
    c = precondition.scalars(s)
    output = Guess()(c.input * x, torch.as_tensor(c.noise).view(-1, 1))
    expected = PAPER_LOSSES[name](output, assemble(c, x, output), x0, noise, s).flatten(1).mean(1)
    found = loss(precondition, net, x0, noise, sigma, cond)
    assert found.shape == (3,)
    assert torch.allclose(found, expected, rtol=1e-10)
    assert torch.equal(net.labels, precondition.scalars(sigma).noise)
    assert net.cond is cond


@NAMES
def test_the_loss_of_an_ideal_net_is_zero(name):
    """On a single picture, where the clean picture is known."""
    precondition, picture = PRECONDITIONS[name](), double(1, 2, 4, 4)
    sigma, noise = 0.4, double(1, 2, 4, 4, seed=1)

    class Ideal(Guess):
        def __call__(self, x, embedding, context=()):
            return ideal(name, picture, x / precondition.scalars(sigma).input, sigma)

    assert loss(precondition, Ideal(), picture, noise, torch.tensor([sigma], dtype=torch.float64), None).item() < 1e-24


@NAMES
def test_the_noise_label_can_be_replaced(name):
    label = {"label": lambda sigma: 3 * sigma}
    assert PRECONDITIONS[name](**label).scalars(0.5).noise == 1.5
