"""A MODEL of ComfyUI's behind our Sampler: the same latents as ComfyUI's own sampling, with all that hangs on it."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import failure, keep, kept, node

pytestmark = pytest.mark.comfyui

STEPS = 6
SPACES = pytest.mark.parametrize("space", ["ve", "flow"])


def base(space: str, batch: int = 2) -> dict:
    return {
        "model": node("ProbeModel", space=space),
        "positive": node("ProbeForeignConditioning", level=0.4),
        "negative": node("ProbeForeignConditioning", level=-0.2),
        "schedule": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=STEPS, denoise=1.0),
        "noise": node("VarifoldNoise", seed=7),
        "latent": node("EmptyLatentImage", width=64, height=48, batch_size=batch),
    }


def ours(**changes: object) -> dict:
    """Our Sampler on the MODEL, kept by "keep"."""
    inputs = {"denoiser": ["load", 0], "sigmas": ["schedule", 0], "positive": ["positive", 0]}
    inputs |= {"negative": ["negative", 0], "latent": ["latent", 0], "solver": "euler"}
    inputs |= {"guidance": 3.0, "seed": 7, "batch": 1, "width": 0, "height": 0}
    return {
        "load": node("VarifoldFromModel", model=["model", 0]),
        "sampler": node("VarifoldSampler", **{**inputs, **changes}),
        "keep": keep(),
    }


def theirs(sampler: str = "euler", cfg: float = 3.0, **changes: object) -> dict:
    """The same by SamplerCustomAdvanced, kept by "keep theirs"."""
    run = {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["choice", 0], "sigmas": ["schedule", 0]}
    guider = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "cfg": cfg}
    return {
        "guider": node("CFGGuider", **{**guider, **changes}),
        "choice": node("KSamplerSelect", sampler_name=sampler),
        "theirs": node("SamplerCustomAdvanced", **run, latent_image=["latent", 0]),
        "keep theirs": node("ProbeKeep", latent=["theirs", 0]),
    }


def both(server, prompt: dict) -> tuple[np.ndarray, np.ndarray, dict]:
    """The latents of a prompt with both keepers, and all that ours kept."""
    run = server.run(prompt)
    mine = kept(server, run)
    return mine["latent"], kept(server, run, "keep theirs")["latent"], mine


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the larger latent."""
    return float(np.abs(one - other).max() / max(np.abs(one).max(), np.abs(other).max()))


@SPACES
@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp_2m", "lms"])
def test_the_same_latents_as_comfyui(comfy_server, space, solver):
    mine, other, drawn = both(comfy_server, base(space) | ours(solver=solver) | theirs(solver))
    assert apart(mine, other) < 1e-4
    assert drawn["image"].shape == (2, 48, 64, 3) and drawn["image"].std() > 0.01


@SPACES
def test_another_solver_is_another_latent(comfy_server, space):
    mine, other, _ = both(comfy_server, base(space) | ours(solver="heun") | theirs("euler"))
    assert apart(mine, other) > 1e-2


@SPACES
def test_a_guided_model_needs_a_negative(comfy_server, space):
    assert "negative" in failure(comfy_server, base(space) | ours(negative=None))
    assert "positive" in failure(comfy_server, base(space) | ours(positive=None))
