"""Guidance: how positive and negative are combined, and that no more is computed than is needed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from stubs import CountingNet, Plain, says, small_denoiser, words

from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.guidance import METHODS, Guidance, cfg, guided, rescaled_cfg
from varifold.models.denoising.precondition import x0 as predicts_x0
from varifold.models.denoising.space import VE
from varifold.models.sampling import schedule
from varifold.models.sampling.sample import sample

torch.set_num_threads(1)

SIGMAS = schedule.karras(5, 0.5, 80.0)


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def counting():
    net = CountingNet()
    return net, Denoiser(net, predicts_x0(), shape=(2, 4, 4), sigma_min=0.002, sigma_max=80.0)


def test_cfg():
    positive, negative = double(2, 3, 4, 4), double(2, 3, 4, 4, seed=1)
    for scale in (0.0, 1.0, 1.5, 7.5, -1.0):
        found = cfg(scale)(positive, negative, None, 1.0)
        assert torch.allclose(found, negative + scale * (positive - negative), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("phi", [0.0, 0.7, 1.0])
def test_rescaled_cfg_by_hand(phi):
    """Lin et al. 2023, equations 15 and 16, a sample at a time."""
    positive, negative = double(2, 3, 4, 4), 3 * double(2, 3, 4, 4, seed=1)
    found = rescaled_cfg(5.0, phi)(positive, negative, None, 1.0)
    for sample_found, p, n in zip(found, positive, negative, strict=True):
        x_cfg = n + 5.0 * (p - n)
        rescaled = x_cfg * (p.std() / x_cfg.std())
        assert torch.allclose(sample_found, phi * rescaled + (1 - phi) * x_cfg, rtol=1e-12)


def test_rescaling_survives_a_picture_of_one_colour():
    flat = torch.zeros(1, 3, 4, 4)
    assert rescaled_cfg(5.0)(flat, flat, None, 1.0).isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_where_positive_and_negative_agree_nothing_changes(method):
    picture = double(2, 3, 4, 4)
    assert torch.allclose(METHODS[method](7.0)(picture, picture, picture, 1.0), picture, rtol=1e-12)


@pytest.mark.parametrize("negative", [None, says(-3.0)], ids=["no negative", "negative"])
def test_scale_one_does_not_compute_the_negative(negative):
    net, denoiser = counting()
    last = sample(denoiser, SIGMAS, solver="euler", batch=3, cond=says(1.0), negative=negative, guidance=1.0)
    assert net.batches == [3] * 5
    assert net.embedded == [5]
    assert torch.allclose(last, torch.ones_like(last))


def test_without_any_condition_there_is_nothing_to_guide():
    for none in (None, [None]):
        net, denoiser = counting()
        sample(denoiser, SIGMAS, solver="euler", batch=3, cond=none, negative=none, guidance=2.0)
        assert net.batches == [3] * 5


def test_both_halves_go_through_the_net_in_one_call():
    net, denoiser = counting()
    last = sample(denoiser, SIGMAS, solver="euler", batch=3, cond=says(1.0, 2.0, 3.0), negative=says(0.5), guidance=2.0)
    assert net.batches == [6] * 5
    assert net.embedded == [30]
    assert torch.allclose(last[:, 0, 0, 0], 0.5 + 2.0 * (torch.tensor([1.0, 2.0, 3.0]) - 0.5))


def test_no_negative_is_unconditional():
    net = small_denoiser()
    x, sigma = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), 3.0
    D = guided(net, [sigma], x.shape, positive=words(1), negative=None, scale=2.0)
    with torch.no_grad():
        expected = 2 * net(x, sigma, words(1)) - net(x, sigma, None)
        assert torch.allclose(D(x, sigma), expected, atol=1e-5)


def test_conditions_of_different_lengths_share_a_batch():
    """Shorter ones are filled up with rows of zeros, which are no words."""
    net = small_denoiser()
    x, sigma = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), 3.0
    long, short = words(1, count=5), words(2, count=2)
    D = guided(net, [sigma], x.shape, positive=long, negative=short, scale=1.5)
    with torch.no_grad():
        expected = -0.5 * net(x, sigma, short) + 1.5 * net(x, sigma, long)
        assert torch.allclose(D(x, sigma), expected, atol=1e-5)


def test_lists_of_conditions_are_averaged():
    net, denoiser = counting()
    conds = {"cond": [says(1.0), says(2.0), says(6.0)], "negative": [says(0.0), says(-2.0)]}
    last = sample(denoiser, SIGMAS, solver="euler", batch=2, guidance=2.0, **conds)
    assert net.batches == [10] * 5
    assert torch.allclose(last, torch.full_like(last, -1.0 + 2.0 * (3.0 - -1.0)))


def test_a_plain_function_is_called_once_for_each_half():
    function = Plain()
    last = sample(function, SIGMAS, solver="euler", shape=(2, 4, 4), space=VE, cond=1.0, negative=0.5, guidance=3.0)
    assert [(cond, batch) for batch, _, cond in function.calls] == [(1.0, 1), (0.5, 1)] * 5
    assert torch.allclose(last, torch.full_like(last, 2.0))


def test_a_plain_function_is_called_once_without_guidance():
    function = Plain()
    sample(function, SIGMAS, solver="euler", shape=(2, 4, 4), space=VE, cond=1.0, negative=0.5)
    assert [(sigma, cond) for _, sigma, cond in function.calls] == [(sigma, 1.0) for sigma in SIGMAS[:-1]]


@pytest.mark.parametrize(("low", "high"), [(0.0, 10.0), (1.0, 30.0), (100.0, 200.0), (SIGMAS[2], SIGMAS[2])])
def test_outside_its_interval_guidance_costs_nothing(low, high):
    net, denoiser = counting()
    denoiser = denoiser.with_guidance(Guidance(low=low, high=high))
    last = sample(denoiser, SIGMAS, solver="euler", batch=2, cond=says(1.0), negative=says(0.0), guidance=3.0)
    acts = [low <= sigma <= high for sigma in SIGMAS[:-1]]
    assert net.batches == [4 if act else 2 for act in acts]
    # The last evaluation is what the last step to 0 returns.
    assert torch.allclose(last, torch.full_like(last, 3.0 if acts[-1] else 1.0))


def test_the_interval_keeps_its_ends():
    guidance = Guidance(low=1.0, high=2.0)
    assert [guidance.acts(sigma) for sigma in (0.99, 1.0, 1.5, 2.0, 2.01)] == [False, True, True, True, False]


def test_guided_copies_share_the_net():
    _, denoiser = counting()
    changed = denoiser.with_guidance(Guidance("rescale", (("phi", 0.3),)))
    assert changed.net is denoiser.net
    assert denoiser.guidance == Guidance()
    assert dataclasses.astuple(changed.guidance)[:2] == ("rescale", (("phi", 0.3),))


def test_knobs_reach_the_method():
    positive, negative = double(1, 3, 4, 4), double(1, 3, 4, 4, seed=1)
    combine = Guidance("rescale", (("phi", 0.3),)).combine(4.0)
    assert torch.equal(combine(positive, negative, None, 1.0), rescaled_cfg(4.0, 0.3)(positive, negative, None, 1.0))


def test_bad_guidance_is_explained():
    with pytest.raises(ValueError, match=r"'cgf'.*cfg, rescale"):
        Guidance("cgf")
    with pytest.raises(ValueError, match="ends at σ 1, below its start at 2"):
        Guidance(low=2.0, high=1.0)
    _, denoiser = counting()
    with pytest.raises(ValueError, match="3 samples met a batch of 2"):
        sample(denoiser, SIGMAS, batch=2, cond=says(1.0, 2.0, 3.0))
