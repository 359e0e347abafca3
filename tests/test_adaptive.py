"""The solver that chooses its own steps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from exact import RANGE, ode_solution, rms, small_mixture, states

from varifold.models import dpm_adaptive
from varifold.models.denoising.space import SPACES, VE

torch.set_num_threads(1)

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


class Asked:
    """D that keeps the σ's that it is asked at."""

    def __init__(self, D):
        self.D, self.sigmas = D, []

    def __call__(self, x, sigma):
        self.sigmas.append(sigma)
        return self.D(x, sigma)


@every_space
@pytest.mark.parametrize("order", [2, 3])
def test_smaller_tolerances_come_closer_and_ask_more(space, order):
    D, (high, low) = small_mixture(space), RANGE[space]
    x = states(D, high)
    exact = ode_solution(D, x, high, low)
    errors, counts = [], []
    for tolerance in (1e-2, 1e-4, 1e-6):
        asked = Asked(D)
        last = dpm_adaptive(asked, x, high, low, order=order, rtol=tolerance, atol=tolerance, limit=10_000)
        errors.append(rms(last - exact))
        counts.append(len(asked.sigmas))
        assert len(asked.sigmas) % order == 0 and min(asked.sigmas) >= low
    assert counts == sorted(counts) and counts[0] < counts[-1]
    assert errors[1] < errors[0] / 10 and errors[2] < errors[1] / 10 and errors[2] < 1e-5


def test_where_nothing_bends_it_strides():
    """Of an output that never changes DPM-Solver in ε has an error only from x0/σ, which is gone where x0 is 0."""
    asked = Asked(lambda x, sigma: torch.zeros_like(x))
    last = dpm_adaptive(asked, torch.ones(1, 2, dtype=torch.float64), 80.0, 0.002)
    assert torch.allclose(last, torch.full((1, 2), 0.002 / 80.0, dtype=torch.float64))
    starts = asked.sigmas[::3]
    strides = [math.log(a / b) for a, b in pairwise(starts)]
    assert strides[0] == pytest.approx(0.05) and all(b > 2 * a for a, b in pairwise(strides))


def test_a_step_that_failed_is_made_again_and_shorter():
    D = small_mixture(VE)
    asked = Asked(D)
    dpm_adaptive(asked, states(D, 5.0), 5.0, 0.2, h=3.0, rtol=1e-3, atol=1e-3)
    assert asked.sigmas[0] == asked.sigmas[3] == 5.0
    assert asked.sigmas[4] > asked.sigmas[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"order": 4}, "order should be 2 or 3, and is 4"),
        ({"sigma_min": 0.0}, "0 < sigma_min < sigma_max.*sigma_min 0"),
        ({"sigma_max": math.inf}, "sigma_max inf"),
        ({"sigma_max": 0.1}, "sigma_max 0.1"),
        ({"rtol": 0.0, "atol": 0.0}, "a tolerance above 0"),
        ({"h": 0.0}, "h above 0"),
    ],
)
def test_what_cannot_be_walked_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        dpm_adaptive(lambda x, sigma: x, torch.ones(1, 2), **{"sigma_max": 5.0, "sigma_min": 0.2, **changes})


def test_it_gives_up_in_words():
    with pytest.raises(ArithmeticError, match="NaN or infinity between σ = 5"):
        dpm_adaptive(lambda x, sigma: x * math.nan, torch.ones(1, 2), 5.0, 0.2)
    rough = Asked(lambda x, sigma: torch.sin(1e4 * x))
    with pytest.raises(ArithmeticError, match="after 30 evaluations: raise rtol, or limit"):
        dpm_adaptive(rough, torch.ones(1, 2), 5.0, 0.2, rtol=1e-6, atol=1e-6, limit=30)
    assert len(rough.sigmas) == 30
