"""What can go wrong or be freed while ComfyUI runs our nodes: cancelling, NaN, bad files, eviction."""

from __future__ import annotations

import pickle
import shutil
import time

import numpy as np
import pytest
from comfyui.graphs import EMBEDDED, draw, drawing, failure, keep, kept, load, node, sampler, schedule
from comfyui.server import PromptRefused
from safetensors.torch import load_file, save_file

from varifold.models.checkpoint import file, header

pytestmark = pytest.mark.comfyui

NET = "UNet"
SECONDS_TO_SAY_NO = 5


@pytest.fixture(scope="module")
def models(comfy_server):
    """ComfyUI's model folders, filled after it has looked at them once: a good file and bad ones."""
    comfy_server.object_info()
    ours, general = comfy_server.models / "varifold", comfy_server.models / "diffusion_models"
    for folder in (ours, general):
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file.EMBEDDED, folder / "good.safetensors")
    whole = file.EMBEDDED.read_bytes()
    ours.joinpath("short.safetensors").write_bytes(whole[: len(whole) // 2])
    ours.joinpath("pickle.safetensors").write_bytes(pickle.dumps({"weights": [0.0] * 100}))
    ours.joinpath("page.safetensors").write_text("<!DOCTYPE html><html><body>Please log in</body></html>")
    tensors = {name: tensor.float() for name, tensor in load_file(file.EMBEDDED).items()}
    first = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[first] *= 3e38 / tensors[first].abs().max()
    save_file(tensors, ours / "huge.safetensors", header.read_header(file.EMBEDDED).metadata)
    return ours


@pytest.fixture(scope="module")
def embedded_drawing(comfy_server):
    return draw(comfy_server, drawing())


def saving(prompt: dict, prefix: str) -> dict:
    """The prompt with its picture saved as well."""
    return prompt | {"save": node("SaveImage", images=["sampler", 0], filename_prefix=prefix)}


def test_cancel_ends_within_two_evaluations_and_the_next_prompt_runs(comfy_server):
    prompt = saving(drawing(batch=8) | {"schedule": schedule(steps=40)}, "cancelled")
    reports = []

    def cancel(event):
        if event.kind == "progress" and event.data["node"] == "sampler":
            reports.append(event.data["value"])
            if len(reports) == 1:
                comfy_server.interrupt()

    run = comfy_server.run(prompt, on_event=cancel)
    assert run.interrupted and run.error is None
    assert run.of("execution_interrupted")[0]["node_id"] == "sampler"
    assert 1 <= len(reports) <= 3, reports
    assert not run.files

    again = comfy_server.run(saving(drawing(seed=6), "after_cancel"))
    assert again.error is None and not again.interrupted and len(again.files) == 1


@pytest.mark.parametrize("name", ["varifold/good.safetensors", "diffusion_models/good.safetensors"])
def test_a_good_file_draws_as_the_embedded_one(comfy_server, models, embedded_drawing, name):
    assert name in choices(comfy_server)
    drawn = draw(comfy_server, drawing() | {"load": load(name)})
    assert np.array_equal(drawn["latent"], embedded_drawing["latent"])


def choices(server) -> list[str]:
    return server.object_info()["VarifoldLoadDenoiser"]["input"]["required"]["file"][0]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("short", "is damaged: it is cut short"),
        ("pickle", "is a pickle (.ckpt, .pt or .bin, perhaps renamed), which can run code when opened"),
        ("page", "is a web page, not a model: the download needed a login or a direct link"),
    ],
)
def test_a_bad_file_is_refused_at_its_node(comfy_server, models, name, sentence):
    name = f"varifold/{name}.safetensors"
    assert name in choices(comfy_server)
    started = time.monotonic()
    message = failure(comfy_server, drawing() | {"load": load(name)}, "load")
    assert time.monotonic() - started < SECONDS_TO_SAY_NO
    assert sentence in message and str(models) in message


def test_a_file_that_is_not_there_is_refused_before_the_run(comfy_server):
    with pytest.raises(PromptRefused) as refusal:
        comfy_server.queue(drawing() | {"load": load("varifold/nowhere.safetensors")})
    (error,) = refusal.value.node_errors["load"]["errors"]
    assert error["type"] == "value_not_in_list"
    assert error["extra_info"]["input_name"] == "file"
    assert EMBEDDED in error["details"]


def test_nan_is_an_error_with_its_place_and_never_a_picture(comfy_server, models):
    prompt = saving(drawing() | {"load": load("varifold/huge.safetensors")}, "nan")
    run = comfy_server.run(prompt)
    assert run.error["node_id"] == "sampler"
    assert "NaN or infinity at evaluation 1 of 6 (σ = 80)" in run.error["exception_message"]
    assert not run.files and not run.previews
    assert not list(comfy_server.output.rglob("nan*"))


def telling(seed: int) -> dict:
    """A drawing, and the names of the nets in ComfyUI's memory once it is drawn."""
    return drawing(seed=seed) | {"tell": node("ProbeLoadedModels", after=["sampler", 0])}


def test_eviction_and_drawing_again(comfy_server):
    def loaded(run) -> bool:
        return NET in run.outputs["tell"]["names"]

    def wait_until_evicted(prompt: dict) -> None:
        deadline = time.monotonic() + 10  # ComfyUI answers /free before it frees
        while loaded(comfy_server.run(prompt)):
            assert time.monotonic() < deadline, "still in memory"
            time.sleep(0.1)

    first = comfy_server.run(telling(11))
    assert loaded(first)
    comfy_server.post("/free", {"unload_models": True})
    wait_until_evicted(telling(11))

    # ComfyUI's cache still has the loader's output: the Sampler must bring the weights back.
    second = comfy_server.run(telling(12))
    assert "load" in second.cached and loaded(second)
    one, other = (kept(comfy_server, run)["latent"] for run in (first, second))
    assert np.isfinite(other).all() and np.abs(other - one).mean() > 0.05

    comfy_server.free()
    wait_until_evicted({"tell": node("ProbeLoadedModels")})
    assert np.array_equal(draw(comfy_server, drawing(seed=12))["latent"], other)


@pytest.mark.parametrize(("precision", "least", "most"), [("float16", 1e-6, 0.002), ("bfloat16", 1e-5, 0.02)])
def test_lower_precision_draws_something_close(comfy_server, embedded_drawing, precision, least, most):
    """Measured: a mean absolute difference of 0.00012 in float16 and 0.0013 in bfloat16, of colours in 0..1."""
    drawn = draw(comfy_server, drawing() | {"load": load(precision=precision)})
    difference = np.abs(drawn["image"] - embedded_drawing["image"]).mean()
    assert least < difference < most


def test_two_denoisers_share_a_graph(comfy_server, models, embedded_drawing):
    """One file in two precisions: each sampler gets its own."""
    second = {
        "low": load("varifold/good.safetensors", "bfloat16"),
        "sampler2": sampler(denoiser=["low", 0]),
        "keep2": keep("sampler2"),
    }
    run = comfy_server.run(drawing() | second)
    one, two = kept(comfy_server, run), kept(comfy_server, run, "keep2")
    assert np.array_equal(one["latent"], embedded_drawing["latent"])
    assert not np.array_equal(one["latent"], two["latent"])
