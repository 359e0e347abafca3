"""Routes of pictures: uploads in, results and previews out. Only names inside the Studio's folders mean anything."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import mimetypes
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aiohttp import BodyPartReader, web
from PIL import Image, UnidentifiedImageError

from ..folders import claim, confined
from .state import Studio, studio_of

routes = web.RouteTableDef()
LARGEST = 100 * 2**20  # bytes of an upload
FIELD = 2**16  # bytes of any other field
KINDS = ("input", "output", "temp")
FORMATS = {"webp": "WEBP", "jpeg": "JPEG"}
CHANNELS = ("rgba", "rgb", "a")
MOST_SIDE = 16383  # pixels of a WebP
SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "image/bmp")


def root_of(studio: Studio, kind: str) -> Path:
    """The folder that a picture's type names."""
    roots = dict(zip(KINDS, (studio.places.input[0], studio.places.output, studio.places.temp), strict=True))
    if kind not in roots:
        raise ValueError(f"type should be one of {', '.join(KINDS)}, not {kind[:40]!r}")
    return roots[kind]


def picture_path(studio: Studio, name: str, subfolder: str, kind: str) -> Path:
    """Where a picture lies. Names out of Load Image's menu may end in their type: "pic.png [output]"."""
    for mark in KINDS:
        if name.endswith(f"[{mark}]"):
            kind, name = mark, name[: -len(mark) - 2].rstrip()
    return confined(root_of(studio, kind), f"{subfolder}/{name}" if subfolder else name)


@routes.post("/upload/image")
async def upload(request: web.Request) -> web.Response:
    """Keeps a picture; under another name if its own is taken by another picture and `overwrite` is not asked for."""
    fields, picture = await _form(request)
    studio = studio_of(request)
    return web.json_response(await asyncio.to_thread(_keep, studio, fields, picture, picture))


@routes.post("/upload/mask")
async def upload_mask(request: web.Request) -> web.Response:
    """Keeps the picture that `original_ref` names with the alpha of the one sent."""
    fields, mask = await _form(request)
    studio = studio_of(request)
    return web.json_response(await asyncio.to_thread(_mask, studio, fields, mask))


async def _form(request: web.Request) -> tuple[dict[str, str], bytes]:
    """The fields of a form, with the file's name as `filename`, and the file."""
    if request.content_type != "multipart/form-data":
        raise ValueError("an upload should be multipart/form-data")
    fields: dict[str, str] = {}
    picture: bytes | None = None
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        if part.name == "image":
            picture, fields["filename"] = await _read(part, LARGEST), part.filename or ""
        else:
            fields[part.name] = (await _read(part, FIELD)).decode("utf-8")
    if picture is None:
        raise ValueError("the form has no file `image`")
    return fields, picture


async def _read(part: BodyPartReader, most: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(content), text=f"at most {most // 2**20 or 1} MiB, please")
    return bytes(content)


