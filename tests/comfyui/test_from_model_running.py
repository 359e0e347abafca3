"""A MODEL behind our Sampler while it runs: trace, previews, progress, cancel, memory, NaN, bits, precision."""

from __future__ import annotations

import time

import numpy as np
import pytest
from comfyui.graphs import distance, kept, node
from comfyui.model_graphs import CHANGED, EXACT, STEPS, apart, base, latents, ours, theirs

pytestmark = pytest.mark.comfyui

SPACES = pytest.mark.parametrize("kind", ["sd15", "flux"])
CHANNELS = {"sd15": 4, "flux": 16}


@SPACES
def test_the_trace_shows_what_was_believed(comfy_server, kind):
    """With a VAE in pictures of the size, the last of them the picture; without one in small rough views."""
    prompt = base(kind, vae=node("ProbeVAE", channels=CHANNELS[kind])) | ours(with_vae="vae") | ours("rough")
    for name in ("ours", "rough"):
        prompt[f"{name} frames"] = node("VarifoldTrace", trace=[name, 3], layout="frames", scale=1)
        prompt[f"keep {name} frames"] = node("ProbeKeep", image=[f"{name} frames", 0])
    run = comfy_server.run(prompt)
    frames, rough = (kept(comfy_server, run, f"keep {name} frames")["image"] for name in ("ours", "rough"))
    picture, view = (kept(comfy_server, run, f"keep {name}")["image"] for name in ("ours", "rough"))
    assert frames.shape == (STEPS, 48, 64, 3) and distance(frames[-1], picture[0]) < 0.02
    assert distance(frames[0], frames[-1]) > 0.1
    assert rough.shape[0] == STEPS and rough.std() > 0.05
    assert view.shape == (2, 48, 64, 3) and view.std() > 0.05
    assert "rough view" in run.outputs["rough"]["text"][0] and "rough view" not in run.outputs["ours"]["text"][0]


def test_progress_counts_evaluations_and_previews_come(comfy_server):
    run = comfy_server.run(base() | ours(solver="heun"), {"preview_method": "latent2rgb"})
    done = [(value, most) for name, value, most in run.progress if name == "ours"]
    evaluations = 2 * STEPS - 1
    assert done == [(value, evaluations) for value in range(1, evaluations + 1)]
    assert run.previews and all(max(picture.size) > 100 for picture in run.previews)
    assert max(np.asarray(picture).std() for picture in run.previews) > 5


def test_cancel_ends_within_two_evaluations_and_the_next_prompt_runs(comfy_server):
    slow = node("BasicScheduler", model=["model", 0], scheduler="normal", steps=60, denoise=1.0)
    prompt = base(latent=node("EmptyLatentImage", width=128, height=128, batch_size=2)) | ours(solver="heun")
    reports = []

    def cancel(event):
        if event.kind == "progress" and event.data["node"] == "ours":
            reports.append(event.data["value"])
            if len(reports) == 1:
                comfy_server.interrupt()

    run = comfy_server.run(prompt | {"schedule": slow}, on_event=cancel)
    assert run.interrupted and run.error is None and run.of("execution_interrupted")[0]["node_id"] == "ours"
    assert 1 <= len(reports) <= 3, reports
    after = comfy_server.run(base() | ours() | theirs())
    assert apart(*latents(comfy_server, after, "ours", "theirs")) < EXACT


def test_nothing_of_a_model_stays_once_the_workflow_is_cleared(comfy_server):
    nodes = {"vae": node("ProbeVAE", channels=16), "guided": GUIDED}
    drawn = base("flux", **nodes) | ours(with_vae="vae", denoiser=["guided", 0])
    run = comfy_server.run(drawn | {"tell": node("ProbeLoadedModels", after=["ours", 0])})
    assert "Flux" in run.outputs["tell"]["names"]
    assert "Flux" in alive(comfy_server)
    comfy_server.free()
    deadline = time.monotonic() + 10  # ComfyUI answers /free before it frees
    while {"Flux", "TAESD"} & alive(comfy_server):
        assert time.monotonic() < deadline, "still in memory"
        time.sleep(0.1)


GUIDED = node(
    "VarifoldGuidance", denoiser=["ours denoiser", 0], method="rescale", rescale=0.5, from_sigma=9.0, to_sigma=0.0
)


def alive(server) -> set[str]:
    """The kinds of nets that the process holds in any way."""
    return set(server.run({"tell": node("ProbeAlive")}).outputs["tell"]["names"])


@SPACES
def test_two_runs_give_the_same_bits(comfy_server, kind):
    same = node("RepeatLatentBatch", samples=["latent", 0], amount=1)  # other inputs, or ComfyUI runs it only once
    prompt = (
        base(kind, same=same) | ours(solver="dpmpp_2m_sde") | ours("again", solver="dpmpp_2m_sde", latent=["same", 0])
    )
    run = comfy_server.run(prompt)
    assert {"ours", "again"} <= set(run.executed)
    assert np.array_equal(*latents(comfy_server, run, "ours", "again"))


def test_nan_is_an_error_with_its_place(comfy_server):
    broken = node("ProbeBreak", model=["model", 0], below=1.0)
    run = comfy_server.run(base(broken=broken) | ours(model="broken"))
    assert run.error["node_id"] == "ours"
    message = run.error["exception_message"]
    assert f"NaN or infinity at evaluation 4 of {STEPS} (σ = " in message, message
    after = comfy_server.run(base() | ours() | theirs())
    assert apart(*latents(comfy_server, after, "ours", "theirs")) < EXACT


@SPACES
@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 0.3), ("float16", 0.02)])
def test_a_model_of_lower_precision(comfy_server, kind, dtype, most):
    """The state stays float32: as exact as ComfyUI's own."""
    low = node("ProbeShapedModel", kind=kind, dtype=dtype)
    run = comfy_server.run(base(kind, low=low) | ours(model="low") | theirs(model="low") | theirs("full"))
    mine, other, full = latents(comfy_server, run, "ours", "theirs", "full")
    assert 1e-5 < apart(mine, full) < most
    assert apart(mine, other) < max(EXACT, apart(other, full)), (apart(mine, other), apart(other, full))


def test_two_models_in_one_graph_do_not_mix(comfy_server):
    prompt = base("sd15", second=node("ProbeShapedModel", kind="sd15", seed=4)) | ours() | theirs()
    prompt |= ours("ours second", model="second") | theirs("theirs second", model="second")
    run = comfy_server.run(prompt)
    assert apart(*latents(comfy_server, run, "ours", "theirs")) < EXACT
    assert apart(*latents(comfy_server, run, "ours second", "theirs second")) < EXACT
    assert apart(*latents(comfy_server, run, "ours", "ours second")) > CHANGED
