"""The Toy Denoiser in the real ComfyUI: a denoiser without weights is managed like any other, and draws the same."""

from __future__ import annotations

import json

import pytest
import torch
from comfyui.graphs import distance, draw, failure, keep, node, sampler, schedule

from varifold.models import sample
from varifold.models import schedule as curves
from varifold.models.denoising.pixels import decode
from varifold.models.denoising.space import SPACES
from varifold.models.denoising.toy import Toy

pytestmark = pytest.mark.comfyui


def drawing(space: str, **changes: object) -> dict:
    """Six Karras steps of a spiral, kept by the node "keep"."""
    return {
        "toy": node("VarifoldToy", shape="spiral", modes=2, spread=0.05, space=space),
        "guided": node(
            "VarifoldGuidance", denoiser=["toy", 0], method="cfg", rescale=0.0, from_sigma=9.0, to_sigma=0.0
        ),
        "schedule": schedule(denoiser=["toy", 0]),
        "sampler": sampler(denoiser=["guided", 0], positive=None, **changes),
        "keep": keep(),
    }


@pytest.mark.parametrize("space", SPACES)
def test_it_draws_as_from_python(comfy_server, space):
    kept = draw(comfy_server, drawing(space, batch=2))
    toy = Toy("spiral", 2, 0.05, SPACES[space])
    sigmas = torch.tensor(curves.karras(6, toy.sigma_min, toy.sigma_max)).tolist()
    expected = sample(toy, sigmas, solver="euler", seed=5, batch=2)
    assert distance(kept["latent"], expected.numpy()) < 1e-4
    assert distance(kept["image"], decode(expected, "plane")[0].numpy()) < 0.01


def test_its_view_is_told_the_points_that_are_drawn(comfy_server):
    prompt = drawing("ve", seed=9)
    question = {"widgets": prompt["toy"]["inputs"], "solver": {"solver": "euler"}, "seed": 9}
    question["schedule"] = {"widgets": prompt["schedule"]["inputs"], "toy": prompt["toy"]["inputs"]}
    told = json.loads(comfy_server.post("/varifold/toy", question))
    assert told["steps"] == [0, 1, 2, 3, 4, 5, 6]
    points = draw(comfy_server, prompt)["latent"].reshape(2, -1).T[:400]
    assert distance(torch.tensor(told["frames"][-1]).view(-1, 2).numpy(), points) < 1e-3


def test_it_draws_again_once_its_memory_was_freed(comfy_server):
    before = draw(comfy_server, drawing("ve"))
    comfy_server.free()
    after = draw(comfy_server, drawing("ve", batch=3))
    assert distance(after["latent"][:1], before["latent"]) < 1e-5


def test_what_it_cannot_do_is_told(comfy_server):
    wrong = drawing("flow") | {"schedule": schedule(denoiser=None)}
    assert "take the schedule's σ range from this denoiser" in failure(comfy_server, wrong)
