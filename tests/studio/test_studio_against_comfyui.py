"""The picture nodes and the validation give what a real ComfyUI gives."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import odd_pictures
import pytest
import torch
from PIL import Image
from studio_graphs import api

from varifold.studio import folders
from varifold.studio.comfy_nodes import CLASSES as COMFY_NODES
from varifold.studio.image_files import load_picture
from varifold.studio.resample import METHODS, resize
from varifold.studio.validate import validate

pytestmark = pytest.mark.comfyui
EXACT = ["rgb.png", "rgba.png", "grey16.png", "palette.png", "clear.png", "apng.png"]
NEAR = {"la.png": 1, "grey.png": 1, "anim.gif": 1, "photo.jpg": 4, "turned.jpg": 4}  # levels: FFmpeg rounds otherwise


def scale(**changes):
    inputs = {"image": ["1", 0], "upscale_method": "area", "width": 8, "height": 8, "crop": "disabled", **changes}
    inputs = {name: value for name, value in inputs.items() if value is not None}
    load, save = ("LoadImage", {"image": "rgb.png"}), ("SaveImage", {"images": ["2", 0], "filename_prefix": "x"})
    return api(n1=load, n2=("ImageScale", inputs), n3=save)


PROMPTS = [
    scale(),
    scale(width=None),
    scale(width=-1),
    scale(width=99999),
    scale(width="wide"),
    scale(upscale_method="magic"),
    scale(image=["1", 1]),
    scale(image=["1"]),
    scale(image=["3", 0]),
    api(n1=("LoadImage", {"image": "rgb.png"})),
    api(n1=("NoSuchNode", {})),
    scale() | api(n9=("SaveImage", {"images": ["2", 0]})),
]


@pytest.fixture(scope="module")
def oracle(comfyui, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    there = folder / "input"
    there.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)  # ComfyUI 0.30 fails on some narrower ones
    rgba = Image.fromarray(noise)
    rgba.convert("RGB").save(there / "rgb.png")
    rgba.save(there / "rgba.png")
    rgba.convert("LA").save(there / "la.png")
    rgba.convert("L").save(there / "grey.png")
    Image.fromarray(noise.view(np.uint16)[..., 0].copy()).save(there / "grey16.png")
    rgba.convert("RGB").quantize(16).save(there / "palette.png")
    rgba.convert("RGB").quantize(16).save(there / "clear.png", transparency=3)
    frames = [rgba.convert("RGB").rotate(angle) for angle in (0, 90, 180)]
    frames[0].save(there / "apng.png", save_all=True, append_images=frames[1:], duration=100)
    frames[0].quantize(64).save(there / "anim.gif", save_all=True, append_images=[f.quantize(64) for f in frames[1:]])
    smooth = rgba.convert("RGB").resize((64, 48), Image.Resampling.BICUBIC)
    smooth.save(there / "photo.jpg", quality=95, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth.save(there / "turned.jpg", quality=95, subsampling=0, exif=exif)
    (folder / "prompts.json").write_text(json.dumps(PROMPTS))
    script = Path(__file__).with_name("oracle_pictures.py")
    done = subprocess.run(
        [comfyui.python, script, folder], env=comfyui.environment(comfyui.source), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", EXACT + list(NEAR))
def test_load_image(oracle, name):
    theirs = np.load(oracle / "pictures.npz")
    image, mask = load_picture(oracle / "input" / name)
    assert image.shape == theirs[name].shape
    tolerance = NEAR.get(name, 1e-4) / 255
    assert np.abs(image.numpy() - theirs[name]).max() <= tolerance
    assert mask.shape == theirs[name + ".mask"].shape
    assert np.abs(mask.numpy() - theirs[name + ".mask"]).max() <= tolerance


@pytest.mark.parametrize("method", METHODS)
def test_image_scale(oracle, method):
    theirs = np.load(oracle / "pictures.npz")
    for name in ("rgb.png", "apng.png"):
        ours = resize(torch.from_numpy(theirs[name]), 9, 7, method, "center")
        assert np.array_equal(ours.numpy(), theirs[f"{name}.{method}"])


@pytest.mark.parametrize("channel", ["alpha", "red", "green", "blue"])
def test_masks_from_channels(oracle, channel):
    theirs = np.load(oracle / "pictures.npz")
    folders.use(folders.Folders((oracle / "input",), oracle / "output", oracle / "temp"))
    try:
        ours = COMFY_NODES["LoadImageMask"]().load_image_mask("rgba.png", channel)[0]
    finally:
        folders.use(None)
    assert np.abs(ours.numpy() - theirs[f"mask.{channel}"]).max() < 1e-4 / 255
    rgb = torch.from_numpy(theirs["rgb.png"])
    rgba = torch.cat([rgb, 1 - rgb[..., :1]], -1)[:, :11, :19]
    assert np.array_equal(COMFY_NODES["ImageToMask"]().execute(rgba, channel)[0].numpy(), theirs[f"to_mask.{channel}"])


def test_batches_masks_and_schedules(oracle):
    theirs = np.load(oracle / "pictures.npz")
    rgb, apng = (torch.from_numpy(theirs[name]) for name in ("rgb.png", "apng.png"))
    rgba = torch.cat([rgb, 1 - rgb[..., :1]], -1)[:, :11, :19]
    assert np.array_equal(COMFY_NODES["ImageBatch"]().batch(apng, rgba)[0].numpy(), theirs["batched"])
    assert np.array_equal(COMFY_NODES["MaskToImage"]().execute(rgba[..., 0])[0].numpy(), theirs["to_image"])
    high, low = COMFY_NODES["SplitSigmas"]().execute(torch.linspace(9, 0, 7), 3)
    assert np.array_equal(high.numpy(), theirs["high"]) and np.array_equal(low.numpy(), theirs["low"])


def test_values_as_text(oracle):
    values = ["a text", 3, 2.5, True, None, {"a": [1, "é"]}, [1, None], {1, 2}]
    assert [COMFY_NODES["PreviewAny"]().main(v)["result"][0] for v in values] == json.loads(
        (oracle / "texts.json").read_text()
    )


def run(node, inputs):
    returned = getattr(COMFY_NODES[node](), COMFY_NODES[node].FUNCTION)(**inputs)
    return returned["result"] if isinstance(returned, dict) else returned


def better_here(node, inputs):
    """Where ComfyUI gives a picture without its channels or pixels, or fails on a batch of none."""
    if inputs.get("upscale_method") == "lanczos":
        return inputs["image"] == "grey"
    nothing = inputs.get("image") in ("pixel", "line") and inputs.get("scale_by") == 0.5
    if inputs.get("upscale_method") == "area":
        return nothing or inputs.get("scale_by") == 0.01
    return node == "SplitImageWithAlpha" and inputs["image"] == "none"


def alike(ours, theirs, tolerance):
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return np.array_equal(ours, theirs) or np.allclose(ours, theirs, rtol=0, atol=tolerance, equal_nan=True)


def test_odd_inputs(oracle):
    theirs, compared = defaultdict(list), 0
    for name, value in np.load(oracle / "odd.npz").items():
        theirs[int(name.split(".")[0])].append(value)
    assert {node for node, _ in odd_pictures.CASES} > {"ImageBatch", "ImageScale", "PreviewAny", "SplitSigmas"}
    for case, ((node, inputs), ours) in enumerate(zip(odd_pictures.CASES, odd_pictures.results(run), strict=True)):
        if better_here(node, inputs):
            continue
        assert (ours is None) == (not theirs[case]), (node, inputs)
        if ours is not None:
            tolerance = 2 / 255 if inputs.get("image") == "half" else 1e-6
            pairs = zip(map(np.asarray, ours), theirs[case], strict=True)
            assert all(alike(*pair, tolerance) for pair in pairs), (node, inputs)
            compared += 1
    assert compared > 700


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_validation(oracle, number):
    there = folders.Folders((oracle / "input",), oracle / "output", oracle / "temp")
    folders.use(there)
    try:
        ours = json.loads(json.dumps(validate(PROMPTS[number], COMFY_NODES)))
    finally:
        folders.use(None)
    theirs = json.loads((oracle / "answers.json").read_text())[number]
    assert ours[0] == theirs[0] and sorted(ours[2]) == sorted(theirs[2])
    assert bool(ours[1]) == bool(theirs[1])
    if theirs[1]:
        assert ours[1].keys() == theirs[1].keys()
        assert (ours[1]["type"], ours[1]["message"]) == (theirs[1]["type"], theirs[1]["message"])
        assert theirs[1]["extra_info"].items() <= ours[1]["extra_info"].items()
    assert brief(ours[3]) == brief(theirs[3])


def brief(node_errors):
    return {
        node_id: (entry["class_type"], sorted(entry["dependent_outputs"]), [shape(e) for e in entry["errors"]])
        for node_id, entry in node_errors.items()
    }


def shape(error):
    same = error["details"] if error["type"] != "bad_linked_input" else ""
    config = error["extra_info"].get("input_config")
    return error["type"], error["message"], same, sorted(error["extra_info"]), config and config[0]
