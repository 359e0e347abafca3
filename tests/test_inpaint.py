"""Inpainting: what is kept comes back exactly, and what is repainted fits to it."""

from __future__ import annotations

import pytest
import torch
from stubs import small_denoiser

from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.space import FLOW, SPACES, VE
from varifold.models.sampling import schedule
from varifold.models.sampling.inpaint import keeping, noised
from varifold.models.sampling.noise import Noise
from varifold.models.sampling.sample import sample
from varifold.models.sampling.solver import SOLVERS

torch.set_num_threads(1)

SIGMAS = {VE: schedule.karras(12, 0.002, 80.0), FLOW: schedule.linear(12, 0.0, 1.0)}
SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
SHAPE = (2, 4, 4)


def picture(batch=2, seed=0):
    return torch.randn(batch, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def left_half(batch=2):
    mask = torch.zeros(batch, 1, 4, 4, dtype=torch.float64)
    mask[..., :2] = 1
    return mask


def two_colours(space):
    """Pictures that are all light or all dark, and hardly anything beside."""
    means = torch.stack([torch.ones(SHAPE), -torch.ones(SHAPE)]).double()
    return GaussianMixture(means, torch.tensor([0.01, 0.01]).double(), torch.zeros(2).double(), space)


def one_gaussian(space):
    means = torch.full((1, *SHAPE), 0.5, dtype=torch.float64)
    return GaussianMixture(means, torch.tensor([0.3]).double(), torch.zeros(1).double(), space)


@SPACE
@pytest.mark.parametrize("name", SOLVERS)
def test_kept_pixels_come_back_exactly(name, space):
    image = picture()
    last = sample(two_colours(space), SIGMAS[space], solver=name, image=image, mask=left_half())
    kept = left_half().expand_as(image) == 0
    assert torch.equal(last[kept], image[kept])
    assert not torch.equal(last[~kept], image[~kept])


def test_kept_pixels_come_back_exactly_from_a_real_net():
    denoiser = small_denoiser()
    image = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 3:] = 1
    last = sample(denoiser, SIGMAS[VE], image=image, mask=mask)
    assert torch.equal(last[..., :3], image[..., :3])


@SPACE
@pytest.mark.parametrize("name", ["dpmpp_2m", "euler_ancestral"])
def test_repainting_everything_is_no_mask(name, space):
    image = picture()
    options = {"solver": name, "image": image, "seed": 3}
    everything = sample(two_colours(space), SIGMAS[space], mask=torch.ones(1, 1, 4, 4), **options)
    assert torch.allclose(everything, sample(two_colours(space), SIGMAS[space], **options), atol=1e-12)


@SPACE
def test_keeping_everything_gives_the_image(space):
    image = picture()
    last = sample(two_colours(space), SIGMAS[space], image=image, mask=torch.zeros(2, 1, 4, 4))
    assert torch.equal(last, image)


@SPACE
def test_repainted_pixels_follow_what_is_kept(space):
    """Half of a picture that is light or dark tells the other half, for most seeds.

    Not for all: the method never goes back (RePaint's resampling does), so a few settle before the kept half is clear.
    """
    signs = {}
    for colour in (1.0, -1.0):
        image = torch.full((32, *SHAPE), colour, dtype=torch.float64)
        last = sample(two_colours(space), SIGMAS[space], image=image, mask=left_half(32), seed=5)
        signs[colour] = (last[..., :2].mean((1, 2, 3)) > 0).double().mean().item()
    free = sample(two_colours(space), SIGMAS[space], image=image, mask=torch.ones(32, 1, 4, 4), seed=5)
    assert signs[1.0] > 0.7
    assert signs[-1.0] < 0.3
    assert 0.3 < (free.mean((1, 2, 3)) > 0).double().mean() < 0.7


@SPACE
def test_where_pixels_are_independent_keeping_some_leaves_the_law_of_the_others(space):
    """The conditional law is then the law itself, and the repainted pixels are those of an unmasked run."""
    image = picture()
    masked, free = (
        sample(one_gaussian(space), SIGMAS[space], image=image, mask=mask, seed=3, solver="heun")
        for mask in (left_half(), torch.ones(2, 1, 4, 4))
    )
    assert torch.allclose(masked[..., :2], free[..., :2], atol=1e-12)


@SPACE
def test_the_net_sees_known_pixels_with_always_the_same_noise(space):
    image, states = picture(), []
    exact = two_colours(space)

    def D(x, sigma, cond):
        states.append((x.clone(), sigma))
        return exact(x, sigma)

    sample(D, SIGMAS[space], image=image, mask=left_half(), seed=6, space=space)
    noise = Noise(6, range(2), SHAPE, dtype=torch.float64)(0)
    for x, sigma in states:
        expected = space.alpha(sigma) * image + sigma * noise
        assert torch.allclose(x[..., 2:], expected[..., 2:], atol=1e-12)


@SPACE
def test_a_fractional_mask_mixes(space):
    known, x, noise = picture(), picture(seed=1), picture(seed=2)
    mask = torch.rand(2, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    D = keeping(lambda state, sigma: 2 * state, space, known, mask, noise)
    seen = mask * x + (1 - mask) * (space.alpha(0.5) * known + 0.5 * noise)
    assert torch.allclose(D(x, 0.5), mask * 2 * seen + (1 - mask) * known)


def test_a_half_kept_picture_is_halfway():
    image = torch.ones(1, *SHAPE, dtype=torch.float64)
    last = sample(lambda x, sigma, cond: -image, SIGMAS[VE], space=VE, image=image, mask=torch.full((1, 1, 4, 4), 0.5))
    assert torch.allclose(last, torch.zeros_like(last), atol=1e-12)


@SPACE
def test_a_schedule_that_stops_early_leaves_known_pixels_noised(space):
    image, sigmas = picture(), SIGMAS[space][:6]
    last = sample(two_colours(space), sigmas, image=image, mask=left_half(), seed=6)
    expected = noised(space, image, sigmas[-1], Noise(6, range(2), SHAPE, dtype=torch.float64)(0))
    assert torch.allclose(last[..., 2:], expected[..., 2:], atol=1e-12)


def test_the_start_of_a_masked_run_is_the_noised_image():
    """Image to image with a mask: the part to repaint starts from the picture too."""
    image, states = picture(), []

    def D(x, sigma, cond):
        states.append(x.clone())
        return x

    sample(D, [0.5, 0.0], space=VE, image=image, mask=left_half(), seed=6)
    assert torch.allclose(states[0], image + 0.5 * Noise(6, range(2), SHAPE, dtype=torch.float64)(0))
