"""Guidance: how positive and negative are combined, and that no more is computed than is needed."""

from __future__ import annotations

import dataclasses
from unittest import mock

import pytest
import torch
from stubs import CountingNet, Plain, says, small_denoiser, words

from varifold.models.denoising.combine import METHODS, OTHERS, cfg, rescaled_cfg
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.guidance import Guidance, guided
from varifold.models.denoising.precondition import flow
from varifold.models.denoising.precondition import x0 as predicts_x0
from varifold.models.denoising.space import VE
from varifold.models.denoising.vocabulary import Vocabulary
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
def test_where_all_predictions_agree_nothing_changes(method):
    picture, others = double(2, 3, 4, 4), [double(2, 3, 4, 4)] if method in OTHERS else []
    assert torch.allclose(METHODS[method](7.0)(picture, picture, picture, 1.0, *others), picture, rtol=1e-12)


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


def small_start(batch=2):
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_pag_is_one_call_of_the_net_more_rows():
    """The positive, the negative, and the positive whose middle looks nowhere."""
    net, x, sigma = small_denoiser(), small_start(), 3.0
    pag = net.with_guidance(Guidance("pag", (("strength", 1.5),)))
    D = guided(pag, [sigma], x.shape, positive=words(1), negative=words(2), scale=2.0)
    with (
        torch.no_grad(),
        mock.patch.object(type(net.net), "forward", autospec=True, side_effect=type(net.net).forward) as calls,
    ):
        found = D(x, sigma)
        assert [len(call.args[1]) for call in calls.call_args_list] == [6]
        positive, negative = net(x, sigma, words(1)), net(x, sigma, words(2))
        perturbed = net(x, sigma, net.without_attention(words(1)))
    assert (perturbed - positive).abs().max() > 1e-3
    assert torch.allclose(found, negative + 2 * (positive - negative) + 1.5 * (positive - perturbed), atol=1e-5)


def test_attention_that_looks_nowhere_is_the_values():
    """Ahn et al. 2024: the map is the identity, in the middle and for the samples that ask for it."""
    net = small_denoiser()
    attention, x = net.net.middle[0].attention, torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = attention(x, torch.tensor([[0.0], [1.0]]))
        value = attention.qkv(attention.norm(x)).chunk(3, dim=1)[2]
        assert torch.allclose(found[1], attention.out(value)[1], atol=1e-5)
        assert torch.allclose(found[0], attention(x)[0], atol=1e-5)


