"""Routes of the page itself: the front end's files, and the browser side of this pack."""

from __future__ import annotations

import importlib.util
import json
import mimetypes
import re
from pathlib import Path

from aiohttp import web

from ..flatten import flatten
from ..folders import confined
from ..registry import node_classes
from .about import NAME, PACKAGE, WEB
from .state import studio_of

routes = web.RouteTableDef()
FRONTEND = "comfyui_frontend_package"
EXAMPLES = PACKAGE / "example_workflows"
START = Path(__file__).with_name("start.js")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
GROUP = {"moduleName": NAME, "title": "Getting Started", "type": "image", "isEssential": True}
THUMBNAIL = {"mediaType": "image", "mediaSubtype": "jpg", "description": ""}
YEAR = 365 * 24 * 3600


class NoFrontend(RuntimeError):
    """ComfyUI's front end is not installed."""


def find_frontend(folder: Path | None = None) -> Path:
    """The folder of the front end's page: that one, or the installed one. Raises NoFrontend, saying what to do."""
    if folder is not None:
        advice = f"{folder} has no index.html: --frontend is the folder `static` of a comfyui-frontend-package"
    else:
        advice = "the Studio shows ComfyUI's front end: pip install 'varifold[studio]'"
        spec = importlib.util.find_spec(FRONTEND)
        folder = Path(spec.origin).parent / "static" if spec and spec.origin else None
    if folder is None or not (folder / "index.html").is_file():
        raise NoFrontend(advice)
    return folder


@routes.get("/")
async def page(request: web.Request) -> web.Response:
    """The front end's page, which opens the first example where the browser remembers no workflow."""
    html = (studio_of(request).frontend / "index.html").read_text(encoding="utf-8")
    html = html.replace("<head>", '<head><script src="varifold-start.js"></script>', 1)
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": "frame-ancestors 'self'"}
    return web.Response(text=html, content_type="text/html", headers=headers)


@routes.get("/varifold-start.js")
async def start(request: web.Request) -> web.StreamResponse:
    return _file(START)


@routes.get("/user.css")
@routes.get("/api/userdata/user.css")
async def user_css(request: web.Request) -> web.StreamResponse:
    """The user's own style sheet, which most users do not have."""
    path = studio_of(request).user / "data" / "user.css"
    return _file(path) if path.is_file() else web.Response(content_type="text/css")


@routes.get("/templates/{file}")
async def templates(request: web.Request) -> web.Response:
    """The list of templates, in any language: the examples that run here, in the group that new users are shown."""
    file = request.match_info["file"]
    if file in ("index_logo.json", "fuse_options.json"):
        return web.json_response(None)
    if not re.fullmatch(r"index(\.[\w-]+)?\.json", file):
        raise FileNotFoundError("ComfyUI's own templates need ComfyUI's own models: there are none here")
    names = sorted(path.stem for path in EXAMPLES.glob("*.json") if _runs_here(path))
    entries = [{"name": name, "title": name.replace("_", " ").capitalize(), **THUMBNAIL} for name in names]
    return web.json_response([{**GROUP, "templates": entries}])


@routes.get("/extensions/" + NAME + "/{path:.+}")
async def extension(request: web.Request) -> web.StreamResponse:
    return _file(confined(WEB, request.match_info["path"]))


@routes.get("/api/workflow_templates/" + NAME + "/{file}")
async def template(request: web.Request) -> web.StreamResponse:
    return _file(confined(EXAMPLES, request.match_info["file"]))


@routes.get("/{path:.+}")
async def asset(request: web.Request) -> web.StreamResponse:
    """Everything else of the front end; what lies in assets/ has its content's hash in its name and never changes."""
    path = request.match_info["path"]
    if path.startswith(("api/", "internal/")):
        raise FileNotFoundError(f"the Studio does not know /{path}")
    return _file(confined(studio_of(request).frontend, path), YEAR if path.startswith("assets/") else 0)


def _runs_here(example: Path) -> bool:
    """Whether all its nodes are here: some examples load models by nodes of ComfyUI's."""
    nodes = node_classes()
    prompt = flatten(json.loads(example.read_text(encoding="utf-8")), nodes).prompt
    return all(node["class_type"] in nodes for node in prompt.values())


def _file(path: Path, age: int = 0) -> web.StreamResponse:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path.name!r}")
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    caching = f"public, max-age={age}, immutable" if age else "no-cache"
    return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": caching})
