"""What a MODEL cannot draw with is refused in words, at the node that was given it."""

from __future__ import annotations

import pytest
from comfyui.graphs import failure, load, node, words
from comfyui.model_graphs import base, ours

pytestmark = pytest.mark.comfyui

SOLID = node("SolidMask", value=1.0, width=64, height=48)
VAE = {"vae": node("ProbeVAE", channels=4), "picture": node("ProbePicture")}


def latent(shape: str, level: float = 1.0, parts: int = 1) -> dict:
    return {"given": node("ProbeLatent", shape=shape, level=level, parts=parts)}


@pytest.mark.parametrize(
    ("changes", "nodes", "sentence"),
    [
        ({"positive": None}, {}, "wire positive, of CLIPTextEncode"),
        ({"negative": None}, {}, "wire it, or set guidance to 1"),
        ({"latent": ["given", 0]}, latent("1 4 1 6 8"), "this LATENT is 5-dimensional"),
        ({"latent": ["given", 0]}, latent("1 4 6 8", parts=2), "this LATENT is nested"),
        ({"latent": ["given", 0]}, latent("1 16 6 8"), "works on 4 channels, and the LATENT has 16"),
        ({"latent": None, "width": 100, "height": 64}, {}, "multiples of 8, not 100×64"),
        ({"latent": None, "image": ["picture", 0]}, VAE, "wire a vae"),
        ({"image": ["picture", 0], "vae": ["vae", 0]}, VAE, "image and latent are both wired"),
        ({"latent": None, "mask": ["mask", 0]}, {"mask": SOLID}, "a mask needs a picture"),
        ({"sampler": ["foreign", 0]}, {"foreign": node("KSamplerSelect", sampler_name="euler")}, "not Varifold's"),
        (
            {"latent": None, "image": ["picture", 0], "vae": ["wrong", 0]},
            VAE | {"wrong": node("ProbeVAE", channels=16)},
            "works on 4 channels, and this VAE makes 16",
        ),
    ],
    ids=["positive", "negative", "5-D", "nested", "channels", "size", "no vae", "both", "mask", "SAMPLER", "VAE"],
)
def test_what_does_not_fit_is_refused(comfy_server, changes, nodes, sentence):
    message = failure(comfy_server, base(**nodes) | ours(**changes), "ours")
    assert sentence in message, message


def test_flow_begins_at_1_at_most(comfy_server):
    schedule = node("KarrasScheduler", steps=5, sigma_max=14.0, sigma_min=0.1, rho=7.0)
    message = failure(comfy_server, base("flux", schedule=schedule) | ours(), "ours")
    assert "take the schedule's σ range from this denoiser" in message, message


PIXEL_ART = {"load": load(), "words": words("hero robe")}


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_a_prompt_for_another_denoiser(comfy_server, side):
    message = failure(comfy_server, base(**PIXEL_ART) | ours(**{side: ["words", 0]}), "ours")
    assert f"{side} was made by Prompt (Varifold)" in message and "CLIPTextEncode" in message, message


def test_prompt_takes_no_model(comfy_server):
    prompt = base(**PIXEL_ART) | ours(positive=["words", 0])
    prompt["words"]["inputs"]["denoiser"] = ["ours denoiser", 0]
    message = failure(comfy_server, prompt, "words")
    assert "CLIPTextEncode" in message, message


def test_a_model_of_videos(comfy_server):
    message = failure(comfy_server, base("video") | ours(), "ours denoiser")
    assert "latents of this MODEL have 5 dimensions" in message, message
