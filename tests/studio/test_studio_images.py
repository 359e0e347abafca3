"""The picture nodes: files in and out, scaling, transparency, and names that try to leave the folders."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from studio_graphs import api

from varifold.studio import folders
from varifold.studio.comfy_nodes import CLASSES as COMFY_NODES
from varifold.studio.comfy_nodes.images import LoadImage, SaveImage
from varifold.studio.comfy_nodes.masks import JoinImageWithAlpha, SplitImageWithAlpha
from varifold.studio.errors import NodeError
from varifold.studio.image_files import load_picture, picture_of
from varifold.studio.resample import METHODS, resize


def pixels(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def saved(tmp_path, picture, name="p.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def test_opaque_pictures_have_an_empty_64_pixel_mask(tmp_path):
    image, mask = load_picture(saved(tmp_path, Image.new("RGB", (5, 3), (255, 51, 0))))
    assert image.shape == (1, 3, 5, 3) and image.dtype == torch.float32
    assert image[0, 0, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert mask.shape == (1, 64, 64) and not mask.any()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_mask_is_one_minus_alpha(tmp_path, mode):
    _, mask = load_picture(saved(tmp_path, Image.new("RGBA", (5, 3), (90, 90, 90, 51)).convert(mode)))
    assert mask.shape == (1, 3, 5)
    assert torch.allclose(mask, torch.tensor(0.8))


def test_palette_transparency(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.putpixel((0, 0), 0)
    image, mask = load_picture(saved(tmp_path, picture, transparency=0))
    assert mask[0, 0, 0] == 1 and mask.sum() == 1
    assert image[0, 1, 1].tolist() == [1, 0, 0]


def test_16_bit_grey_keeps_its_depth(tmp_path):
    values = np.array([[0, 1, 257, 65535]], np.uint16)
    image, _ = load_picture(saved(tmp_path, Image.fromarray(values)))
    assert image[0, 0, :, 2].tolist() == pytest.approx((values[0] / 65535).tolist())


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image, _ = load_picture(saved(tmp_path, Image.new("RGB", (5, 3)), "p.jpg", exif=exif))
    assert image.shape == (1, 5, 3, 3)


def test_frames_become_a_batch(tmp_path):
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 255)]
    image, _ = load_picture(saved(tmp_path, frames[0], save_all=True, append_images=frames[1:], duration=50))
    assert image[:, 0, 0, 0].tolist() == [0, 1]


def test_bombs_damage_and_other_files(tmp_path, monkeypatch):
    good = saved(tmp_path, Image.new("RGB", (40, 40)))
    for content, reason in ((b"hello", "not a picture"), (good.read_bytes()[:60], "damaged")):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(ValueError, match=f"cannot load bad.png: .*{reason}"):
            load_picture(tmp_path / "bad.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="scale it down"):
        load_picture(good)


def test_load_image_lists_and_checks_its_folder(places):
    (places.input[0] / "notes.txt").write_text("no")
    assert LoadImage.INPUT_TYPES() == {"required": {"image": (["pic.png"], {"image_upload": True})}}
    assert LoadImage.VALIDATE_INPUTS("pic.png") is True
    assert "no file 'x.png'" in LoadImage.VALIDATE_INPUTS("x.png")
    assert "leads out" in LoadImage.VALIDATE_INPUTS("../output/x.png")
    before = LoadImage.IS_CHANGED("pic.png")
    Image.new("RGB", (1, 1)).save(places.input[0] / "pic.png")
    assert LoadImage.IS_CHANGED("pic.png") != before


def test_saved_pictures_are_cut_to_8_bits_and_numbered(places):
    ramp = torch.tensor([-1.0, 0.5, 0.999, 2.0, 254.9 / 255]).reshape(1, 1, 5, 1).repeat(2, 1, 1, 3)
    result = SaveImage().save_images(ramp, "sub/shot")
    assert result["result"][0] is ramp
    assert result["ui"]["images"] == [
        {"filename": f"shot_{n:05}_.png", "subfolder": "sub", "type": "output"} for n in (1, 2)
    ]
    with Image.open(places.output / "sub/shot_00002_.png") as picture:
        assert np.asarray(picture)[0, :, 0].tolist() == [0, 127, 254, 255, 254]
    (places.output / "sub/shot_00041_.png").touch()
    assert SaveImage().save_images(ramp[:1], "sub/shot")["ui"]["images"][0]["filename"] == "shot_00042_.png"
    assert SaveImage().save_images(ramp[:1], "sub/sho")["ui"]["images"][0]["filename"] == "sho_00001_.png"
    assert sorted(os.listdir(places.output / "sub"))[0] == "sho_00001_.png"


def test_png_carries_prompt_and_workflow_and_four_channels(places):
    prompt, workflow = {"1": {"class_type": "Ü"}}, {"nodes": []}
    SaveImage().save_images(pixels(1, 2, 3, 4), "x", prompt, {"workflow": workflow})
    with Image.open(places.output / "x_00001_.png") as picture:
        assert picture.mode == "RGBA"
        assert {key: json.loads(text) for key, text in picture.text.items()} == {"prompt": prompt, "workflow": workflow}
    assert b"tEXtprompt\0" in (places.output / "x_00001_.png").read_bytes()


def test_prefix_marks(places):
    files = folders.series(places.output, "%year%/%width%x%height%_%month%%day%", 6, 4)
    assert files.subfolder.isdigit() and files.stem.startswith("6x4_") and len(files.stem) == 8
    assert SaveImage().save_images(pixels(2, 2, 2, 3), "b%batch_num%")["ui"]["images"][1]["filename"] == "b1_00002_.png"
    assert folders.series(places.output, "").stem == "ComfyUI"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:\\x", "..\\x", "a\0b", "link/x", "\\\\server\\x"])
def test_no_name_leaves_the_output_folder(places, tmp_path, name):
    places.output.mkdir()
    (places.output / "link").symlink_to(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ValueError):
        SaveImage().save_images(pixels(1, 2, 2, 3), name)
    assert sorted(os.listdir(tmp_path)) == before
    assert os.listdir(places.output) == ["link"]


def test_no_name_leaves_the_input_folder(places, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "secret.png")
    (places.input[0] / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "../secret.png [output]", ""):
        with pytest.raises((ValueError, OSError)):
            places.find(name)
    SaveImage().save_images(pixels(1, 2, 2, 3), "made")
    assert places.find("made_00001_.png [output]") == places.output / "made_00001_.png"


def test_nothing_half_written_stays(places):
    places.output.mkdir()

    def write(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folders.write_next(places.output, "x", 1, write)
    assert os.listdir(places.output) == []


def test_two_writers_never_take_the_same_name(places):
    places.output.mkdir()

    def race(file):
        (places.output / "x_00001_.png").write_text("theirs")
        file.write(b"ours")

    assert folders.write_next(places.output, "x", 1, race) == ("x_00002_.png", 2)
    assert (places.output / "x_00001_.png").read_text() == "theirs"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_method_keeps_flat_pictures_flat(method, channels):
    out = resize(torch.full((2, 6, 4, channels), 0.6), 9, 5, method)
    assert out.shape == (2, 5, 9, channels)
    assert torch.allclose(out, torch.tensor(0.6), atol=1e-6)


def test_center_crop_and_free_sides():
    scale = COMFY_NODES["ImageScale"]().upscale
    stripes = torch.zeros(1, 4, 12, 3)
    stripes[:, :, 4:8] = 1
    assert scale(stripes, "nearest-exact", 4, 4, "center")[0].min() == 1
    assert scale(stripes, "area", 0, 2, "disabled")[0].shape == (1, 2, 6, 3)
    assert scale(stripes, "area", 0, 0, "disabled")[0] is stripes
    assert COMFY_NODES["ImageScaleBy"]().upscale(stripes, "bicubic", 0.5)[0].shape == (1, 2, 6, 3)


def test_split_then_join_gives_the_sprite_back():
    sprite = pixels(2, 5, 4, 4)
    image, mask = SplitImageWithAlpha().execute(sprite)
    assert torch.allclose(JoinImageWithAlpha().execute(image, mask)[0], sprite)
    assert not SplitImageWithAlpha().execute(sprite[..., :3])[1].any()


def test_join_scales_the_mask_and_repeats_the_shorter_batch():
    joined = JoinImageWithAlpha().execute(pixels(3, 5, 4, 3), torch.zeros(2, 64, 64))[0]
    assert joined.shape == (3, 5, 4, 4) and joined[..., 3].eq(1).all()


def test_small_nodes():
    assert COMFY_NODES["InvertMask"]().execute(torch.tensor([0.25]))[0].tolist() == [0.75]
    assert COMFY_NODES["RepeatImageBatch"]().execute(pixels(2, 1, 1, 3), 3)[0].shape == (6, 1, 1, 3)
    assert picture_of(pixels(2, 2, 1).to(torch.bfloat16)).mode == "L"


def test_a_graph_of_picture_nodes(executor, places):
    prompt = api(
        n1=("LoadImage", {"image": "pic.png"}),
        n2=("ImageScaleBy", {"image": ["1", 0], "upscale_method": "lanczos", "scale_by": 2.0}),
        n3=("PreviewImage", {"images": ["2", 0]}),
    )
    (shown,) = executor.run(prompt, ["3"])["3"]["images"]
    assert shown["type"] == "temp" and shown["filename"].startswith("ComfyUI_temp_")
    with Image.open(places.path_of(shown)) as picture:
        assert picture.size == (10, 6) and picture.getpixel((0, 0)) == (10, 20, 30)


def test_an_empty_batch_is_explained(executor, nodes):
    nodes["Colour"] = type("Empty", (nodes["Colour"],), {"run": lambda self, **_: (torch.zeros(0, 2, 2, 3),)})
    executor.nodes = nodes
    prompt = api(n1=("Colour", {}), n2=("SaveImage", {"images": ["1", 0], "filename_prefix": "x"}))
    with pytest.raises(NodeError, match="the batch is empty"):
        executor.run(prompt, ["2"])
