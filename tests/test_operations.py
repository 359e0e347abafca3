"""What a step costs beside the net: about ten operations that are not views, and never a wait for a number."""

from __future__ import annotations

import pytest
import torch
from counting import StubNet, count, per_step

from varifold.models.denoising.precondition import eps
from varifold.models.sampling.solver import SOLVERS

torch.set_num_threads(1)

MOST = {"euler": 9, "dpmpp_2m": 10, "uni_pc": 12, "dpmpp_2m_sde": 12}


@pytest.mark.parametrize("name", MOST)
def test_a_guided_step_takes_few_operations(name):
    """Scaling, guidance, the solver's sum and the NaN check included; embeddings are made before the loop."""
    found = per_step(name)
    assert 5 < found["operations"] <= MOST[name], found["names"]


@pytest.mark.parametrize("name", SOLVERS)
def test_no_step_waits_for_a_number(name):
    assert count(name, 8).kinds["waits"] == 0
    assert count(name, 8, observe=lambda done, total, x0: None, pictures=True).kinds["waits"] == 0


def test_nets_of_noise_and_velocity_cost_one_less():
    """Their x0 keeps all of the state, which needs no multiplication."""
    assert per_step("euler", precondition=eps)["operations"] == per_step("euler")["operations"] - 1


def test_half_precision_costs_one_cast():
    full, half = (per_step("euler", dtype=dtype)["operations"] for dtype in (torch.float32, torch.float16))
    assert half == full + 1


def test_without_guidance_two_fewer():
    """No batch of two halves to join, and nothing to combine."""
    assert per_step("euler", guidance=1.0)["operations"] == per_step("euler")["operations"] - 2


def test_previews_cost_no_operation_on_the_cpu():
    watched = per_step("euler", observe=lambda done, total, x0: None, pictures=True)
    assert watched["operations"] == per_step("euler")["operations"]


def test_the_stub_issues_none():
    net = StubNet()
    assert net(torch.zeros(2, 4, 8, 8), None) is net.answer
