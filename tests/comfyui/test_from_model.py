"""MODELs of every family behind our Sampler: the same latents as ComfyUI's own sampling."""

from __future__ import annotations

import pytest
from comfyui.graphs import node
from comfyui.model_graphs import CHANGED, EXACT, GUIDANCE, KINDS, SEED, STEPS, apart, base, latents, ours, theirs

pytestmark = pytest.mark.comfyui

SOLVERS = ("euler", "heun", "dpmpp_2m", "lms", "euler_cfg_pp")
FAMILIES = pytest.mark.parametrize("kind", KINDS)


@FAMILIES
def test_the_same_latents_as_sampler_custom_advanced(comfy_server, kind):
    prompt = base(kind)
    for solver in SOLVERS:
        prompt |= ours(f"our {solver}", solver=solver) | theirs(f"their {solver}", solver=solver)
    prompt |= ours("prompted otherwise", positive=["other", 0]) | ours("unguided", guidance=1.0, negative=None)
    run = comfy_server.run(prompt)
    for solver in SOLVERS:
        assert apart(*latents(comfy_server, run, f"our {solver}", f"their {solver}")) < EXACT, solver
    mine, *others = latents(comfy_server, run, "our euler", "our heun", "prompted otherwise", "unguided")
    assert mine.std() > 1 and all(apart(mine, other) > CHANGED for other in others)


@FAMILIES
def test_the_same_latents_as_ksampler(comfy_server, kind):
    """KSampler makes its own noise, RandomNoise's; ours takes it from the wire."""
    inputs = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0]}
    inputs |= {"latent_image": ["latent", 0], "seed": SEED, "steps": STEPS, "cfg": GUIDANCE, "denoise": 1.0}
    prompt = base(kind) | ours("ours", noise=["their noise", 0]) | ours("own noise")
    prompt |= {
        "their noise": node("RandomNoise", noise_seed=SEED),
        "theirs": node("KSampler", sampler_name="euler", scheduler="normal", **inputs),
        "keep theirs": node("ProbeKeep", latent=["theirs", 0]),
    }
    run = comfy_server.run(prompt)
    mine, other, own = latents(comfy_server, run, "ours", "theirs", "own noise")
    assert apart(mine, other) < EXACT and apart(mine, own) > CHANGED