@pytest.mark.parametrize("cond", [None, words(1)], ids=["unconditional", "prompted"])
def test_pag_acts_without_cfg_and_without_a_prompt(cond):
    net, x, sigma = small_denoiser(), small_start(), 3.0
    pag = net.with_guidance(Guidance("pag"))
    D = guided(pag, [sigma], x.shape, positive=cond, scale=1.0)
    with torch.no_grad():
        plain, perturbed = net(x, sigma, cond), net(x, sigma, net.without_attention(cond))
        assert torch.allclose(D(x, sigma), 2 * plain - perturbed, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_pag_of_no_strength_costs_nothing(scale):
    net, denoiser = counting()
    denoiser = denoiser.with_guidance(Guidance("pag", (("strength", 0.0),)))
    sample(denoiser, SIGMAS, solver="euler", batch=3, cond=says(1.0), negative=says(0.0), guidance=scale)
    assert net.batches == [3 if scale == 1 else 6] * 5


def test_pag_without_attention_is_refused():
    _, denoiser = counting()
    with pytest.raises(ValueError, match="attention in its middle"):
        sample(denoiser.with_guidance(Guidance("pag")), SIGMAS, cond=says(1.0), guidance=2.0)
    function = Plain()
    function.guidance, function.shape = Guidance("pag"), (2, 4, 4)
    with pytest.raises(ValueError, match="attention in the middle"):
        sample(function, SIGMAS, space=VE, cond=1.0, guidance=2.0)


def test_perp_neg_asks_for_the_empty_prompt_in_the_same_call():
    net, denoiser = counting()
    denoiser = denoiser.with_guidance(Guidance("perp_neg"))
    sample(denoiser, SIGMAS, solver="euler", batch=2, cond=says(1.0), negative=says(0.5), guidance=2.0)
    assert net.batches == [6] * 5


@pytest.mark.parametrize("negative", [None, [None]])
def test_perp_neg_without_a_negative_is_cfg(negative):
    net, denoiser = counting()
    perp, conds = denoiser.with_guidance(Guidance("perp_neg")), {"cond": says(1.0), "negative": negative}
    found, plain = (sample(each, SIGMAS, solver="euler", batch=2, guidance=2.0, **conds) for each in (perp, denoiser))
    assert torch.equal(found, plain) and net.batches == [4] * 10


@pytest.mark.parametrize("method", ["apg", "cfg_zero_star", "perp_neg"])
def test_at_scale_one_no_method_acts_but_pag(method):
    net, denoiser = counting()
    denoiser = denoiser.with_guidance(Guidance(method))
    sample(denoiser, SIGMAS, solver="euler", batch=2, cond=says(1.0), negative=says(0.5), guidance=1.0)
    assert net.batches == [2] * 5


def test_a_guide_takes_the_place_of_the_negative():
    """Karras et al. 2024, equation 4: D_guide + w·(D − D_guide), both with the positive's condition."""
    net, weak, x, sigma = small_denoiser(), small_denoiser(seed=5), small_start(), 3.0
    for each in (net, weak):
        each.vocabulary = Vocabulary([f"w{row}" for row in range(9)])
    positive = {"words": net.net.word_embeddings([3, 7])}
    D = guided(
        net.with_guidance(Guidance(guide=weak)), [sigma], x.shape, positive=positive, negative=words(2), scale=2.5
    )
    with torch.no_grad():
        weaker = weak(x, sigma, {"words": weak.net.word_embeddings([3, 7])})
        assert torch.allclose(D(x, sigma), weaker + 2.5 * (net(x, sigma, positive) - weaker), atol=1e-5)


def test_a_guide_steers_without_any_prompt_and_costs_a_call():
    (strong, denoiser), (weak, guide) = counting(), counting()
    denoiser = denoiser.with_guidance(Guidance(guide=guide, low=1.0))
    sample(denoiser, SIGMAS, solver="euler", batch=3, guidance=2.0)
    assert strong.batches == [3] * 5 and weak.batches == [3] * sum(sigma >= 1 for sigma in SIGMAS[:-1])
    sample(denoiser, SIGMAS, solver="euler", batch=3, guidance=1.0)
    assert strong.batches == [3] * 10 and len(weak.batches) < 5


def test_a_guide_that_is_the_denoiser_itself_changes_nothing():
    net, x = small_denoiser(), small_start()
    D = guided(net.with_guidance(Guidance("apg", guide=net)), [3.0], x.shape, positive=words(1), scale=7.0)
    with torch.no_grad():
        assert torch.allclose(D(x, 3.0), net(x, 3.0, words(1)), atol=1e-4)


def test_pairs_give_the_guides_prediction_as_the_negative():
    (_, denoiser), (_, guide) = counting(), counting()
    D = guided(denoiser.with_guidance(Guidance(guide=guide)), [1.0], (2, 2, 4, 4), positive=says(3.0), pairs=True)
    x0, negative = D(torch.zeros(2, 2, 4, 4), 1.0)
    assert (x0 == 3.0).all() and (negative == 3.0).all()


def test_bad_guides_are_explained():
    net, x = small_denoiser(), small_start()
    net.vocabulary = Vocabulary([f"w{row}" for row in range(9)])
    other = small_denoiser(seed=5)
    positive = {"words": net.net.word_embeddings([3])}

    def run(guide, cond=positive):
        return guided(net.with_guidance(Guidance(guide=guide)), [1.0], x.shape, positive=cond, scale=2.0)

    with pytest.raises(ValueError, match="knows no words"):
        run(other)
    other.vocabulary = Vocabulary(["<null>", "w1", "w2"])
    with pytest.raises(ValueError, match="does not know the words w3"):
        run(other)
    other.vocabulary = net.vocabulary
    with pytest.raises(ValueError, match="mixture"):
        run(other, {"words": net.net.word_embeddings([3]) / 2})
    with pytest.raises(ValueError, match="ve space cannot be guided by one in flow space"):
        run(small_denoiser(flow()))
    with pytest.raises(ValueError, match="perp_neg steers by the negative"):
        Guidance("perp_neg", guide=other)


@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp_2m"])
def test_zero_init_at_every_level_leaves_the_noise_as_it_is(solver):
    """A velocity of 0 is what x0 = x means in flow, to every solver."""
    denoiser = small_denoiser(flow()).with_guidance(Guidance("cfg_zero_star", (("zero_init", 9),)))
    x = small_start()
    last = sample(denoiser, [0.9, 0.6, 0.2, 0.0], solver=solver, x=x, cond=words(1), guidance=2.0)
    assert torch.allclose(last, x, atol=1e-5)
