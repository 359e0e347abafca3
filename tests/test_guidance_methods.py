"""Methods of guidance against their papers' equations, a sample at a time in float64, and against diffusers' own."""

from __future__ import annotations

import pytest
import torch

from varifold.models.denoising.combine import METHODS, OTHERS, apg, cfg, cfg_zero_star, perp_neg, perturbed_attention
from varifold.models.denoising.guidance import Guidance

torch.set_num_threads(1)

SCALES = pytest.mark.parametrize("scale", [0.0, 1.5, 4.0])
SHAPE = (3, 4, 6, 5)
POSITIVE, NEGATIVE, X, OTHER = (
    torch.randn(*SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in range(4)
)
SIGMA = 0.7


def close(found, expected, rtol=1e-12):
    assert torch.allclose(found, torch.as_tensor(expected), rtol=rtol, atol=1e-12)


def dot(a, b):
    return float((a * b).sum())


@SCALES
@pytest.mark.parametrize(("eta", "r"), [(0.0, 0.0), (0.3, 0.0), (1.0, 9.0), (0.0, 9.0), (-0.5, 1e9)])
def test_apg_by_hand(scale, eta, r):
    """Sadat et al. 2024: Δ shortened to r, its parallel part weighted by η, added (w − 1) times to the positive."""
    found = apg(scale, eta, r)(POSITIVE, NEGATIVE, X, SIGMA)
    for sample, p, n in zip(found, POSITIVE, NEGATIVE, strict=True):
        delta = p - n
        if r:
            delta = delta * min(1.0, r / delta.norm().item())
        parallel = dot(delta, p) / dot(p, p) * p
        close(sample, p + (scale - 1) * ((delta - parallel) + eta * parallel))


def test_what_apg_adds_is_perpendicular_to_the_positive():
    added = apg(5.0)(POSITIVE, NEGATIVE, X, SIGMA) - POSITIVE
    for a, p in zip(added, POSITIVE, strict=True):
        assert dot(a, p) == pytest.approx(0.0, abs=1e-9) and a.norm() > 1


@pytest.mark.parametrize("momentum", [-0.5, -0.75, 0.3])
def test_momentum_by_hand(momentum):
    pairs = [(POSITIVE, NEGATIVE), (NEGATIVE, X), (X, OTHER), (OTHER, POSITIVE)]
    combine, average = apg(3.0, eta=1.0, momentum=momentum), torch.zeros(SHAPE, dtype=torch.float64)
    for p, n in pairs:
        average = (p - n) + momentum * average
        close(combine(p, n, X, SIGMA), p + 2.0 * average)


@pytest.mark.parametrize("momentum", [0.0, -0.5])
@pytest.mark.parametrize(("eta", "r"), [(0.0, 0.0), (0.4, 8.0)])
def test_apg_is_diffusers(eta, r, momentum):
    apg_of = pytest.importorskip("diffusers.guiders.adaptive_projected_guidance")
    buffer, combine = apg_of.MomentumBuffer(momentum), apg(4.5, eta, r, momentum)
    for p, n in [(POSITIVE, NEGATIVE), (X, OTHER), (NEGATIVE, X)]:
        theirs = apg_of.normalized_guidance(p, n, 3.5, buffer, eta, r, use_original_formulation=True)
        close(combine(p, n, X, SIGMA), theirs)


def test_the_momentum_of_a_run_ends_with_it():
    guidance = Guidance("apg", (("momentum", -0.5), ("eta", 1.0)))
    first = guidance.combine(3.0)
    once, twice = first(POSITIVE, NEGATIVE, X, 2.0), first(POSITIVE, NEGATIVE, X, 1.0)
    assert not torch.equal(once, twice)
    assert torch.equal(guidance.combine(3.0)(POSITIVE, NEGATIVE, X, 2.0), once)


@SCALES
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_cfg_zero_star_by_hand(scale, strength):
    """Fan et al. 2025: (1 − w)·s*·v_negative + w·v_positive of the velocities v = (x − x0)/σ."""
    found = cfg_zero_star(scale, strength)(POSITIVE, NEGATIVE, X, SIGMA)
    for sample, p, n, x in zip(found, POSITIVE, NEGATIVE, X, strict=True):
        v_p, v_n = (x - p) / SIGMA, (x - n) / SIGMA
        s = 1 + strength * (dot(v_p, v_n) / dot(v_n, v_n) - 1)
        close(sample, x - SIGMA * ((1 - scale) * s * v_n + scale * v_p))


def test_the_scale_of_cfg_zero_star_is_the_best_one():
    """s* makes ‖v_positive − s·v_negative‖ least: at w → ∞ what is added is perpendicular to v_negative."""
    x0 = cfg_zero_star(2.0)(POSITIVE, NEGATIVE, X, SIGMA) - POSITIVE
    for added, n, x in zip(x0, NEGATIVE, X, strict=True):
        assert dot(added, x - n) == pytest.approx(0.0, abs=1e-9)


def test_cfg_zero_star_is_diffusers():
    zero_star = pytest.importorskip("diffusers.guiders.classifier_free_zero_star_guidance")
    v_p, v_n = (X - POSITIVE) / SIGMA, (X - NEGATIVE) / SIGMA
    s = zero_star.cfg_zero_star_scale(v_p.flatten(1), v_n.flatten(1)).view(-1, 1, 1, 1)
    theirs = X - SIGMA * (s * v_n + 3.0 * (v_p - s * v_n))
    close(cfg_zero_star(3.0)(POSITIVE, NEGATIVE, X, SIGMA), theirs, rtol=1e-5)


def test_zero_init_stands_still_at_the_first_levels():
    """Two evaluations at one level count once; a level in the middle of a step counts too."""
    combine = cfg_zero_star(3.0, zero_init=2)
    still = [torch.equal(combine(POSITIVE, NEGATIVE, X, sigma), X) for sigma in (1.0, 0.9, 0.9, 0.8, 0.7)]
    assert still == [True, True, True, False, False]


@pytest.mark.parametrize("scale", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_perturbed_attention_by_hand(scale, strength):
    found = perturbed_attention(scale, strength)(POSITIVE, NEGATIVE, X, SIGMA, OTHER)
    close(found, NEGATIVE + scale * (POSITIVE - NEGATIVE) + strength * (POSITIVE - OTHER))


def test_perturbed_attention_needs_no_negative_without_cfg():
    close(perturbed_attention(1.0, 2.0)(POSITIVE, None, X, SIGMA, OTHER), POSITIVE + 2 * (POSITIVE - OTHER))


@SCALES
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_perp_neg_by_hand(scale, strength):
    """Armandpour et al. 2023: the negative's direction less its projection on the positive's, both from the empty
    prompt's."""
    found = perp_neg(scale, strength)(POSITIVE, NEGATIVE, X, SIGMA, OTHER)
    for sample, p, n, empty in zip(found, POSITIVE, NEGATIVE, OTHER, strict=True):
        e_p, e_n = p - empty, n - empty
        perpendicular = e_n - dot(e_n, e_p) / dot(e_p, e_p) * e_p
        assert dot(perpendicular, e_p) == pytest.approx(0.0, abs=1e-9)
        close(sample, empty + scale * (e_p - strength * perpendicular))


def test_a_negative_along_the_positive_does_not_count():
    """What Perp-Neg is for: a negative that says the positive again takes nothing away."""
    along = OTHER + 0.8 * (POSITIVE - OTHER)
    close(perp_neg(3.0)(POSITIVE, along, X, SIGMA, OTHER), cfg(3.0)(POSITIVE, OTHER, X, SIGMA))


NEUTRAL = {
    "cfg": {},
    "rescale": {"phi": 0.0},
    "apg": {"eta": 1.0},
    "cfg_zero_star": {"strength": 0.0},
    "pag": {"strength": 0.0},
    "perp_neg": {"strength": 0.0},
}


@SCALES
@pytest.mark.parametrize("method", METHODS)
def test_neutral_knobs_are_plain_cfg_bit_for_bit(method, scale):
    """perp_neg's cfg is that with the empty prompt."""
    others = [OTHER] if method in OTHERS else []
    negative = OTHER if method == "perp_neg" else NEGATIVE
    found = METHODS[method](scale, **NEUTRAL[method])(POSITIVE, NEGATIVE, X, SIGMA, *others)
    assert torch.equal(found, cfg(scale)(POSITIVE, negative, X, SIGMA))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "cfg"])