def _keep(studio: Studio, fields: dict[str, str], picture: bytes, content: bytes) -> dict[str, str]:
    check_picture(picture)
    kind, subfolder = fields.get("type", "input"), fields.get("subfolder", "").strip("/")
    name = PurePosixPath(fields["filename"].replace("\\", "/")).name
    if not name:
        raise ValueError("the picture has no name")
    name.encode()  # raises ValueError for bytes that are not UTF-8: nobody could ask for such a name
    target = confined(root_of(studio, kind), f"{subfolder}/{name}" if subfolder else name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if fields.get("overwrite") in ("true", "1"):
        write_whole(target, content)
    else:
        target = _keep_beside(target, content)
    return {"name": target.name, "subfolder": subfolder, "type": kind}


def _keep_beside(target: Path, content: bytes) -> Path:
    """Writes `target`, or "name (1).png" and so on if another picture has that name already; returns which."""
    number, path = 0, target
    while not _is_kept(path, content):
        number += 1
        path = target.with_name(f"{target.stem} ({number}){target.suffix}")
    return path


def _is_kept(path: Path, content: bytes) -> bool:
    """Whether the file has that content, which it is given if it is not there."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another request was quicker
            write_whole(path, content, replace=False)
    return path.read_bytes() == content


def _mask(studio: Studio, fields: dict[str, str], mask: bytes) -> dict[str, str]:
    try:
        original = json.loads(fields.get("original_ref", ""))
        name, subfolder, kind = (str(original.get(key) or "") for key in ("filename", "subfolder", "type"))
    except (ValueError, AttributeError):
        raise ValueError("`original_ref` should name a picture: {filename, subfolder, type}") from None
    picture = read_picture(picture_path(studio, name, subfolder, kind or "output").read_bytes())
    info = {key: value for key, value in picture.info.items() if isinstance(value, str)}
    result = picture.convert("RGBA")
    result.putalpha(read_picture(mask).convert("RGBA").getchannel("A").resize(result.size))
    return _keep(studio, fields, mask, _png(result, info))


def _png(picture: Image.Image, info: dict[str, str]) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    chunks, file = PngInfo(), io.BytesIO()
    for key, value in info.items():
        chunks.add_text(key, value)
    picture.save(file, "PNG", pnginfo=chunks, compress_level=4)
    return file.getvalue()


def check_picture(content: bytes) -> Image.Image:
    """The picture, of which only the head has been read. Raises ValueError if it is none or too large to open."""
    with _told_damage():
        return Image.open(io.BytesIO(content))


def read_picture(content: bytes) -> Image.Image:
    """The picture. Raises ValueError if it is none, is damaged, or too large to open."""
    picture = check_picture(content)
    with _told_damage():
        picture.load()
    return picture


@contextlib.contextmanager
def _told_damage() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError("this is not a picture that Pillow can read") from None
    except Exception as error:  # what Pillow raises depends on where the damage is
        raise ValueError(f"this is not a picture that can be used here: {error}") from None


def write_whole(path: Path, content: bytes, replace: bool = True) -> None:
    """Write a file whole or not at all. Raises FileExistsError if it is there and is not to be replaced."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        (os.replace if replace else claim)(part, path)
    finally:
        part.unlink(missing_ok=True)


@routes.get("/view")
async def view(request: web.Request) -> web.StreamResponse:
    """A picture as it lies there, or with `preview` or `channel` made smaller or taken apart for showing."""
    query = request.query
    if not query.get("filename"):
        raise ValueError("`filename` is missing")
    where = query.get("subfolder", ""), query.get("type", "output")
    path = picture_path(studio_of(request), query["filename"], *where)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name!r}")
    channel, preview = query.get("channel", "rgba"), query.get("preview")
    if channel not in CHANNELS:
        raise ValueError(f"channel should be one of {', '.join(CHANNELS)}")
    if preview is not None or channel != "rgba":
        content, kind = await asyncio.to_thread(_shown, path, channel, preview)
        return web.Response(body=content, content_type=kind, headers={"Cache-Control": "no-cache"})
    return web.FileResponse(path, headers=_as_file(path))


def _as_file(path: Path) -> dict[str, str]:
    """Pictures are shown; anything else, which might be a page with a script in it, is only ever downloaded."""
    kind = mimetypes.guess_type(path.name)[0]
    shown = kind in SHOWN
    name = re.sub(r'[^ -~]|["\\]', "_", path.name)  # signs that would end the header or mean something in it
    return {
        "Content-Type": kind if shown else "application/octet-stream",
        "Content-Disposition": f'{"inline" if shown else "attachment"}; filename="{name}"',
        "Cache-Control": "no-cache",
    }


def _shown(path: Path, channel: str, preview: str | None) -> tuple[bytes, str]:
    picture = read_picture(path.read_bytes()).convert("RGBA")
    if channel == "rgb":
        picture = picture.convert("RGB")
    elif channel == "a":
        alpha = picture.getchannel("A")
        picture = Image.merge("RGBA", [*[Image.new("L", picture.size)] * 3, alpha])
    form, _, quality = (preview or "").partition(";")
    form = FORMATS.get(form, "PNG" if preview is None else "WEBP")
    if form != "PNG":
        picture.thumbnail((MOST_SIDE, MOST_SIDE))
    if form == "JPEG":
        picture = picture.convert("RGB")
    options = {} if form == "PNG" else {"quality": min(100, int(quality)) if quality.isdecimal() else 90}
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue(), f"image/{form.lower()}"
