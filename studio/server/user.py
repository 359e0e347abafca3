"""Routes of what the user keeps: settings and workflows, each file written whole."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from ..folders import confined
from .files import write_whole
from .state import Studio, json_object, json_of, studio_of

routes = web.RouteTableDef()
DEFAULTS = {
    "Comfy.Notification.ShowVersionUpdates": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # titles and values stay readable when a whole graph is in view
}
FIXED = {
    "Comfy.TutorialCompleted": False,  # else it begins with a graph of ComfyUI's, whose models are not here
}
MOST_SETTINGS = 2**20  # bytes


def _settings_file(studio: Studio) -> Path:
    return studio.user / "settings.json"


def _data(studio: Studio) -> Path:
    return studio.user / "data"


def _file(request: web.Request, name: str = "file") -> Path:
    """Where the file of that name lies, or will. Raises ValueError if the name leads out, or only to the folder."""
    root = _data(studio_of(request))
    path = confined(root, request.match_info[name])
    if path == root:
        raise ValueError(f"{request.match_info[name]!r} is not the name of a file")
    return path


def read_settings(path: Path) -> dict[str, Any]:
    """What was set, over the defaults; a damaged file is put aside as .damaged, not overwritten."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        stored = {}
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        os.replace(path, path.with_suffix(".damaged"))
        stored = {}
    return {**DEFAULTS, **stored, **FIXED}


def _store(studio: Studio, changes: dict[str, Any]) -> None:
    path = _settings_file(studio)
    content = json.dumps({**read_settings(path), **changes}, indent=1).encode()
    if len(content) > MOST_SETTINGS:
        raise ValueError("the settings would become too large")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


@routes.get("/users")
async def users(request: web.Request) -> web.Response:
    return web.json_response({"storage": "server", "migrated": True})


@routes.get("/settings")
async def settings(request: web.Request) -> web.Response:
    return web.json_response(read_settings(_settings_file(studio_of(request))))


@routes.post("/settings")
async def set_all(request: web.Request) -> web.Response:
    _store(studio_of(request), await json_object(request))
    return web.Response()


@routes.get("/settings/{id}")
async def setting(request: web.Request) -> web.Response:
    return web.json_response(read_settings(_settings_file(studio_of(request))).get(request.match_info["id"]))


@routes.post("/settings/{id}")
async def set_one(request: web.Request) -> web.Response:
    _store(studio_of(request), {request.match_info["id"]: await json_of(request)})
    return web.Response()


def _info(path: Path, folder: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "path": path.relative_to(folder).as_posix(),
        "size": status.st_size,
        "modified": int(status.st_mtime * 1000),
        "created": int(status.st_ctime * 1000),
    }


@routes.get("/userdata")
async def listing(request: web.Request) -> web.Response:
    query, root = request.query, _data(studio_of(request))
    folder = confined(root, query.get("dir", ""))
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {query['dir']!r}")
    found = sorted(folder.rglob("*") if query.get("recurse") == "true" else folder.glob("*"))
    inside = root.resolve()
    files = [p for p in found if p.is_file() and p.suffix != ".part" and p.resolve().is_relative_to(inside)]
    if query.get("full_info") == "true":
        return web.json_response([_info(path, folder) for path in files])
    names = [path.relative_to(folder).as_posix() for path in files]
    return web.json_response([[name, *name.split("/")] for name in names] if query.get("split") == "true" else names)


@routes.get("/userdata/{file:[^/]+}")
async def read(request: web.Request) -> web.StreamResponse:
    path = _file(request)
    if not path.is_file():
        raise web.HTTPNotFound(text=f"there is no file {request.match_info['file']!r}")
    plain = mimetypes.guess_type(path.name)[0] == "application/json"
    kind = "application/json" if plain else "application/octet-stream"
    return web.FileResponse(path, headers={"Content-Type": kind, "Content-Disposition": "attachment"})


def _answer(request: web.Request, path: Path) -> web.Response:
    info = _info(path, _data(studio_of(request)))
    return web.json_response(info if request.query.get("full_info") == "true" else info["path"])


@routes.post("/userdata/{file:[^/]+}")
async def write(request: web.Request) -> web.Response:
    path, content = _file(request), await request.read()
    taken = web.HTTPConflict(text=f"{request.match_info['file']!r} is there already")
    if path.is_dir():
        raise taken
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        await asyncio.to_thread(write_whole, path, content, request.query.get("overwrite") != "false")
    except FileExistsError:
        raise taken from None
    return _answer(request, path)


@routes.delete("/userdata/{file:[^/]+}")
async def delete(request: web.Request) -> web.Response:
    path = _file(request)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {request.match_info['file']!r}")
    path.unlink()
    return web.Response(status=204)


@routes.post("/userdata/{file:[^/]+}/move/{to:[^/]+}")
async def move(request: web.Request) -> web.Response:
    source, target = _file(request), _file(request, "to")
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {request.match_info['file']!r}")
    if target.is_dir() or (target.exists() and request.query.get("overwrite") != "true"):
        raise web.HTTPConflict(text=f"{request.match_info['to']!r} is there already")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    return _answer(request, target)
