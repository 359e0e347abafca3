"""Guidance (Varifold) on a MODEL: the rescaling and the σ interval do what they say."""

from __future__ import annotations

import pytest
from comfyui.graphs import kept, node
from comfyui.model_graphs import CHANGED, EXACT, STEPS, apart, base, check, latents, ours, theirs

pytestmark = pytest.mark.comfyui

SPACES = pytest.mark.parametrize("kind", ["sd15", "flux"])
PHI = 0.6
# Step 2 of 5 begins there, and so does the guidance.
BELOW = {"sd15": 3.0, "flux": 0.8}


def guided(model: str = "model", **changes: object) -> dict:
    """Our Sampler as "ours", guided otherwise than by plain cfg everywhere."""
    inputs = {"denoiser": ["ours denoiser", 0], "method": "cfg", "rescale": PHI, "from_sigma": 1e5, "to_sigma": 0.0}
    return ours(model=model, denoiser=["guided", 0]) | {"guided": node("VarifoldGuidance", **{**inputs, **changes})}


@SPACES
def test_rescale_is_the_papers(comfy_server, kind):
    rescaled = node("ProbeRescale", model=["model", 0], phi=PHI)
    prompt = base(kind, rescaled=rescaled) | guided(method="rescale") | theirs(model="rescaled") | theirs("plain")
    check(comfy_server, prompt)


@SPACES
@pytest.mark.parametrize("method", ["cfg", "rescale"])
def test_outside_its_interval_the_positive_decides_alone(comfy_server, kind, method):
    """As two guiders do on two halves of the schedule, and with one condition a call where no guidance acts."""
    high, low = ["halves", 0], ["halves", 1]
    model = "model" if method == "cfg" else "rescaled"
    prompt = base(kind) | theirs("plain", model=model) | guided(model="counted", method=method, from_sigma=BELOW[kind])
    prompt |= {
        "rescaled": node("ProbeRescale", model=["model", 0], phi=PHI),
        "counted": node("ProbeCalls", model=["model", 0], name=f"{kind} {method}"),
        "tell": node("ProbeTellCalls", name=f"{kind} {method}", after=["ours", 2]),
        "halves": node("SplitSigmas", sigmas=["schedule", 0], step=2),
        "no noise": node("DisableNoise"),
        "keep schedule": node("ProbeKeep", sigmas=["schedule", 0]),
    }
    prompt |= theirs("first", sigmas=high, cfg=1.0)
    prompt |= theirs("theirs", model=model, sigmas=low, noise=["no noise", 0], latent_image=["first", 0])
    run = check(comfy_server, prompt)
    sigmas = kept(comfy_server, run, "keep schedule")["sigmas"]
    assert sigmas[1] > BELOW[kind] >= sigmas[2], sigmas
    assert run.outputs["tell"]["calls"] == [1] * 2 + [2] * (STEPS - 2)


def test_without_guidance_a_call_has_one_condition(comfy_server):
    counted = node("ProbeCalls", model=["model", 0], name="unguided")
    prompt = base(counted=counted) | ours(model="counted", guidance=1.0, negative=None) | theirs(cfg=1.0)
    prompt |= {"tell": node("ProbeTellCalls", name="unguided", after=["ours", 2])}
    run = comfy_server.run(prompt)
    assert apart(*latents(comfy_server, run, "ours", "theirs")) < EXACT
    assert run.outputs["tell"]["calls"] == [1] * STEPS


def test_the_methods_of_one_model_do_not_mix(comfy_server):
    """RescaleCFG is on the MODEL; our rescaling takes its place, and plain guidance leaves it there."""
    rescaled = node("RescaleCFG", model=["model", 0], multiplier=0.9)
    prompt = base(patched=rescaled) | theirs("plain") | ours(model="patched") | theirs(model="patched")
    other = node(
        "VarifoldGuidance", denoiser=["ours denoiser", 0], method="rescale", rescale=0.0, from_sigma=1e5, to_sigma=0.0
    )
    prompt |= {"other": other} | ours("ours over it", denoiser=["other", 0])
    run = check(comfy_server, prompt)
    mine, over, plain = latents(comfy_server, run, "ours", "ours over it", "plain")
    assert apart(over, plain) < EXACT and apart(over, mine) > CHANGED
