"""Fit Schedule on MODELs in the real ComfyUI: its SIGMAS and SAMPLER in ComfyUI's own sampling and in ours."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import failure, kept, node
from comfyui.model_graphs import EXACT, apart, latents, ours, theirs

pytestmark = pytest.mark.comfyui

STEPS, FINE, SEED = 5, 200, 11
KINDS = pytest.mark.parametrize("kind", ["eps", "flow", "sd15"])


def base(kind: str, **changes: object) -> dict:
    """A small MODEL, prompts, four empty latents of 4×4, and a fit; the noise is of none that it learnt from."""
    tiny = {"eps": "ve", "flow": "flow"}
    model = node("ProbeModel", space=tiny[kind]) if kind in tiny else node("ProbeShapedModel", kind=kind)
    text = "ProbeForeignConditioning" if kind in tiny else "ProbeText"
    said = ({"level": 0.4}, {"level": -0.2}) if kind in tiny else ({"seed": 1, "tokens": 7}, {"seed": 3, "tokens": 7})
    inputs = {"denoiser": ["denoiser", 0], "solver": "dpmpp_2m", "steps": STEPS, "guidance": 3.0, "prompts": ""}
    inputs |= {"trajectories": 32, "seed": 0, "fitted": "", "latent": ["latent", 0]}
    inputs |= {"positive": ["positive", 0], "negative": ["negative", 0]}
    return {
        "model": model,
        "positive": node(text, **said[0]),
        "negative": node(text, **said[1]),
        "denoiser": node("VarifoldFromModel", model=["model", 0]),
        "noise": node("VarifoldNoise", seed=SEED),
        "latent": node("EmptyLatentImage", width=32, height=32, batch_size=4),
        "fit": node("VarifoldFitSchedule", **{**inputs, **changes}),
        "schedule": node("BasicScheduler", model=["model", 0], scheduler="simple", steps=STEPS, denoise=1.0),
        "fine": node("BasicScheduler", model=["model", 0], scheduler="simple", steps=FINE, denoise=1.0),
        "keep sigmas": node("ProbeKeep", sigmas=["fit", 0]),
    }


@KINDS
def test_fitted_levels_and_solver_draw_closer_in_comfyui_and_alike_in_ours(comfy_server, kind):
    fitted = {"sigmas": ["fit", 0], "sampler": ["fit", 1]}
    prompt = base(kind) | theirs("fitted", **fitted) | theirs("usual", solver="dpmpp_2m")
    prompt |= theirs("reference", solver="heun", sigmas=["fine", 0]) | ours("ours", seed=SEED, **fitted)
    run = comfy_server.run(prompt)
    mine, theirs_, usual, reference = latents(comfy_server, run, "ours", "fitted", "usual", "reference")
    assert mine.shape == (4, 4, 4, 4) and apart(mine, theirs_) < EXACT
    near, far = (np.sqrt(((latent - reference) ** 2).mean((1, 2, 3))) for latent in (theirs_, usual))
    assert np.median(near) < 0.5 * np.median(far), (near, far)

    sigmas = kept(comfy_server, run, "keep sigmas")["sigmas"]
    assert len(sigmas) == STEPS + 1 and sigmas[-1] == 0 and (np.diff(sigmas) < 0).all()
    shown = run.outputs["fit"]
    assert "times closer" in shown["text"][0] and [n for n, _ in shown["varifold_curve"][0]] == [
        4,
        5,
        6,
        8,
        10,
        12,
        16,
        20,
    ]
    bar = [(done, total) for at, done, total in run.progress if at == "fit"]
    assert bar[-1][0] == bar[-1][1] and bar == sorted(bar)


def test_a_fit_costs_once_and_the_workflow_carries_it(comfy_server):
    prompt = base("flow")
    first = comfy_server.run(prompt)
    # Another widget: ComfyUI's own cache would answer the same inputs without running the node.
    kept_in_memory = comfy_server.run(prompt | {"fit": base("flow", fitted=" ")["fit"]})
    (widget,) = first.outputs["fit"]["varifold_fit"]
    shared = comfy_server.run(base("flow", fitted=widget))
    for run in (kept_in_memory, shared):
        assert run.outputs["fit"]["varifold_fit"] == [widget] and "fit" in run.executed
        assert not [done for at, done, _ in run.progress if at == "fit"]


def test_a_patched_model_is_another(comfy_server):
    """Patches of what a MODEL says leave the identity of its weights alone."""
    patched = {"patched": node("ProbeCalls", model=["model", 0], name="fit", gain=0.5)}
    patched |= {"denoiser": node("VarifoldFromModel", model=["patched", 0])}
    runs = [comfy_server.run(base("sd15", trajectories=4) | more) for more in ({}, patched)]
    plain, other = (run.outputs["fit"]["varifold_fit"] for run in runs)
    assert plain != other


def test_other_levels_than_its_own_are_refused(comfy_server):
    prompt = base("flow") | theirs("mixed", sampler=["fit", 1])
    assert "belongs to another schedule" in failure(comfy_server, prompt, "mixed")
