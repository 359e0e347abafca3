"""Prompts that draw with a MODEL twice, by our Sampler and by ComfyUI's own, and how far the two are apart."""

from __future__ import annotations

import numpy as np

from .graphs import kept, node
from .server import ComfyServer, Run

KINDS = ("sd15", "sd15_v", "sdxl", "flux")
STEPS = 5
SEED = 7
GUIDANCE = 3.0
EXACT, CHANGED = 1e-4, 1e-2


def base(kind: str = "sd15", batch: int = 2, **nodes: dict) -> dict:
    """A small random MODEL, prompts, schedule, noise and an empty latent of 64×48, and more `nodes`."""
    return {
        "model": node("ProbeShapedModel", kind=kind),
        "positive": node("ProbeText", seed=1, tokens=7),
        "other": node("ProbeText", seed=2, tokens=7),
        "negative": node("ProbeText", seed=3, tokens=7),
        "schedule": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=STEPS, denoise=1.0),
        "noise": node("VarifoldNoise", seed=SEED),
        "latent": node("EmptyLatentImage", width=64, height=48, batch_size=batch),
    } | nodes


def ours(name: str = "ours", model: str = "model", with_vae: str | None = None, **changes: object) -> dict:
    """Our Sampler as the node `name`, kept by "keep NAME"; `changes` are its inputs, `with_vae` is From Model's."""
    inputs = {"denoiser": [f"{name} denoiser", 0], "sigmas": ["schedule", 0], "positive": ["positive", 0]}
    inputs |= {"negative": ["negative", 0], "latent": ["latent", 0], "solver": "euler"}
    inputs |= {"guidance": GUIDANCE, "seed": SEED, "batch": 1, "width": 0, "height": 0}
    return {
        f"{name} denoiser": node("VarifoldFromModel", model=[model, 0], vae=with_vae and [with_vae, 0]),
        name: node("VarifoldSampler", **{**inputs, **changes}),
        f"keep {name}": node("ProbeKeep", image=[name, 0], mask=[name, 1], latent=[name, 2]),
    }


def theirs(name: str = "theirs", model: str = "model", solver: str = "euler", **changes: object) -> dict:
    """SamplerCustomAdvanced with CFGGuider as the node `name`, kept by "keep NAME"."""
    inputs = {"positive": ["positive", 0], "negative": ["negative", 0], "cfg": GUIDANCE}
    run = {"noise": ["noise", 0], "sampler": [f"{name} solver", 0], "sigmas": ["schedule", 0]}
    run |= {"latent_image": ["latent", 0]}
    guider = {key: changes.get(key, value) for key, value in inputs.items()}
    run = {key: changes.get(key, value) for key, value in run.items()}
    assert set(changes) <= {*guider, *run}, changes
    return {
        f"{name} solver": node("KSamplerSelect", sampler_name=solver),
        f"{name} guider": node("CFGGuider", model=[model, 0], **guider),
        name: node("SamplerCustomAdvanced", guider=[f"{name} guider", 0], **run),
        f"keep {name}": node("ProbeKeep", latent=[name, 0]),
    }


def both(model: str = "model", **conds: list) -> dict:
    """Our Sampler as "ours" and ComfyUI's as "theirs", on the same model and conditioning."""
    return ours(model=model, **conds) | theirs(model=model, **conds)


def latents(server: ComfyServer, run: Run, *names: str) -> list[np.ndarray]:
    """The kept LATENTs of the samplers `names`."""
    return [kept(server, run, f"keep {name}")["latent"] for name in names]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the larger latent."""
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / max(np.abs(one).max(), np.abs(other).max()))


def check(server: ComfyServer, prompt: dict) -> Run:
    """Of the samplers of a prompt "ours" is as "theirs", and both are other than "plain"."""
    run = server.run(prompt)
    mine, other, plain = latents(server, run, "ours", "theirs", "plain")
    assert np.isfinite(mine).all() and mine.std() > 0.1
    assert apart(mine, other) < EXACT
    assert apart(other, plain) > CHANGED
    return run
