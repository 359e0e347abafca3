"""Pictures, masks and latents between ComfyUI's own nodes and ours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from comfyui.graphs import distance, draw, drawing, failure, keep, kept, node, sampler, schedule
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
    assert distance(drawn[~OPAQUE], COLOURS[~OPAQUE]) > 0.005


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
