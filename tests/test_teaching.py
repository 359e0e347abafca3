"""Processes that destroy pictures: what closed forms say of them, and that a right guess undoes each of them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from small_lab import pictures

from varifold.models.teaching.learn import undoer
from varifold.models.teaching.processes import PROCESSES, dissipate, gamma, gaussian, masking, pixelation
from varifold.models.teaching.undo import undo
from varifold.models.train.chance import Chance
from varifold.models.train.loop import Loop
from varifold.models.train.settings import Settings

torch.set_num_threads(1)

EACH = pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))


def drawn(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(*shape, generator=generator) - 1, torch.randn(*shape, generator=generator)


@EACH
@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 4, 11, 6), (2, 1, 1, 1)], ids=str)
def test_at_first_a_picture_is_whole(process, shape):
    x0, noise = drawn(*shape)
    for t in (0, 0.0, torch.zeros(len(x0))):
        assert torch.allclose(process.degrade(x0, t, noise), x0, atol=1e-5)


@EACH
def test_at_last_nothing_is_left_but_the_mean(process):
    x0, noise = drawn(2, 3, 16, 12)
    other = drawn(2, 3, 16, 12, seed=1)[0]
    other += (x0 - other).mean((2, 3), keepdim=True)
    assert not torch.allclose(x0, other, atol=0.1)
    assert torch.allclose(process.degrade(x0, 1, noise), process.degrade(other, 1.0, noise), atol=1e-5)
    assert not torch.allclose(process.degrade(x0, 0.3, noise), process.degrade(other, 0.3, noise), atol=0.1)


@EACH
def test_each_picture_has_its_own_time(process):
    x0, noise = drawn(3, 3, 8, 8)
    times = torch.tensor([0.1, 0.5, 0.9])
    each = [process.degrade(x0[k : k + 1], times[k].item(), noise[k : k + 1]) for k in range(3)]
    assert torch.allclose(process.degrade(x0, times, noise), torch.cat(each), atol=1e-5)


@EACH
@pytest.mark.parametrize("start", [1.0, 0.7])
def test_who_knows_the_picture_undoes_it_exactly_by_the_same_way(process, start):
    x0, noise = drawn(2, 3, 16, 16)
    times = [start * (1 - k / 5) for k in range(6)]
    seen = process.degrade(x0, start, noise)
    way = list(undo(lambda x, t: x0, process, seen, times, noise))
    assert len(way) == 5
    for x, t in zip(way, times[1:], strict=True):
        assert torch.allclose(x, process.degrade(x0, t, noise), atol=1e-3)


def test_noise_is_guessed_from_what_is_seen_and_not_told():
    x0, noise = drawn(2, 3, 16, 16)
    wrong = drawn(2, 3, 16, 16, seed=5)[1]
    for name in ("gaussian noise", "gamma noise"):
        process = PROCESSES[name]
        seen = process.degrade(x0, 0.8, noise)
        *_, last = undo(lambda x, t: x0, process, seen, [0.8, 0.4, 0.0], wrong)
        assert torch.allclose(last, x0, atol=1e-3), name


def test_a_wrong_guess_leaves_no_noise_behind():
    x0, noise = drawn(2, 3, 16, 16)
    for name in ("gaussian noise", "gamma noise"):
        process = PROCESSES[name]
        seen = process.degrade(x0, 0.8, noise)
        *_, last = undo(lambda x, t: 0.5 * x0 + 0.3, process, seen, [0.8, 0.4, 0.0], noise)
        assert torch.allclose(last, 0.5 * x0 + 0.3, atol=1e-5), name


def test_a_guess_that_is_off_is_held_to_what_was_seen():
    x0 = drawn(1, 3, 16, 16)[0]
    process = PROCESSES["blur"]
    seen = process.degrade(x0, 0.6, x0)
    # What is off by an even colour is blurred to the same, now and before.
    *_, last = undo(lambda x, t: x0 + 0.2, process, seen, [0.6, 0.3, 0.0], x0)
    assert (last - x0).abs().max() < 1e-4


def test_heat_spreads_on_from_where_it_was():
    x = drawn(2, 3, 9, 16)[0].double()
    first, second = (torch.tensor(times).double().view(2, 1, 1, 1) for times in ([0.3, 2.0], [1.1, 7.0]))
    at_once = dissipate(x, first + second)
    assert torch.allclose(dissipate(dissipate(x, first), second), at_once, atol=1e-12)
    assert torch.allclose(at_once.mean((2, 3)), x.mean((2, 3)), atol=1e-12)


def test_a_wave_dies_as_the_heat_equation_says():
    wave = (math.pi / 32 * 3 * (torch.arange(32).double() + 0.5)).cos().expand(1, 1, 8, 32)
    time = torch.full((1, 1, 1, 1), 5.0).double()
    assert torch.allclose(dissipate(wave, time), wave * math.exp(-5 * (3 * math.pi / 32) ** 2), atol=1e-12)


def test_far_from_borders_the_blur_is_a_gaussian():
    x = torch.zeros(1, 1, 41, 41).double()
    x[..., 20, 20] = 1
    far = torch.arange(41).double() - 20
    bell = (-far.square() / (2 * 2.0**2)).exp()
    bell = bell[:, None] * bell / bell.sum() ** 2
    assert torch.allclose(dissipate(x, torch.full((1, 1, 1, 1), 2.0).double())[0, 0], bell, atol=1e-6)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.8, 1.0])
def test_gamma_noise_has_gaussian_noises_mean_and_variance_and_its_own_skewness(t):
    x0, noise = torch.full((1, 1, 400, 400), 0.5), drawn(1, 1, 400, 400)[1]
    own, usual = ((process(x0, t, noise) - x0 * math.cos(math.pi * t / 2)) for process in (gamma, gaussian))
    sigma = math.sin(math.pi * t / 2)
    shape = math.tan(math.pi * t / 2) ** 2
    # Six standard errors, of the mean and of the variance of a gamma distribution.
    assert abs(own.mean()) < 6 * sigma / 400
    assert abs(own.var() / sigma**2 - 1) < 6 * math.sqrt(2 + 6 / shape) / 400
    assert abs(usual.var() / sigma**2 - 1) < 6 * math.sqrt(2) / 400
    skewness = ((own / sigma) ** 3).mean().item()
    assert skewness == pytest.approx(2 / math.sqrt(shape), rel=0.25, abs=0.05)
    assert own.min() > -sigma * math.sqrt(shape) - 1e-4


def test_gamma_noise_of_shape_one_is_exponential():
    ranks = torch.linspace(-3, 3, 101).view(1, 1, 1, -1)
    seen = gamma(torch.zeros(1, 1, 1, 101), 0.5, ranks) / math.sin(math.pi / 4) + 1
    assert torch.allclose(seen, -torch.log(torch.special.ndtr(-ranks)), atol=2e-3)


def test_pixels_are_means_of_squares_and_their_squares_of_these():
    x0 = drawn(1, 3, 16, 16)[0]
    half = pixelation(x0, 0.5, x0)
    assert torch.allclose(half[0, :, 4, 12], x0[0, :, 4:8, 12:16].mean((1, 2)), atol=1e-6)
    assert (half[..., ::4, ::4].repeat_interleave(4, -1).repeat_interleave(4, -2) == half).all()
    between = (pixelation(x0, 0.25, x0) + half) / 2
    assert torch.allclose(pixelation(x0, 0.375, x0), between, atol=1e-6)


def test_a_hole_grows_and_never_closes():
    x0, noise = torch.ones(4, 3, 16, 16), drawn(4, 3, 16, 16)[1]
    kept = [masking(x0, k / 10, noise) for k in range(11)]
    assert all((later <= before).all() for before, later in pairwise(kept))
    assert all((each[:, :1] == each).all() for each in kept)
    deepest = kept[3][:, 0].flatten(1).argmin(1)
    centres = torch.special.ndtr(noise.flatten(1)[:, [0, -1]]) * 16
    assert deepest.tolist() == [int(down) * 16 + int(right) for down, right in centres.tolist()]


@pytest.mark.parametrize("name", ["gaussian noise", "blur"])
def test_a_net_learns_to_undo_it(name):
    process, set_ = PROCESSES[name], pictures(count=4, held=0)
    learner = undoer(process, set_.shape)
    settings = Settings(images=100 * 16, batch=16, rate=0.003, warmup=5)
    loop = Loop({"loss": learner}, learner.net, set_.draw, settings, precision="float32")
    for _ in loop.steps():
        pass
    x0, noise = set_.x0(range(4)), Chance(2, 0, 4).normal(*set_.shape)
    seen = process.degrade(x0, 0.7, noise)
    with torch.no_grad():
        *_, last = undo(learner.eval().predict, process, seen, [0.7, 0.5, 0.3, 0.1, 0.0], noise)
    assert (last - x0).square().mean() < 0.5 * (seen - x0).square().mean()
