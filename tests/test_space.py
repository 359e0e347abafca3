"""Spaces: x = α(σ)·x0 + σ·ε, and the log signal-to-noise ratio both ways."""

from __future__ import annotations

import math

import pytest
import torch

from varifold.models.denoising.space import FLOW, SPACES, VE


def test_alpha():
    assert VE.alpha(80.0) == 1.0
    assert FLOW.alpha(0.25) == 0.75
    assert torch.equal(FLOW.alpha(torch.tensor([0.0, 1.0])), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
@pytest.mark.parametrize("share", [1e-4, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_log_snr_and_back(space, share):
    sigma = share * min(space.sigma_limit, 80.0)
    log_snr = space.log_snr(sigma)
    assert log_snr == pytest.approx(math.log(space.alpha(sigma)) - math.log(sigma))
    assert space.sigma(log_snr) == pytest.approx(sigma, rel=1e-12)


def test_ends():
    for space in SPACES.values():
        assert space.log_snr(0.0) == math.inf
    assert FLOW.log_snr(1.0) == -math.inf
    assert VE.sigma_limit == math.inf
    assert FLOW.sigma_limit == 1.0


def test_check_accepts_what_can_be_walked():
    VE.check([4518.0, 8.0, 0.0])
    VE.check([1.0, 0.5])
    FLOW.check([1.0, 0.0])


@pytest.mark.parametrize(
    ("space", "sigmas", "says"),
    [
        (VE, [], "0 σ's.*denoise 0"),
        (VE, [1.0], "1 σ's"),
        (VE, [1.0, 1.0], "number 0 is 1 and the next is 1"),
        (VE, [1.0, 2.0, 0.0], "does not descend.*unsampling"),
        (VE, [1.0, math.nan], "number 1.*nan"),
        (VE, [math.inf, 1.0], "number 0.*inf"),
        (VE, [1.0, -0.1], "number 1.*-0.1"),
        (FLOW, [1.01, 0.5], r"starts at σ = 1.01.*flow.*1.*denoiser"),
    ],
)
def test_check_explains_what_cannot(space, sigmas, says):
    with pytest.raises(ValueError, match=says):
        space.check(sigmas)
