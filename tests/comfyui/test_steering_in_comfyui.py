"""Schedules, noise and conditioning of ComfyUI's own nodes, into our Sampler."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import distance, draw, drawing, failure, keep, node, sampler, schedule, words

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def plain(comfy_server):
    """What the drawing without changes gives."""
    return draw(comfy_server, drawing())


# Schedules


@pytest.mark.parametrize(
    ("theirs", "curve", "limits"),
    [
        ("KarrasScheduler", "karras", {"sigma_max": 80.0, "sigma_min": 0.002, "rho": 7.0}),
        ("ExponentialScheduler", "exponential", {"sigma_max": 80.0, "sigma_min": 0.002}),
        ("PolyexponentialScheduler", "polyexponential", {"sigma_max": 80.0, "sigma_min": 0.002, "rho": 1.0}),
        ("VPScheduler", "vp", {"beta_d": 19.9, "beta_min": 0.1, "eps_s": 0.001}),
    ],
)
def test_comfyuis_schedulers_drive_our_sampler(comfy_server, theirs, curve, limits):
    ours = drawing() | {"schedule": schedule(curve, rho=limits.get("rho", 7.0))}
    drawn = draw(comfy_server, drawing() | {"schedule": node(theirs, steps=6, **limits)})
    assert distance(drawn["latent"], draw(comfy_server, ours)["latent"]) < 1e-2
    assert 0.05 < drawn["mask"].mean() < 0.95 and drawn["image"].std() > 0.05


def test_a_schedule_for_another_model_is_warned_of(comfy_server):
    """BasicScheduler with a Stable Diffusion MODEL ends at σ = 14.6, and ours starts at 80."""
    their = {
        "model": node("ProbeModel", space="ve"),
        "schedule": node("BasicScheduler", model=["model", 0], scheduler="beta", steps=6, denoise=1.0),
    }
    run = comfy_server.run(drawing() | their)
    assert run.error is None
    assert "far below the 80" in run.outputs["sampler"]["text"][0]


def test_a_split_schedule_in_two_samplers_is_the_whole_one(comfy_server, plain):
    split = {
        "split": node("SplitSigmas", sigmas=["schedule", 0], step=3),
        "zero": node("DisableNoise"),
        "sampler": sampler(sigmas=["split", 0]),
        "low": sampler(sigmas=["split", 1], latent=["sampler", 2], noise=["zero", 0]),
        "keep": keep("low"),
    }
    assert distance(draw(comfy_server, drawing() | split)["latent"], plain["latent"]) < 1e-4


def test_flipped_sigmas_are_refused(comfy_server):
    flipped = {"flip": node("FlipSigmas", sigmas=["schedule", 0])}
    assert "does not descend" in failure(comfy_server, drawing(sigmas=["flip", 0]) | flipped)


def test_empty_sigmas_are_refused(comfy_server):
    sentence = failure(comfy_server, drawing() | {"schedule": schedule(denoise=0.0)})
    assert "the schedule has 0 σ's" in sentence and "denoise 0" in sentence


# Noise


def test_noise_of_comfyui_is_taken(comfy_server, plain):
    one, other = (
        draw(comfy_server, drawing(noise=["noise", 0], batch=2) | {"noise": node("RandomNoise", noise_seed=seed)})
        for seed in (1, 2)
    )
    pictures = [*one["image"], *other["image"], *plain["image"]]
    for index, picture in enumerate(pictures):
        assert picture.std() > 0.05
        assert all(distance(picture, earlier) > 0.1 for earlier in pictures[:index])


def test_no_noise_makes_all_pictures_of_a_batch_one(comfy_server):
    zero = {"zero": node("DisableNoise")}
    drawn = draw(comfy_server, drawing(noise=["zero", 0], batch=2) | zero)
    assert distance(drawn["latent"][0], drawn["latent"][1]) < 1e-4


# Conditioning


def with_positive(**nodes: dict) -> dict:
    """The drawing with CONDITIONING from the node "mixed"; "hero", "robe" and "words" are prompts."""
    return drawing(positive=["mixed", 0]) | {"hero": words("hero"), "robe": words("robe")} | nodes


def test_concat_is_one_longer_prompt(comfy_server, plain):
    mixed = node("ConditioningConcat", conditioning_to=["hero", 0], conditioning_from=["robe", 0])
    assert distance(draw(comfy_server, with_positive(mixed=mixed))["latent"], plain["latent"]) < 1e-4


def test_average_goes_from_one_prompt_to_the_other(comfy_server):
    def average(strength: float) -> np.ndarray:
        inputs = {"conditioning_to": ["wall", 0], "conditioning_from": ["potion", 0]}
        mixed = node("ConditioningAverage", **inputs, conditioning_to_strength=strength)
        prompt = with_positive(mixed=mixed, wall=words("wall"), potion=words("potion"))
        return draw(comfy_server, prompt)["latent"]

    wall, potion = (draw(comfy_server, with_positive(mixed=words(text)))["latent"] for text in ("wall", "potion"))
    half = average(0.5)
    assert distance(average(1.0), wall) < 1e-5 and distance(average(0.0), potion) < 1e-5
    assert distance(half, wall) > 0.1 and distance(half, potion) > 0.1


def test_combine_averages_predictions(comfy_server, plain):
    def combine(one: str, other: str) -> np.ndarray:
        mixed = node("ConditioningCombine", conditioning_1=[one, 0], conditioning_2=[other, 0])
        return draw(comfy_server, with_positive(mixed=mixed))["latent"]

    assert distance(combine("words", "words"), plain["latent"]) < 1e-4
    assert distance(combine("hero", "robe"), combine("robe", "hero")) < 1e-4
    assert distance(combine("words", "robe"), plain["latent"]) > 0.1


def test_a_zeroed_prompt_is_no_prompt(comfy_server):
    zeroed = draw(comfy_server, with_positive(mixed=node("ConditioningZeroOut", conditioning=["words", 0])))
    without = draw(comfy_server, drawing(positive=None))
    assert distance(zeroed["latent"], without["latent"]) < 1e-4


@pytest.mark.parametrize(
    ("mixed", "sentence"),
    [
        (
            node("ConditioningSetArea", conditioning=["words", 0], width=64, height=64, x=0, y=0, strength=1.0),
            "cannot follow a CONDITIONING with area",
        ),
        (
            node("ConditioningSetTimestepRange", conditioning=["words", 0], start=0.0, end=0.5),
            "cannot follow a CONDITIONING with end_percent, start_percent",
        ),
        (node("ProbeForeignConditioning", level=0.1), "was not made for this denoiser: make it with Prompt (Varifold)"),
    ],
    ids=["area", "range", "foreign"],
)
def test_what_the_denoiser_cannot_follow_is_refused(comfy_server, mixed, sentence):
    assert sentence in failure(comfy_server, with_positive(mixed=mixed))
