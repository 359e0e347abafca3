"""What a MODEL starts from, behind our Sampler as in ComfyUI's own: latents, pictures, masks, parts of schedules."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import distance, kept, node
from comfyui.model_graphs import (
    CHANGED,
    EXACT,
    GUIDANCE,
    KINDS,
    STEPS,
    apart,
    base,
    both,
    check,
    latents,
    ours,
    theirs,
)

pytestmark = pytest.mark.comfyui

FAMILIES = pytest.mark.parametrize("kind", KINDS)
SPACES = pytest.mark.parametrize("kind", ["sd15", "flux"])
CHANNELS = {"sd15": 4, "flux": 16}


def vae(kind: str, **picture: int) -> dict:
    """A VAE of the kind, a picture, and the picture as the LATENT "encoded"."""
    return {
        "vae": node("ProbeVAE", channels=CHANNELS[kind]),
        "picture": node("ProbePicture", **picture),
        "encoded": node("VAEEncode", pixels=["picture", 0], vae=["vae", 0]),
    }


def part(denoise: float) -> dict:
    return {"schedule": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=STEPS, denoise=denoise)}


def left(share: int = 2, width: int = 64, height: int = 48) -> dict:
    """The MASK "left" of ones on the left, a `share`th of its width."""
    return {
        "ones": node("SolidMask", value=1.0, width=width // share, height=height),
        "zeros": node("SolidMask", value=0.0, width=width, height=height),
        "left": node("MaskComposite", destination=["zeros", 0], source=["ones", 0], x=0, y=0, operation="add"),
    }


def start(kind: str, **changes: object) -> dict:
    """Our Sampler as "ours" that starts from the picture itself."""
    inputs = {"latent": None, "image": ["picture", 0], **changes}
    return ours(with_vae="vae", **inputs)


# Pictures and latents to rework


@SPACES
def test_image_to_image(comfy_server, kind):
    """By latent and by picture alike; `plain` starts from nothing."""
    prompt = base(kind, **vae(kind), **part(0.6)) | theirs("plain")
    prompt |= theirs(latent_image=["encoded", 0]) | start(kind) | ours("by latent", latent=["encoded", 0])
    prompt["plain"]["inputs"]["latent_image"] = ["one", 0]
    run = check(comfy_server, prompt | {"one": node("EmptyLatentImage", width=64, height=48, batch_size=1)})
    assert apart(*latents(comfy_server, run, "by latent", "theirs")) < EXACT


@SPACES
def test_with_a_vae_the_picture_is_the_decoded_latent(comfy_server, kind):
    nodes = vae(kind) | {"decoded": node("VAEDecode", samples=["ours", 2], vae=["vae", 0])}
    prompt = base(kind, **nodes) | ours(with_vae="vae") | ours("late", vae=["vae", 0])
    prompt |= {"keep decoded": node("ProbeKeep", image=["decoded", 0])}
    run = comfy_server.run(prompt)
    mine, late, decoded = (kept(comfy_server, run, f"keep {name}")["image"] for name in ("ours", "late", "decoded"))
    assert mine.shape == (2, 48, 64, 3) and mine.std() > 0.05
    assert distance(mine, decoded) == distance(late, decoded) == 0


def test_a_picture_of_another_size_is_brought_to_it(comfy_server):
    prompt = base(**vae("sd15", width=100, height=70), **part(0.5)) | start("sd15", batch=2)
    prompt |= ours("other", latent=None, image=["picture", 0], vae=["vae", 0], width=48, height=32)
    run = comfy_server.run(prompt)
    mine, other = (kept(comfy_server, run, f"keep {name}") for name in ("ours", "other"))
    assert mine["latent"].shape == (2, 4, 8, 12) and mine["image"].shape == (2, 64, 96, 3)
    assert other["latent"].shape == (1, 4, 4, 6)


# Masks


@SPACES
@pytest.mark.parametrize("size", [{}, {"width": 8, "height": 6}], ids=["of pixels", "of the latent"])
def test_a_noise_mask_of_the_latent(comfy_server, kind, size):
    masked = node("SetLatentNoiseMask", samples=["encoded", 0], mask=["left", 0])
    prompt = base(kind, **vae(kind), **left(**size), masked=masked)
    prompt |= theirs("plain", latent_image=["encoded", 0]) | ours(latent=["masked", 0])
    run = check(comfy_server, prompt | theirs(latent_image=["masked", 0]) | keep_start())
    assert_right_half_is_kept(comfy_server, run)


@SPACES
def test_a_mask_beside_a_picture(comfy_server, kind):
    masked = node("SetLatentNoiseMask", samples=["encoded", 0], mask=["left", 0])
    prompt = base(kind, **vae(kind), **left(), masked=masked) | theirs("plain", latent_image=["encoded", 0])
    prompt |= start(kind, mask=["left", 0]) | theirs(latent_image=["masked", 0])
    run = check(comfy_server, prompt | keep_start() | {"keep picture": node("ProbeKeep", image=["picture", 0])})
    assert_right_half_is_kept(comfy_server, run)
    drawn, before = (kept(comfy_server, run, f"keep {name}")["image"] for name in ("ours", "picture"))
    assert np.array_equal(drawn[:, :, 32:], before[:, :, 32:])
    assert distance(drawn[:, :, :32], before[:, :, :32]) > 0.1


def keep_start() -> dict:
    return {"keep encoded": node("ProbeKeep", latent=["encoded", 0])}


def assert_right_half_is_kept(server, run) -> None:
    mine, before = latents(server, run, "ours", "encoded")
    changed = np.abs(mine - before).max((0, 1, 2))
    assert changed[5:].max() < 1e-4 * np.abs(before).max() and changed[:3].min() > CHANGED


@SPACES
def test_a_mask_of_another_shape_is_stretched_as_by_comfyui(comfy_server, kind):
    masked = node("SetLatentNoiseMask", samples=["encoded", 0], mask=["left", 0])
    prompt = base(kind, **vae(kind), **left(4, 100, 20), masked=masked)
    prompt |= theirs("plain", latent_image=["encoded", 0]) | ours(latent=["masked", 0])
    check(comfy_server, prompt | theirs(latent_image=["masked", 0]))


def test_differential_diffusion(comfy_server):
    nodes = (
        vae("sd15")
        | left(1)
        | {
            "soft": node("FeatherMask", mask=["left", 0], left=0, top=0, right=60, bottom=0),
            "masked": node("SetLatentNoiseMask", samples=["encoded", 0], mask=["soft", 0]),
            "changed": node("DifferentialDiffusion", model=["model", 0]),
        }
    )
    prompt = base(**nodes) | theirs("plain", latent_image=["masked", 0])
    check(
        comfy_server,
        prompt | ours(model="changed", latent=["masked", 0]) | theirs(model="changed", latent_image=["masked", 0]),
    )


# Parts of schedules


@FAMILIES
def test_a_schedule_in_two_parts_is_the_whole_one(comfy_server, kind):
    """Ours goes on with ours, with SamplerCustomAdvanced and with KSamplerAdvanced."""
    low = {"sigmas": ["halves", 1], "noise": ["no noise", 0]}
    advanced = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "cfg": GUIDANCE}
    advanced |= {"add_noise": "disable", "noise_seed": 1, "steps": STEPS, "start_at_step": 2, "end_at_step": 100}
    advanced |= {"sampler_name": "euler", "scheduler": "normal", "return_with_leftover_noise": "disable"}
    nodes = {
        "halves": node("SplitSigmas", sigmas=["schedule", 0], step=2),
        "no noise": node("DisableNoise"),
        "ksampler": node("KSamplerAdvanced", **advanced, latent_image=["ours half", 2]),
        "keep ksampler": node("ProbeKeep", latent=["ksampler", 0]),
    }
    prompt = base(kind, **nodes) | theirs("whole") | ours("ours half", sigmas=["halves", 0])
    prompt |= theirs("their half", sigmas=["halves", 0]) | ours("ours", latent=["ours half", 2], seed=8, **low)
    prompt |= theirs("theirs", latent_image=["ours half", 2], **low)
    run = comfy_server.run(prompt)
    whole, *halves = latents(comfy_server, run, "whole", "ours half", "their half")
    assert apart(*halves) < EXACT and apart(whole, halves[0]) > CHANGED
    for name in ("ours", "theirs", "ksampler"):
        assert apart(whole, *latents(comfy_server, run, name)) < EXACT, name


# Noise of each picture


@SPACES
@pytest.mark.parametrize("solver", ["euler_ancestral", "dpmpp_2m_sde", "dpmpp_2m"])
def test_picture_3_of_4_alone(comfy_server, kind, solver):
    alone = node("LatentFromBatch", samples=["latent", 0], batch_index=2, length=1)
    prompt = base(kind, 4, alone=alone) | ours(solver=solver) | ours("alone ours", solver=solver, latent=["alone", 0])
    if solver == "dpmpp_2m":
        prompt |= theirs(solver=solver) | theirs("alone theirs", solver=solver, latent_image=["alone", 0])
    run = comfy_server.run(prompt)
    for name in ("ours", "theirs")[: 2 if solver == "dpmpp_2m" else 1]:
        batch, (picture,) = latents(comfy_server, run, name, f"alone {name}")
        assert apart(batch[2], picture) < EXACT
        assert all(apart(batch[other], picture) > CHANGED for other in (0, 1, 3))
    assert list(kept(comfy_server, run, "keep alone ours")["batch_index"]) == [2]


@SPACES
def test_noise_on_the_way_follows_the_seed(comfy_server, kind):
    prompt = base(kind) | ours(solver="euler_ancestral") | ours("plain", solver="euler")
    prompt |= ours("other seed", solver="euler_ancestral", seed=8, noise=["noise", 0])
    mine, plain, other = latents(comfy_server, comfy_server.run(prompt), "ours", "plain", "other seed")
    assert apart(mine, plain) > CHANGED and apart(mine, other) > CHANGED


# Empty latents


def test_an_empty_latent_is_given_the_models_channels_and_scale(comfy_server):
    """EmptyLatentImage makes 4 channels, an eighth of the size; `ours alone` asks for nothing but its size."""
    prompt = base("flux") | both() | ours("ours alone", latent=None, batch=2, width=64, height=48)
    mine, other, alone = latents(comfy_server, comfy_server.run(prompt), "ours", "theirs", "ours alone")
    assert mine.shape == (2, 16, 6, 8) and apart(mine, other) < EXACT and apart(mine, alone) < EXACT


def test_an_empty_latent_is_brought_to_the_models_scale(comfy_server):
    """Flux 2 has latents of a sixteenth of the size."""
    prompt = base("flux2") | both()
    mine, other = latents(comfy_server, comfy_server.run(prompt), "ours", "theirs")
    assert mine.shape == (2, 128, 3, 4) and apart(mine, other) < EXACT
