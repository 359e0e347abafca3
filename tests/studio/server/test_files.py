"""Pictures in and out: names, forms, what is no picture, and what else lies in the folders."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
from aiohttp import FormData
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from server_page import meeting_twice
from studio_graphs import api
from yarl import URL

from varifold.studio.server import files


def png(colour="red", size=(4, 3), mode="RGB", **texts: str) -> bytes:
    file, info = io.BytesIO(), PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    Image.new(mode, size, colour).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def noisy(mode="RGBA", size=(8, 6), form="PNG") -> tuple[np.ndarray, bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return pixels, file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def pixels_of(body: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as picture:
        return np.asarray(picture)


def everything(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def inputs(page):
    return page.home / "input"


@pytest.fixture
def outputs(page):
    return page.home / "output"


async def test_an_uploaded_picture_is_kept_and_shown_and_can_be_loaded(page, inputs):
    pixels, content = noisy("RGB")
    answer = await page.upload(content, "pic.png")
    assert (answer.status, answer.json) == (200, {"name": "pic.png", "subfolder": "", "type": "input"})
    assert (inputs / "pic.png").read_bytes() == content
    shown = await page.get("/api/view", params={"filename": "pic.png", "type": "input"})
    assert shown.body == content and shown.headers["Content-Type"] == "image/png"
    prompt = api(n1=("LoadImage", {"image": "pic.png"}), n2=("SaveImage", {"images": ["1", 0], "filename_prefix": "x"}))
    (image,) = (await page.run(prompt))["outputs"]["2"]["images"]
    assert (pixels_of((await page.get("/api/view", params=image)).body) == pixels).all()


@pytest.mark.parametrize(
    "name",
    ["pic.png", "ÜÄ 図.png", "a b.png", "10.00\u202fAM.png", "no suffix", "..png", "x" * 200 + ".png", "pic.html"],
)
async def test_names_that_a_file_may_have(page, inputs, name):
    answer = await page.upload(png(), name)
    assert answer.status == 200 and answer.json["name"] == name
    assert everything(inputs) == {name}


@pytest.mark.parametrize(
    "name",
    [
        "../pic.png",
        "../../pic.png",
        "/etc/pic.png",
        "..\\pic.png",
        "C:\\sub\\pic.png",
        "C:/pic.png",
        "sub/pic.png",
        "/pic.png",
    ],
)
async def test_of_a_path_only_the_name_is_kept(page, inputs, name):
    answer = await page.upload(png(), name)
    assert answer.status == 200 and answer.json == {"name": "pic.png", "subfolder": "", "type": "input"}
    assert everything(inputs) == {"pic.png"}


@pytest.mark.parametrize(
    "name", ["", "..", "/", ".", "a/..", "./", "C:pic.png", "a\0b.png", "x" * 300 + ".png", "\ud800.png"]
)
async def test_names_that_no_file_may_have(page, inputs, name, tmp_path):
    before = everything(tmp_path)
    body = f'--b\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode(
        errors="surrogatepass"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await page.post("/api/upload/image", data=body + png() + b"\r\n--b--\r\n", headers=headers)
    assert answer.status == 400 and answer.json["error"]
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("subfolder", "kept"),
    [("sub", "sub"), ("sub/deep", "sub/deep"), ("/sub/", "sub"), ("sub/./x", "sub/./x"), ("", "")],
)
async def test_subfolders_are_made(page, inputs, subfolder, kept):
    answer = await page.upload(png(), subfolder=subfolder)
    assert answer.status == 200 and answer.json == {"name": "pic.png", "subfolder": kept, "type": "input"}
    assert (inputs / subfolder.strip("/") / "pic.png").is_file()
    assert (
        await page.get("/api/view", params={"filename": "pic.png", "subfolder": kept, "type": "input"})
    ).status == 200


@pytest.mark.parametrize(
    "subfolder", ["..", "sub/../..", "a\\..\\..", "out", "C:\\x", "C:", "a\0b", "x" * 300, "taken.png"]
)
async def test_subfolders_that_lead_out_or_nowhere_are_refused(page, inputs, tmp_path, subfolder):
    (tmp_path / "elsewhere").mkdir()
    (inputs / "out").symlink_to(tmp_path / "elsewhere")
    (inputs / "taken.png").write_bytes(b"")
    before = everything(tmp_path)
    assert (await page.upload(png(), subfolder=subfolder)).status == 400
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", ["input", "output", "temp"])
async def test_uploads_go_where_their_type_says(page, kind):
    answer = await page.upload(png(), type=kind)
    assert answer.json["type"] == kind
    assert (files.root_of(page.studio, kind) / "pic.png").read_bytes() == png()


@pytest.mark.parametrize("kind", ["", "user", "..", "models"])
async def test_uploads_of_an_unknown_type_are_refused(page, kind):
    assert (await page.upload(png(), type=kind)).status == 400


async def test_a_taken_name_is_numbered_unless_the_picture_is_the_same_or_overwrite_is_asked_for(page, inputs):
    for colour, more, name in (
        ("red", {}, "pic.png"),
        ("lime", {}, "pic (1).png"),
        ("blue", {}, "pic (2).png"),
        ("lime", {}, "pic (1).png"),
        ("red", {"overwrite": "false"}, "pic.png"),
        ("white", {"overwrite": "true"}, "pic.png"),
        ("black", {"overwrite": "1"}, "pic.png"),
    ):
        assert (await page.upload(png(colour), **more)).json["name"] == name
    assert everything(inputs) == {"pic.png", "pic (1).png", "pic (2).png"}
    assert (inputs / "pic.png").read_bytes() == png("black")


async def test_pictures_of_one_name_that_come_at_once_are_all_kept(page, inputs, monkeypatch):
    write_whole = meeting_twice(files.write_whole)
    monkeypatch.setattr(files, "write_whole", write_whole)
    pictures = [png("red"), png("blue")]
    answers = await asyncio.gather(*(page.upload(picture) for picture in pictures))
    assert [(inputs / answer.json["name"]).read_bytes() for answer in answers] == pictures
    assert everything(inputs) == {"pic.png", "pic (1).png"}


async def test_a_folder_is_never_overwritten_by_a_picture(page, inputs):
    (inputs / "pic.png").mkdir()
    for more in ({}, {"overwrite": "true"}):
        assert (await page.upload(png(), **more)).status == 400
    assert (inputs / "pic.png").is_dir()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>",
        png()[:20],
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
    ],
)
async def test_what_is_no_picture_is_refused(page, inputs, content):
    answer = await page.upload(content)
    assert answer.status == 400 and "picture" in answer.json["error"] and "0x" not in answer.json["error"]
    assert everything(inputs) == set()


async def test_a_picture_that_would_fill_the_memory_is_refused_by_its_first_bytes(page, inputs):
    content = bomb(60_000, 60_000)
    assert len(content) < 200
    assert (await page.upload(content)).status == 400
    assert everything(inputs) == set()
    (inputs / "bomb.png").write_bytes(content)
    await page.upload(png("red", (4, 3), "RGBA"), "good.png")
    for query in ("preview=webp;80", "channel=a", "channel=rgb"):
        answer = await page.get(f"/api/view?filename=bomb.png&type=input&{query}")
        assert answer.status == 400 and "picture" in answer.json["error"]
    for mask, original in ((content, "good.png"), (png(), "bomb.png")):
        reference = json.dumps({"filename": original, "type": "input"})
        assert (await page.upload(mask, "m.png", "mask", original_ref=reference)).status == 400


async def test_an_upload_has_a_largest_size(page, inputs, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 2000)
    assert (await page.upload(png() + b"\0" * 1000)).status == 200
    assert (await page.upload(png() + b"\0" * 3000, "large.png")).status == 413
    assert (await page.upload(png(), "field.png", subfolder="x" * (files.FIELD + 1))).status == 413
    assert everything(inputs) == {"pic.png"}


async def test_an_upload_may_be_larger_than_other_bodies(page):
    large = png() + b"\0" * (65 * 2**20)
    assert (await page.upload(large)).status == 200
    assert (await page.post("/api/settings", data=b" " * (65 * 2**20))).status == 413


@pytest.mark.parametrize("where", ["image", "mask"])
async def test_a_form_without_a_picture_is_refused(page, where):
    form = FormData({"type": "input"})
    form.add_field("other", b"x", filename="x.png")
    for data, headers in (
        (form, {}),
        (b"", {}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary=" + "b" * 80}),
        (b"--b\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=b"}),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}),
        (
            b"--b\r\nContent-Disposition: form-data; name=image\r\n\r\nx\r\n--b--",
            {"Content-Type": "multipart/form-data; boundary=b"},
        ),
    ):
        answer = await page.post(f"/api/upload/{where}", data=data, headers=headers)
        assert answer.status == 400 and answer.json["error"], (data, headers)


async def test_a_mask_gives_the_picture_its_alpha_and_leaves_colours_and_texts(page, inputs, outputs):
    colours, _ = noisy("RGB")
    texts = {"workflow": '{"nodes": []}', "prompt": "{}", "note": "grün"}
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    Image.fromarray(colours).save(outputs / "shot.png", pnginfo=info)
    painted, mask = noisy("RGBA")
    reference = json.dumps({"filename": "shot.png", "subfolder": "", "type": "output"})
    answer = await page.upload(mask, "masked.png", "mask", original_ref=reference, subfolder="clipspace")
    assert answer.json == {"name": "masked.png", "subfolder": "clipspace", "type": "input"}
    with Image.open(inputs / "clipspace" / "masked.png") as result:
        assert {key: result.text[key] for key in texts} == texts
        assert (np.asarray(result) == np.dstack([colours, painted[..., 3]])).all()


async def test_a_mask_of_another_size_is_scaled(page, inputs):
    await page.upload(png("red", (8, 6)))
    reference = json.dumps({"filename": "pic.png", "type": "input"})
    answer = await page.upload(png((0, 0, 0, 7), (2, 2), "RGBA"), "masked.png", "mask", original_ref=reference)
    result = pixels_of((inputs / answer.json["name"]).read_bytes())
    assert result.shape == (6, 8, 4) and (result == [255, 0, 0, 7]).all()


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        (None, 400),
        ("", 400),
        ("x", 400),
        ("[]", 400),
        ('"pic.png"', 400),
        ("7", 400),
        ("null", 400),
        ("[" * 60_000, 400),
        ("{}", 400),
        ({"filename": ""}, 400),
        ({"filename": ["pic.png"]}, 404),
        ({"filename": "gone.png"}, 404),
        ({"filename": "pic.png", "type": "user"}, 400),
        ({"filename": "../settings.json"}, 400),
        ({"filename": "pic.png", "subfolder": "/etc", "type": "input"}, 400),
        ({"filename": "passwd", "subfolder": "/etc", "type": "input"}, 400),
        ({"filename": "sub", "type": "input"}, 400),
        ({"filename": "pic.png", "subfolder": 7, "type": "input"}, 404),
        ({"filename": "text.png", "type": "input"}, 400),
        ({"filename": "cut.png", "type": "input"}, 400),
    ],
)
async def test_a_mask_of_no_picture_is_refused(page, inputs, reference, status):
    (inputs / "sub").mkdir()
    (inputs / "pic.png").write_bytes(png())
    (inputs / "text.png").write_bytes(b"hello")
    (inputs / "cut.png").write_bytes(noisy()[1][:120])
    fields = (
        {}
        if reference is None
        else {"original_ref": reference if isinstance(reference, str) else json.dumps(reference)}
    )
    answer = await page.upload(png("red", (4, 3), "RGBA"), "m.png", "mask", **fields)
    assert answer.status == status and answer.json["error"]


async def test_a_damaged_mask_is_refused(page):
    await page.upload(png())
    reference = json.dumps({"filename": "pic.png", "type": "input"})
    assert (await page.upload(noisy()[1][:120], "m.png", "mask", original_ref=reference)).status == 400


@pytest.mark.parametrize("mark", ["input", "output", "temp"])
async def test_a_name_may_carry_its_type_as_in_the_menu_of_load_image(page, mark):
    await page.upload(png(), type=mark, subfolder="sub")
    other = "input" if mark == "output" else "output"
    query = {"filename": f"pic.png [{mark}]", "subfolder": "sub", "type": other}
    assert (await page.get("/api/view", params=query)).body == png()
    painted = png((1, 2, 3, 4), (4, 3), "RGBA")
    answer = await page.upload(painted, "masked.png", "mask", original_ref=json.dumps(query))
    assert answer.status == 200


VIEW = "/api/view?type=input&filename="


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("filename=", 400),
        ("filename=gone.png", 404),
        ("filename=pic.png&type=user", 400),
        ("filename=pic.png&type=", 400),
        ("filename=../secret.png", 400),
        ("filename=..%2Fsecret.png", 400),
        ("filename=..%5Csecret.png", 400),
        ("filename=secret.png&subfolder=..", 400),
        ("filename=secret.png&subfolder=sub/../..", 400),
        ("filename=passwd&subfolder=/etc", 400),
        ("filename=/etc/passwd", 400),
        ("filename=C:%5Cx.png", 400),
        ("filename=C:x.png", 400),
        ("filename=pic.png%00", 400),
        ("filename=%ED%A0%80.png", 404),
        ("filename=link.png", 400),
        ("filename=secret.png&subfolder=out", 400),
        ("filename=sub", 404),
        ("filename=.", 404),
        ("filename=pic.png/x", 404),
        ("filename=" + "x" * 300, 400),
        ("filename=pic.png&channel=b", 400),
        ("filename=text.txt&preview=webp", 400),
        ("filename=text.txt&channel=a", 400),
        ("filename=cut.png&preview=webp", 400),
        ("filename=cut.png&channel=rgb", 400),
    ],
)
async def test_what_may_not_be_viewed(page, inputs, query, status):
    (page.home / "secret.png").write_bytes(png())
    (inputs / "pic.png").write_bytes(png())
    (inputs / "text.txt").write_text("hello")
    (inputs / "cut.png").write_bytes(noisy()[1][:120])
    (inputs / "sub").mkdir()
    (inputs / "link.png").symlink_to(page.home / "secret.png")
    (inputs / "out").symlink_to(page.home)
    kind = "" if "type=" in query else "&type=input"
    answer = await page.get(URL(f"/api/view?{query}{kind}", encoded=True))
    assert answer.status == status and answer.json["error"]


async def test_a_link_to_itself_is_no_picture(page, inputs):
    (inputs / "loop.png").symlink_to("loop.png")
    assert (await page.get(VIEW + "loop.png")).status in (400, 404)


@pytest.mark.parametrize(
    ("name", "kind", "disposition"),
    [
        ("a.png", "image/png", "inline"),
        ("a.JPG", "image/jpeg", "inline"),
        ("a.webp", "image/webp", "inline"),
        ("a.gif", "image/gif", "inline"),
        ("a.html", "application/octet-stream", "attachment"),
        ("a.svg", "application/octet-stream", "attachment"),
        ("a.xhtml", "application/octet-stream", "attachment"),
        ("a.js", "application/octet-stream", "attachment"),
        ("a.xml", "application/octet-stream", "attachment"),
        ("a.png.html", "application/octet-stream", "attachment"),
        ("a", "application/octet-stream", "attachment"),
    ],
)
async def test_pictures_are_shown_and_anything_else_is_only_downloaded(page, inputs, name, kind, disposition):
    (inputs / name).write_bytes(b"<script>alert(1)</script>")
    answer = await page.get(VIEW + name)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Content-Disposition"] == f'{disposition}; filename="{name}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ['a".png', "a\\b.png", "ä図.png", "a\nb.png", "a\r\nX-Evil: 1.png", "a\x7fb.png"])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
async def test_odd_names_do_not_leave_their_header(page, inputs, name):
    (inputs / name).write_bytes(png())
    answer = await page.get("/api/view", params={"filename": name, "type": "input"})
    if "\\" in name:  # a path of Windows
        assert answer.status == 404
        return
    assert answer.status == 200 and answer.body == png()
    assert "X-Evil" not in answer.headers
    quoted = answer.headers["Content-Disposition"].partition('filename="')[2]
    assert quoted.endswith('.png"') and quoted.count('"') == 1 and quoted.isascii() and quoted.isprintable()


async def test_previews_are_webp_or_jpeg_of_the_asked_quality(page, inputs):
    content = noisy("RGBA", (64, 64))[1]
    (inputs / "pic.png").write_bytes(content)
    sizes = {}
    for query, kind in (
        ("webp;90", "webp"),
        ("webp;10", "webp"),
        ("jpeg;90", "jpeg"),
        ("png", "webp"),
        ("", "webp"),
        ("webp;x", "webp"),
        ("webp;999", "webp"),
    ):
        answer = await page.get(VIEW + f"pic.png&preview={query}")
        assert answer.headers["Content-Type"] == f"image/{kind}"
        with Image.open(io.BytesIO(answer.body)) as picture:
            assert (picture.format, picture.size) == (kind.upper(), (64, 64))
        sizes[query] = len(answer.body)
    assert sizes["webp;10"] < sizes["webp;90"] == sizes[""] == sizes["webp;x"] <= sizes["webp;999"]
    flat = png((10, 200, 30), (16, 16))
    (inputs / "flat.png").write_bytes(flat)
    for form in ("webp", "jpeg"):
        body = (await page.get(VIEW + f"flat.png&preview={form};90")).body
        assert np.abs(pixels_of(body)[..., :3].astype(int) - [10, 200, 30]).max() < 8


async def test_a_picture_too_long_for_its_preview_is_still_shown(page, inputs):
    for size in ((20_000, 2), (2, 70_000)):
        (inputs / "long.png").write_bytes(png(size=size))
        for form in ("webp;80", "jpeg;80"):
            answer = await page.get(VIEW + f"long.png&preview={form}")
            assert answer.status == 200, (size, form)
            with Image.open(io.BytesIO(answer.body)) as picture:
                assert (picture.width > picture.height) == (size[0] > size[1])


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "LA", "L"])
async def test_channels_are_taken_apart(page, inputs, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    with Image.fromarray(pixels) as picture:
        picture.convert(mode).save(inputs / "pic.png")
        whole = np.asarray(picture.convert(mode).convert("RGBA"))
    colours = await page.get(VIEW + "pic.png&channel=rgb")
    alpha = await page.get(VIEW + "pic.png&channel=a")
    assert colours.headers["Content-Type"] == alpha.headers["Content-Type"] == "image/png"
    assert (pixels_of(colours.body) == whole[..., :3]).all()
    assert (pixels_of(alpha.body) == whole * [0, 0, 0, 1]).all()
    untouched = await page.get(VIEW + "pic.png&channel=rgba")
    assert untouched.body == (inputs / "pic.png").read_bytes()


async def test_part_of_a_picture_may_be_asked_for(page, inputs):
    (inputs / "pic.png").write_bytes(png())
    answer = await page.get(VIEW + "pic.png", headers={"Range": "bytes=1-3"})
    assert (answer.status, answer.body) == (206, b"PNG")
    assert (await page.get(VIEW + "pic.png", headers={"Range": "bytes=9999-"})).status == 416


async def test_a_picture_that_has_not_changed_is_not_sent_again(page, inputs):
    (inputs / "pic.png").write_bytes(png())
    first = await page.get(VIEW + "pic.png")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await page.get(VIEW + "pic.png", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
