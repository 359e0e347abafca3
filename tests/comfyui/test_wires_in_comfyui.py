"""What ComfyUI's own nodes put on wires, into ours, and the other way round."""

from __future__ import annotations

import io

import numpy as np
import pytest
from comfyui.graphs import draw, drawing, failure, keep, kept, node, sampler, schedule, words
from PIL import Image

from varifold.nodes.sample_picture import FOLDER

pytestmark = pytest.mark.comfyui

HERO = {"hero": node("VarifoldSamplePicture", which="hero (transparent)")}
with Image.open(FOLDER / "hero.png") as picture:
    RGBA = np.asarray(picture.convert("RGBA"))[::8, ::8]  # the sprite itself; the file has each pixel 8 large
COLOURS, OPAQUE = RGBA[..., :3] / 255, RGBA[..., 3] == 255
SHEET = {"labels": "", "columns": 0, "scale": 2, "gap": 4, "background": "dark"}
LEVEL = 1 / 255


def reworking(denoise: float = 0.5, **changes: object) -> dict:
    """The bundled hero, image to image."""
    return drawing(**{"image": ["hero", 0], **changes}) | HERO | {"schedule": schedule(denoise=denoise)}


@pytest.fixture(scope="module")
def plain(comfy_server):
    """What the drawing without changes gives."""
    return draw(comfy_server, drawing())


@pytest.fixture(scope="module")
def reworked(comfy_server):
    return draw(comfy_server, reworking())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max())


# Pictures


