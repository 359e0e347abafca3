"""Routes that tell what there is: nodes, extensions, templates, translations, models, the machine."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import struct
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from aiohttp import web

from ..folders import confined
from ..host import models_folder, safetensors_in
from .definitions import definitions
from .files import root_of
from .socket import FEATURES
from .state import studio_of

routes = web.RouteTableDef()
internal = web.RouteTableDef()
PACKAGE = Path(__file__).parents[2]
WEB, LOCALES = PACKAGE / "web", PACKAGE / "locales"
NAME = "varifold"
LOCALE_FILES = ("nodeDefs", "commands", "settings")
MODEL_FOLDER = "varifold"


@routes.get("/object_info")
async def object_info(request: web.Request) -> web.Response:
    studio = studio_of(request)
    return web.json_response(await asyncio.to_thread(definitions, studio.nodes, studio.names))


@routes.get("/object_info/{id}")
async def object_info_of(request: web.Request) -> web.Response:
    studio = studio_of(request)
    return web.json_response(definitions(studio.nodes, studio.names, [request.match_info["id"]]))


@routes.get("/extensions")
async def extensions(request: web.Request) -> web.Response:
    scripts = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*.js"))
    return web.json_response([f"/extensions/{NAME}/{script}" for script in scripts])


@routes.get("/i18n")
async def translations(request: web.Request) -> web.Response:
    return web.json_response({folder.name: _locale(folder) for folder in sorted(LOCALES.glob("*")) if folder.is_dir()})


def _locale(folder: Path) -> dict[str, Any]:
    """main.json, with the other files each under its own name."""
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return files.get("main", {}) | {name: files[name] for name in LOCALE_FILES if name in files}


@routes.get("/features")
async def features(request: web.Request) -> web.Response:
    return web.json_response(FEATURES)


@routes.get("/embeddings")
@routes.get("/models")
@routes.get("/experiment/models")
@routes.get("/experiment/models/{folder}")
@routes.get("/models/{folder}")
async def models(request: web.Request) -> web.Response:
    """Denoisers are the only kind of model here."""
    folder, path = request.match_info.get("folder"), request.path
    if path.endswith("/embeddings") or folder not in (None, MODEL_FOLDER):
        return web.json_response([])
    detailed = "/experiment/" in path
    if folder is None:
        places = {"name": MODEL_FOLDER, "folders": [str(models_folder())]}
        return web.json_response([places if detailed else MODEL_FOLDER])
    names = list(safetensors_in(models_folder()))
    return web.json_response([{"name": name, "pathIndex": 0} for name in names] if detailed else names)


@routes.get("/view_metadata/{folder}")
async def model_metadata(request: web.Request) -> web.Response:
    """What a .safetensors file says of itself."""
    if request.match_info["folder"] != MODEL_FOLDER:
        raise FileNotFoundError("denoisers are the only kind of model here")
    path = confined(models_folder(), request.query.get("filename", ""))
    if path.suffix != ".safetensors" or not path.is_file():
        raise FileNotFoundError("there is no such denoiser")
    return web.json_response(await asyncio.to_thread(_metadata, path))


def _metadata(path: Path) -> dict[str, Any]:
    from ...models.checkpoint.header import read_header

    try:
        return read_header(path).metadata
    except (struct.error, RuntimeError) as error:
        raise ValueError(str(error)) from None


@routes.get("/workflow_templates")  # GET /templates/index.json lists them, with titles
@routes.get("/node_replacements")
@routes.get("/global_subgraphs")
async def none(request: web.Request) -> web.Response:
    return web.json_response({})


@routes.get("/system_stats")
async def system_stats(request: web.Request) -> web.Response:
    total, available = _memory()
    system = {
        "os": sys.platform,
        "ram_total": total,
        "ram_free": available,
        "comfyui_version": f"Varifold Studio {_version(NAME)}",
        "python_version": platform.python_version(),
        "pytorch_version": _version("torch"),
        "embedded_python": False,
        "argv": ["varifold", "studio"],
    }
    return web.json_response({"system": system, "devices": [await asyncio.to_thread(_device)]})


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _memory() -> tuple[int, int]:
    """Bytes in all and available, 0 where the system does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0, 0


def _device() -> dict[str, Any]:
    # torch takes seconds to import, and the front end waits for this answer: before the first run there is no need.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name, kind = torch.cuda.get_device_name(), "cuda"
    else:
        (total, free), name, kind = _memory(), "cpu", "cpu"
    memory = {f"{prefix}vram_{what}": n for prefix in ("", "torch_") for what, n in (("total", total), ("free", free))}
    return {"name": name, "type": kind, "index": 0, **memory}


@internal.get("/logs")
async def logs(request: web.Request) -> web.Response:
    return web.json_response("")


@internal.get("/logs/raw")
async def raw_logs(request: web.Request) -> web.Response:
    return web.json_response({"entries": [], "size": {"cols": 80, "rows": 24}})


@internal.patch("/logs/subscribe")
async def subscribe_logs(request: web.Request) -> web.Response:
    return web.Response()


@internal.get("/folder_paths")
async def folder_paths(request: web.Request) -> web.Response:
    return web.json_response({MODEL_FOLDER: [str(models_folder())]})


@internal.get("/files/{type}")
async def file_names(request: web.Request) -> web.Response:
    """Names of a folder's files, the newest first."""
    root = root_of(studio_of(request), request.match_info["type"])
    files = [path for path in root.iterdir() if path.is_file()] if root.is_dir() else []
    files.sort(key=lambda path: -path.stat().st_mtime)
    return web.json_response([path.name for path in files if not path.name.startswith(".")])