def test_the_usual_knobs_are_not(method):
    others = [OTHER] if method in OTHERS else []
    found = METHODS[method](4.0)(POSITIVE, NEGATIVE, X, SIGMA, *others)
    assert (found - cfg(4.0)(POSITIVE, NEGATIVE, X, SIGMA)).abs().max() > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_samples_do_not_mix(method):
    others = [OTHER] if method in OTHERS else []
    knobs = {"norm_threshold": 5.0} if method == "apg" else {}
    whole = METHODS[method](4.0, **knobs)(POSITIVE, NEGATIVE, X, SIGMA, *others)
    for b in range(SHAPE[0]):
        parts = [tensor[b : b + 1] for tensor in (POSITIVE, NEGATIVE, X)]
        close(METHODS[method](4.0, **knobs)(*parts, SIGMA, *(o[b : b + 1] for o in others)), whole[b : b + 1])


@pytest.mark.parametrize("method", METHODS)
def test_flat_pictures_give_no_nan(method):
    flat, others = torch.zeros(1, 3, 4, 4), [torch.zeros(1, 3, 4, 4)] if method in OTHERS else []
    knobs = {"norm_threshold": 5.0} if method == "apg" else {}
    assert METHODS[method](4.0, **knobs)(flat, flat, flat, SIGMA, *others).isfinite().all()
