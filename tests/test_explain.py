"""What is told of models, against Gaussians in closed form and functions whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from stubs import small_denoiser, words

from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.space import FLOW, SPACES, VE
from varifold.models.explain.axes import along, strongest_axes
from varifold.models.explain.levels import errors_by_level, levels_of
from varifold.models.explain.steps import step_shares
from varifold.models.explain.walks import between_conditions, between_noises
from varifold.models.explain.words import distances, leave_one_out
from varifold.models.sampling import solver
from varifold.models.sampling.sample import sample
from varifold.models.sampling.trace import Recorder

torch.set_num_threads(1)

SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def gaussian(space, variance=0.4):
    mean = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return GaussianMixture(mean, torch.tensor([variance]).double(), torch.zeros(1).double(), space)


@SPACE
def test_errors_by_level_are_at_the_floor_of_a_gaussian(space):
    mixture, seen = gaussian(space), []

    def watching(D):
        return lambda x, sigma: (seen.append(sigma), D(x, sigma))[1]

    sigmas = levels_of(mixture, 8)
    x0 = mixture.draw(600, torch.Generator().manual_seed(1))
    found = errors_by_level(mixture, x0, sigmas, wrap=watching)
    assert seen == list(found.sigmas) == sigmas
    for sigma, error, uncertain, keeping in zip(sigmas, found.errors, found.uncertain, found.keeping, strict=True):
        floor = 0.4 * sigma**2 / (space.alpha(sigma) ** 2 * 0.4 + sigma**2)
        assert uncertain < 0.03 * floor and error == pytest.approx(floor, abs=4.5 * uncertain)
        assert keeping == pytest.approx((sigma / space.alpha(sigma)) ** 2) and keeping > floor
    assert found.knowing == pytest.approx(0.4, rel=0.05)
    with pytest.raises(ValueError, match="two pictures or more"):
        errors_by_level(mixture, x0[:1], sigmas)


@SPACE
def test_levels_go_down_evenly_in_log_snr(space):
    mixture = gaussian(space)
    levels = levels_of(mixture, 9)
    snrs = torch.tensor([space.log_snr(level) for level in levels])
    assert torch.allclose(snrs.diff(), snrs.diff().mean().expand(8), rtol=1e-4)
    assert levels[-1] == mixture.sigma_min and levels[0] == (80.0 if space is VE else 0.99)


def test_each_word_is_left_out_once():
    assert leave_one_out(["red", "hat", "hat"]) == ["red hat hat", "hat hat", "red hat", "red hat", ""]
    assert leave_one_out(["red"]) == ["red", ""]
    pictures = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert distances(pictures) == pytest.approx([math.sqrt(12.5), 0.0])


def test_a_walk_between_noises_stays_as_long_as_noise_is():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    shares = torch.linspace(0, 1, 7, dtype=torch.float64)
    walk = between_noises(first, second, shares)
    assert torch.allclose(walk[0], first, rtol=1e-12) and torch.allclose(walk[-1], second, rtol=1e-12, atol=1e-14)
    lengths = walk.flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.lerp(first.norm(), second.norm(), shares.double()), rtol=1e-12)
    turns = torch.nn.functional.cosine_similarity(walk[1:].flatten(1), walk[:-1].flatten(1)).arccos()
    assert torch.allclose(turns, turns.mean().expand(6), rtol=1e-9)


def test_a_walk_to_the_same_or_the_opposite_noise_is_no_nan():
    first = torch.randn(5, generator=torch.Generator().manual_seed(0))
    shares = torch.tensor([0.0, 0.25, 1.0])
    assert torch.allclose(between_noises(first, first, shares), first.expand(3, 5), rtol=1e-5)
    assert torch.allclose(between_noises(first, -first, shares)[1], first / 2, rtol=1e-5)


def test_a_walk_between_words_begins_and_ends_with_them():
    first, second = words(0, count=2), words(1, count=3)
    mixed = between_conditions(first, second, torch.tensor([0.0, 0.5, 1.0]))["words"]
    assert mixed.shape == (3, 3, 16)
    assert torch.equal(mixed[0, :2], first["words"][0]) and not mixed[0, 2].any()
    assert torch.equal(mixed[2], second["words"][0]) and torch.equal(mixed[1, 2], second["words"][0, 2] / 2)


def test_the_axes_that_change_most_come_first():
    gains = torch.tensor([0.5, 3.0, 0.0, 1.0]).double()

    def draw(noise):
        return (noise.flatten(1) * gains).repeat(1, 4).view(-1, 1, 4, 4)

    noise = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    axes = strongest_axes(draw, noise)
    assert axes.order == [1, 3, 0, 2]
    # From −2 to 2 only a quarter of the picture changes, by four times the gain.
    assert axes.effects == pytest.approx([6.0, 2.0, 1.0, 0.0])
    assert strongest_axes(lambda noise: draw(noise), noise[:1].expand(200, 2, 2)).order == axes.order


def test_along_an_axis_only_its_number_changes():
    noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    moved = along(noise, 4, torch.tensor([-2.0, 0.0, 2.0]))
    assert moved.shape == (3, 2, 3) and moved[:, 1, 1].tolist() == [-2.0, 0.0, 2.0]
    kept = torch.arange(6).view(2, 3) != 4
    assert torch.equal(moved[:, kept], noise[kept].expand(3, 5))


def test_the_steps_of_a_trace_add_up_to_its_picture():
    denoiser, sigmas = small_denoiser(), [80.0, 10.0, 2.0, 0.5, 0.1, 0.0]
    plan = solver.plan("dpmpp_2m", sigmas, VE)
    recorder = Recorder(plan)
    sample(denoiser, sigmas, solver=plan, seed=3, recorder=recorder)
    trace = recorder.trace()
    shares = step_shares(trace)
    frames = trace.frames.double()
    assert [share.sigma for share in shares] == sigmas[:-1] and shares[-1].left == 0
    assert shares[1].moved == pytest.approx((frames[1] - frames[0]).square().mean().sqrt().item())
    assert shares[0].left == pytest.approx((frames[0] - frames[-1]).square().mean().sqrt().item())
    # The weights are those of the state before the last output: all but what is left of the start's noise.
    assert sum(share.weight for share in shares) == pytest.approx(1 - 0.1 / 80, abs=1e-9)
    assert shares[-1].weight == 0 and shares[-1].error is None and shares[1].error > 0


def test_flow_ends_where_nothing_is_left_of_the_picture():
    assert FLOW.alpha(1.0) == 0
    x0 = gaussian(FLOW).draw(4, torch.Generator().manual_seed(0))
    assert errors_by_level(gaussian(FLOW), x0, [1.0, 0.5]).keeping[0] == math.inf
