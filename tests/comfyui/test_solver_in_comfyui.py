"""Solver (Varifold) as the SAMPLER of ComfyUI's own sampling nodes, on a real MODEL with a tiny net."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import kept, node
from comfyui.model_graphs import ours as our_sampler

pytestmark = pytest.mark.comfyui

STEPS = 7
KNOBS = {"eta": 1.0, "s_noise": 1.0, "order": 0, "variant": "usual", "r": 0.5}
MODELS = pytest.mark.parametrize("space", ["ve", "flow"])


def base(space: str, **latent: int) -> dict:
    """A MODEL, its prompts, schedule, noise and an empty latent."""
    size = {"width": 64, "height": 64, "batch_size": 2, **latent}
    return {
        "model": node("ProbeModel", space=space),
        "positive": node("ProbeForeignConditioning", level=0.4),
        "negative": node("ProbeForeignConditioning", level=-0.2),
        "sigmas": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=STEPS, denoise=1.0),
        "noise": node("RandomNoise", noise_seed=7),
        "latent": node("EmptyLatentImage", **size),
        "cfg": node("CFGGuider", model=["model", 0], positive=["positive", 0], negative=["negative", 0], cfg=3.0),
    }


def custom(name: str, sampler: dict, latent: str = "latent") -> dict:
    """SamplerCustom with a SAMPLER, and a keeper "keep NAME" of its latent."""
    run = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "cfg": 3.0}
    run |= {"add_noise": True, "noise_seed": 7, "sampler": [f"choose {name}", 0], "sigmas": ["sigmas", 0]}
    return {
        f"choose {name}": sampler,
        name: node("SamplerCustom", **run, latent_image=[latent, 0]),
        f"keep {name}": node("ProbeKeep", latent=[name, 0]),
    }


def advanced(name: str, sampler: dict) -> dict:
    """The same with SamplerCustomAdvanced and CFGGuider."""
    run = {"noise": ["noise", 0], "guider": ["cfg", 0], "sampler": [f"choose {name}", 0], "sigmas": ["sigmas", 0]}
    return {
        f"choose {name}": sampler,
        name: node("SamplerCustomAdvanced", **run, latent_image=["latent", 0]),
        f"keep {name}": node("ProbeKeep", latent=[name, 0]),
    }


def ours(solver: str, **changes: object) -> dict:
    return node("VarifoldSolver", solver=solver, **{**KNOBS, **changes})


def theirs(solver: str) -> dict:
    return node("KSamplerSelect", sampler_name=solver)


def deviation(server, run, one: str, other: str) -> float:
    """The largest difference of two kept latents, relative to the larger latent."""
    a, b = (kept(server, run, f"keep {name}")["latent"] for name in (one, other))
    assert np.abs(a).max() > 0.1
    return np.abs(a - b).max() / np.abs(a).max()


@MODELS
@pytest.mark.parametrize("drive", [custom, advanced], ids=["SamplerCustom", "CFGGuider"])
def test_solvers_without_noise_are_comfyuis(comfy_server, space, drive):
    prompt = base(space)
    solvers = ("euler", "heun", "dpmpp_2m", "res_multistep", "dpm_fast", "dpmpp_2m_cfg_pp", "res_multistep_cfg_pp")
    for solver in solvers:
        prompt |= drive(f"our {solver}", ours(solver)) | drive(f"their {solver}", theirs(solver))
    run = comfy_server.run(prompt, {"preview_method": "latent2rgb"})
    for solver in solvers:
        assert deviation(comfy_server, run, f"our {solver}", f"their {solver}") < 1e-5, solver
    assert deviation(comfy_server, run, "our euler", "their heun") > 1e-3

    # A report a step for every sampler, also for those that look twice.
    counted = {name: [done for at, done, _ in run.progress if at == name] for name in prompt if "our" in name}
    for solver in solvers:
        assert counted[f"our {solver}"] == list(range(1, STEPS + 1)), solver


@MODELS
def test_a_noise_mask_keeps_what_comfyuis_euler_keeps(comfy_server, space):
    prompt = base(space) | {
        "left": node("SolidMask", value=1.0, width=32, height=64),
        "none": node("SolidMask", value=0.0, width=64, height=64),
        "mask": node("MaskComposite", destination=["none", 0], source=["left", 0], x=0, y=0, operation="add"),
        "masked": node("SetLatentNoiseMask", samples=["first", 0], mask=["mask", 0]),
    }
    prompt |= custom("first", theirs("heun"))
    prompt |= custom("ours", ours("euler"), "masked") | custom("theirs", theirs("euler"), "masked")
    run = comfy_server.run(prompt)
    assert deviation(comfy_server, run, "ours", "theirs") < 1e-5
    first, after = (kept(comfy_server, run, f"keep {name}")["latent"] for name in ("first", "ours"))
    changed = np.abs(after - first)
    assert changed[..., 4:].max() < 1e-5 < 1e-2 < changed[..., :4].max()


@MODELS
def test_a_noisy_solver_adds_the_same_noise_each_time(comfy_server, space):
    prompt = base(space) | custom("calm", ours("euler_ancestral", eta=0.0)) | custom("euler", ours("euler"))
    # Two nodes with the same inputs would share one output in ComfyUI's cache.
    prompt |= custom("one", ours("euler_ancestral")) | custom("again", ours("euler_ancestral", s_noise=1.0001))
    run = comfy_server.run(prompt)
    assert deviation(comfy_server, run, "calm", "euler") < 1e-5
    assert deviation(comfy_server, run, "one", "euler") > 1e-2
    assert 0 < deviation(comfy_server, run, "one", "again") < 1e-3


def test_noise_on_the_way_is_of_the_models_scale(comfy_server):
    """As our Sampler's to rounding, and ComfyUI's in spread: its noise is made otherwise."""
    scaled = {"unscaled": node("ProbeModel", space="flow")}
    scaled["model"] = node("ModelNoiseScale", model=["unscaled", 0], noise_scale=4.0)
    prompt = base("flow", width=256, height=256, batch_size=4) | scaled | {"noise": node("VarifoldNoise", seed=7)}
    solvers = ("euler_ancestral", "dpmpp_2s_ancestral", "sa_solver")
    for solver in solvers:
        prompt |= advanced(f"our {solver}", ours(solver)) | advanced(f"their {solver}", theirs(solver))
        prompt |= our_sampler(f"own {solver}", solver=solver, sigmas=["sigmas", 0])
    run = comfy_server.run(prompt)
    for solver in solvers:
        assert deviation(comfy_server, run, f"our {solver}", f"own {solver}") < 1e-5, solver
        mine, other = (kept(comfy_server, run, f"keep {who} {solver}")["latent"].std() for who in ("our", "their"))
        assert mine == pytest.approx(other, rel=0.02), solver


@MODELS
def test_schedules_are_taken_from_a_model(comfy_server, space):
    schedule = {"model": ["model", 0], "steps": STEPS, "denoise": 1.0, "sigma_max": 0.0, "sigma_min": 0.0}
    schedule |= {"rho": 7.0, "shift": 1.0, "betas": "linear", "zero_terminal_snr": False, "points": "[]"}
    prompt = {"model": node("ProbeModel", space=space)}
    for curve in ("simple", "normal", "karras"):
        their = node("BasicScheduler", model=["model", 0], scheduler=curve, steps=STEPS, denoise=1.0)
        prompt |= {f"our {curve}": node("VarifoldSchedule", curve=curve, **schedule), f"their {curve}": their}
    keepers = {f"keep {name}": node("ProbeKeep", sigmas=[name, 0]) for name in prompt if name != "model"}
    run = comfy_server.run(prompt | keepers)
    for curve in ("simple", "normal", "karras"):
        mine, yours = (kept(comfy_server, run, f"keep {who} {curve}")["sigmas"] for who in ("our", "their"))
        assert len(mine) == STEPS + 1 and mine == pytest.approx(yours, rel=1e-5), curve
