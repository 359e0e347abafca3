"""Style Transfer in the real ComfyUI: without a model as anywhere, and with a MODEL of each family."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from comfyui.graphs import distance, failure, kept, load, node, words
from comfyui.model_graphs import CHANGED, EXACT, base

from varifold.models import load_denoiser
from varifold.models.style.restyle import transfer as transferred

pytestmark = pytest.mark.comfyui

FAMILIES = pytest.mark.parametrize("kind", ["sd15", "flux"])
METHODS = ["statistics", "attention"]
CHANNELS = {"sd15": 4, "flux": 16}
SEED, STEPS = 5, 3


def transfer(**changes: object) -> dict:
    inputs = {"content": ["content", 0], "style": ["style", 0], "method": "strokes", "preset": "none"}
    inputs |= {"strength": 1.0, "structure": 0.5, "keep_colours": False, "texture_scale": 1.0, "seed": SEED}
    return node("VarifoldStyleTransfer", **{**inputs, **changes})


def keep(*names: str) -> dict:
    return {f"keep {name}": node("ProbeKeep", image=[name, 0]) for name in names}


def pictures() -> dict:
    return {
        "content": node("ProbePicture"),
        "style": node("ProbePicture", width=40, height=56, seed=1),
        "other style": node("ProbePicture", width=70, height=40, seed=2),
    }


def images(server, run, *names: str) -> list[np.ndarray]:
    return [kept(server, run, f"keep {name}")["image"] for name in names]


# Without a model


def test_strokes_and_presets_are_as_outside_of_comfyui(comfy_server):
    ones = node("SolidMask", value=1.0, width=64, height=24)
    zeros = node("SolidMask", value=0.0, width=64, height=48)
    nodes = {
        "ones": ones,
        "zeros": zeros,
        "top": node("MaskComposite", destination=["zeros", 0], source=["ones", 0], x=0, y=0, operation="add"),
        "strokes": transfer(),
        "mixed": transfer(style_2=["other style", 0], weight_2=0.5, keep_colours=True, content_mask=["top", 0]),
        "ink": transfer(style=None, preset="ink"),
        "none": transfer(strength=0.0),
    }
    made = ["strokes", "mixed", "ink", "none"]
    run = comfy_server.run(pictures() | nodes | keep("content", "style", "other style", *made))
    content, style, other = (
        torch.from_numpy(each) for each in images(comfy_server, run, "content", "style", "other style")
    )
    top = torch.zeros(1, 48, 64)
    top[:, :24] = 1
    expected = [
        transferred(content, style, seed=SEED),
        transferred(content, [style, other], weights=[1.0, 0.5], keep_colours=True, mask=top, seed=SEED),
        transferred(content, medium="ink", seed=SEED),
        content,
    ]
    for name, image, outside in zip(made, images(comfy_server, run, *made), expected, strict=True):
        assert image.dtype == np.float32
        assert distance(image, outside.numpy()) < EXACT, name
        assert name == "none" or distance(image, content.numpy()) > CHANGED
    assert run.progress and not run.interrupted


def test_the_embedded_denoiser_restyles_as_outside_of_comfyui(comfy_server):
    given = {"method": "attention", "denoiser": ["load", 0], "positive": ["words", 0], "steps": STEPS}
    nodes = {"load": load(precision="float32"), "words": words("hero robe"), "restyled": transfer(**given)}
    run = comfy_server.run(pictures() | nodes | keep("content", "style", "restyled"))
    content, style, restyled = (
        torch.from_numpy(each) for each in images(comfy_server, run, "content", "style", "restyled")
    )
    denoiser = load_denoiser()
    cond = denoiser.prompt("hero robe")
    with torch.inference_mode():
        expected = transferred(content, style, method="attention", denoiser=denoiser, cond=cond, steps=STEPS, seed=SEED)
    assert distance(restyled.numpy(), expected.numpy()) < 1e-3
    assert distance(restyled.numpy(), content.numpy()) > CHANGED


# With a MODEL


def with_model(method: str, **changes: object) -> dict:
    inputs = {"denoiser": ["denoiser", 0], "positive": ["positive", 0], "steps": STEPS}
    return transfer(**{"method": method, **inputs, **changes})


def graph(kind: str, **nodes: dict) -> dict:
    vae = {"vae": node("ProbeVAE", channels=CHANNELS[kind])}
    return base(
        kind, **pictures(), **vae, denoiser=node("VarifoldFromModel", model=["model", 0], vae=["vae", 0]), **nodes
    )


VARIANTS = {
    "usual": {},
    "again": {"seed": SEED},
    "other seed": {"seed": SEED + 1},
    "other style": {"style": ["other style", 0]},
    "two styles": {"style_2": ["other style", 0]},
    "one of two": {"style_2": ["other style", 0], "weight_2": 0.0},
    "none": {"strength": 0.0},
    "half": {"strength": 0.5},
    "loose": {"structure": 0.0},
    "close": {"structure": 1.0},
    "other prompt": {"positive": ["other", 0]},
    "late vae": {"denoiser": ["bare", 0], "vae": ["vae", 0]},
    "masked": {"content_mask": ["left", 0]},
    "odd": {"content": ["odd content", 0]},
}
OTHER = ["other seed", "other style", "two styles", "half", "loose", "close", "other prompt"]


@pytest.fixture(scope="module")
def restyled(comfy_server):
    """`restyled(kind)`: the content, and each of VARIANTS by each of METHODS: "attention two styles"."""

    @cache
    def run(kind: str) -> dict[str, np.ndarray]:
        nodes = {
            "bare": node("VarifoldFromModel", model=["model", 0]),
            "odd content": node("ProbePicture", width=70, height=30, batch=2),
            "ones": node("SolidMask", value=1.0, width=32, height=48),
            "zeros": node("SolidMask", value=0.0, width=64, height=48),
            "left": node("MaskComposite", destination=["zeros", 0], source=["ones", 0], x=0, y=0, operation="add"),
        }
        made = {f"{way} {name}": with_model(way, **given) for way in METHODS for name, given in VARIANTS.items()}
        names = ["content", "odd content", *made]
        done = comfy_server.run(graph(kind, **nodes) | made | keep(*names))
        return dict(zip(names, images(comfy_server, done, *names), strict=True))

    return run


@FAMILIES
@pytest.mark.parametrize("method", METHODS)
def test_a_model_restyles(restyled, kind, method):
    made = {name: restyled(kind)[f"{method} {name}"] for name in VARIANTS}
    content = restyled(kind)["content"]
    for name, image in made.items():
        assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1, name
    assert made["usual"].shape == content.shape and distance(made["usual"], content) > CHANGED
    assert np.array_equal(made["again"], made["usual"]) and np.array_equal(made["late vae"], made["usual"])
    for name in OTHER:
        assert distance(made[name], made["usual"]) > CHANGED, name


@FAMILIES
@pytest.mark.parametrize("method", METHODS)
def test_strength_0_and_what_is_outside_of_the_mask_is_the_content_bit_for_bit(restyled, kind, method):
    made, content = restyled(kind), restyled(kind)["content"]
    assert np.array_equal(made[f"{method} none"], content)
    masked = made[f"{method} masked"]
    assert np.array_equal(masked[:, :, 32:], content[:, :, 32:])
    assert distance(masked[:, :, :32], content[:, :, :32]) > CHANGED


@FAMILIES
@pytest.mark.parametrize("method", METHODS)
def test_a_weight_of_0_leaves_a_style_out_and_any_size_comes_out_as_it_came(restyled, kind, method):
    made = restyled(kind)
    assert np.array_equal(made[f"{method} one of two"], made[f"{method} usual"])
    assert made[f"{method} odd"].shape == made["odd content"].shape == (2, 30, 70, 3)
    assert distance(made[f"{method} odd"], made["odd content"]) > CHANGED


@FAMILIES
def test_attention_is_other_than_statistics_alone(restyled, kind):
    assert distance(restyled(kind)["attention usual"], restyled(kind)["statistics usual"]) > CHANGED


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "distil"}, "distil needs a denoiser of Load Denoiser: with a MODEL choose statistics or attention"),
        ({"positive": None}, "a MODEL needs a prompt: wire a CLIPTextEncode of what the content shows into positive"),
        ({"denoiser": ["bare", 0]}, "style transfer with a MODEL needs a vae: wire one here, or into From Model"),
        ({"denoiser": None}, "attention needs a denoiser: wire one, or choose strokes"),
    ],
    ids=["distil", "prompt", "VAE", "denoiser"],
)
def test_what_cannot_be_says_what_to_do(comfy_server, changes, sentence):
    nodes = {"bare": node("VarifoldFromModel", model=["model", 0])}
    nodes["restyled"] = with_model(**{"method": "attention", **changes})
    assert sentence in failure(comfy_server, graph("sd15", **nodes) | keep("restyled"), "restyled")