def test_a_sprite_becomes_a_transparent_png(comfy_server):
    sprite = {
        "join": node("JoinImageWithAlpha", image=["sampler", 0], alpha=["sampler", 1]),
        "save": node("SaveImage", images=["join", 0], filename_prefix="sprite"),
        "schedule": schedule(steps=12),
    }
    run = comfy_server.run(drawing(batch=2, solver="dpmpp_2m") | sprite)
    drawn = kept(comfy_server, run)
    for index, content in enumerate(run.files):
        png = Image.open(io.BytesIO(content))
        assert png.mode == "RGBA"
        pixels = np.asarray(png)
        opaque = pixels[..., 3] == 255
        assert np.isin(pixels[..., 3], (0, 255)).all() and 0.1 < opaque.mean() < 0.9
        assert np.array_equal(opaque, drawn["mask"][index] == 0)
        colours = np.clip(255 * drawn["image"][index], 0, 255).astype(np.uint8)
        assert np.array_equal(pixels[opaque][:, :3], colours[opaque])
        assert not opaque[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert len(run.files) == 2


def test_float16_images_are_taken(comfy_server, reworked):
    half = {"half": node("ProbeFloat16", image=["hero", 0])}
    drawn = draw(comfy_server, reworking(image=["half", 0]) | half)
    assert 0 < np.abs(drawn["latent"] - reworked["latent"]).mean() < 0.01


def test_a_fourth_channel_is_transparency(comfy_server, reworked):
    joined = {"joined": node("JoinImageWithAlpha", image=["hero", 0], alpha=["hero", 1])}
    drawn = draw(comfy_server, reworking(0.34, image=["joined", 0]) | joined)
    assert drawn["image"].shape == (1, 32, 32, 3)
    assert ((drawn["mask"][0] == 0) == OPAQUE).mean() > 0.95
    assert reworked["mask"].mean() < 0.05, "three channels are opaque"


def test_sheet_takes_float16_and_four_channels(comfy_server):
    prompt = HERO | {
        "joined": node("JoinImageWithAlpha", image=["hero", 0], alpha=["hero", 1]),
        "half": node("ProbeFloat16", image=["joined", 0]),
        "plain": node("VarifoldSheet", images=["hero", 0], **SHEET),
        "masked": node("VarifoldSheet", images=["hero", 0], masks=["hero", 1], **SHEET),
        "four": node("VarifoldSheet", images=["joined", 0], **SHEET),
        "four16": node("VarifoldSheet", images=["half", 0], **SHEET),
    }
    names = ("plain", "masked", "four", "four16")
    run = comfy_server.run(prompt | {f"keep {name}": node("ProbeKeep", image=[name, 0]) for name in names})
    sheets = {name: kept(comfy_server, run, f"keep {name}")["image"] for name in names}
    assert distance(sheets["four"], sheets["masked"]) == 0
    assert distance(sheets["four16"], sheets["masked"]) < 1.5 * LEVEL
    assert distance(sheets["plain"], sheets["masked"]) > 0.1


# Masks


def left_half(width: int, height: int) -> dict:
    """The node "mask": a MASK that is 1 on the left."""
    return {
        "one": node("SolidMask", value=1.0, width=width // 2, height=height),
        "zero": node("SolidMask", value=0.0, width=width, height=height),
        "mask": node("MaskComposite", destination=["zero", 0], source=["one", 0], x=0, y=0, operation="add"),
    }


def test_a_mask_of_another_size_is_scaled(comfy_server, reworked):
    masked = reworking(mask=["mask", 0])
    same_size, larger = (draw(comfy_server, masked | left_half(side, side)) for side in (32, 96))
    assert distance(same_size["latent"], larger["latent"]) == 0
    assert distance(larger["image"][0, :, 16:], COLOURS[:, 16:]) < 1e-5
    assert distance(larger["image"][0, :, :16], COLOURS[:, :16]) > 0.1
    assert distance(reworked["image"][0, :, 16:], COLOURS[:, 16:]) > 0.1


@pytest.mark.parametrize("side", [0, 64])
def test_the_zero_mask_of_load_image_is_none(comfy_server, side):
    Image.open(FOLDER / "cat.jpg").resize((64, 64)).save(comfy_server.input / "opaque.png")
    loaded = {"hero": node("LoadImage", image="opaque.png")}
    size = {"width": side, "height": side}
    without = draw(comfy_server, reworking(**size) | loaded)
    with_mask = draw(comfy_server, reworking(mask=["hero", 1], **size) | loaded)
    assert distance(without["latent"], with_mask["latent"]) == 0


def test_the_mask_of_a_transparent_picture_repaints_around_it(comfy_server):
    Image.open(FOLDER / "hero.png").save(comfy_server.input / "transparent.png")
    loaded = {"hero": node("LoadImage", image="transparent.png")}
    drawn = draw(comfy_server, reworking(1.0, mask=["hero", 1]) | loaded)["image"][0]
    assert distance(drawn[OPAQUE], COLOURS[OPAQUE]) < 1e-5
    assert distance(drawn[~OPAQUE], COLOURS[~OPAQUE]) > 0.1


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
    drawn = draw(comfy_server, reworking(noise=["zero", 0], batch=2) | zero)
    assert distance(drawn["image"][0], drawn["image"][1]) < 1e-4


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


# Latents


def redrawing(source: str = "sampler") -> dict:
    """A second Sampler, kept, that reworks the LATENT of the node `source`."""
    return {
        "half": schedule(denoise=0.5),
        "second": sampler(sigmas=["half", 0], seed=9, latent=[source, 2 if source == "sampler" else 0]),
        "keep": keep("second"),
    }


@pytest.fixture(scope="module")
def three(comfy_server):
    """Three pictures, each drawn a second time from its latent."""
    return draw(comfy_server, drawing(batch=3) | redrawing())


def pick(index: int, samples: str = "sampler", slot: int = 2) -> dict:
    return node("LatentFromBatch", samples=[samples, slot], batch_index=index, length=1)


def test_a_latent_sets_size_and_batch(three):
    assert three["image"].shape == (3, 32, 32, 3)
    assert distance(three["image"][0], three["image"][1]) > 0.1


def test_picture_two_of_three_is_the_same_alone(comfy_server, three):
    alone = draw(comfy_server, drawing(batch=3) | redrawing("picked") | {"picked": pick(1)})
    assert alone["batch_index"].tolist() == [1]
    assert distance(alone["image"][0], three["image"][1]) <= LEVEL
    assert distance(alone["image"][0], three["image"][0]) > 0.1


def test_latents_joined_keep_their_numbers(comfy_server, three):
    joined = {
        "last": pick(2),
        "first": pick(0),
        "joined": node("LatentBatch", samples1=["last", 0], samples2=["first", 0]),
    }
    drawn = draw(comfy_server, drawing(batch=3) | redrawing("joined") | joined)
    assert drawn["batch_index"].tolist() == [2, 0]
    assert distance(drawn["image"], three["image"][[2, 0]]) <= LEVEL


def test_a_repeated_latent_gets_noise_of_its_own(comfy_server, three):
    repeated = {"picked": pick(1), "repeated": node("RepeatLatentBatch", samples=["picked", 0], amount=2)}
    drawn = draw(comfy_server, drawing(batch=3) | redrawing("repeated") | repeated)
    assert drawn["batch_index"].tolist() == [1, 2]
    assert distance(drawn["image"][0], three["image"][1]) <= LEVEL
    assert distance(drawn["image"][1], drawn["image"][0]) > 0.1


@pytest.mark.parametrize("side", [32, 96])
def test_a_noise_mask_repaints_inside_it(comfy_server, plain, side):
    masked = {"masked": node("SetLatentNoiseMask", samples=["sampler", 2], mask=["mask", 0])}
    drawn = draw(comfy_server, drawing() | redrawing("masked") | masked | left_half(side, side))
    changed = np.abs(drawn["latent"] - plain["latent"])
    assert changed[..., 16:].max() < 1e-5
    assert changed[..., :16].max() > 0.1


def test_a_latent_of_video_is_refused(comfy_server):
    video = {"video": node("EmptyHunyuanLatentVideo", width=64, height=64, length=5, batch_size=1)}
    assert "5-dimensional" in failure(comfy_server, drawing(latent=["video", 0]) | video)


def test_a_latent_of_other_channels_is_refused(comfy_server):
    other = {"other": node("EmptySD3LatentImage", width=256, height=256, batch_size=1)}
    assert "works on 4 channels" in failure(comfy_server, drawing(latent=["other", 0]) | other)


# Size


def test_batch_and_size_are_as_asked(comfy_server):
    drawn = draw(comfy_server, drawing(batch=2, width=48, height=24))
    assert drawn["image"].shape == (2, 24, 48, 3) and drawn["mask"].shape == (2, 24, 48)
    sentence = failure(comfy_server, drawing(width=50))
    assert "multiples of 8, not 50×32: try 48×32" in sentence
