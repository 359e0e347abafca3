"""The application, put together, and served."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import webbrowser
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from ...nodes import host as node_host
from .. import folders
from ..folders import Folders
from ..registry import node_classes, node_names
from . import about, answers, files, frontend, prompts, user
from .guard import EVERYWHERE, guard
from .queue import Queue
from .socket import Clients
from .state import STUDIO, Studio, studio_of

USER_FOLDERS = ("workflows", "subgraphs")  # the front end lists them at its start
LARGEST_BODY = 64 * 2**20  # bytes; uploads are read piece by piece and have a limit of their own
PATIENCE = 2  # seconds for requests that are under way when the server stops


class PortTaken(RuntimeError):
    """Another program listens there."""


def make_studio(home: Path, frontend_folder: Path) -> Studio:
    """A Studio whose files lie in `home`: input, output, user; and whose nodes find them there."""
    kept = [home / "user" / "data" / name for name in USER_FOLDERS]
    for folder in (home / "input", home / "output", *kept):
        folder.mkdir(parents=True, exist_ok=True)
    places = Folders((home / "input",), home / "output", Path(tempfile.mkdtemp(prefix="varifold-")))
    nodes, clients = node_classes(), Clients()
    queue = Queue(nodes, clients.send)
    folders.use(places)
    node_host.use(queue.host)
    return Studio(places, home / "user", frontend_folder, nodes, node_names(), queue, clients)


def make_app(studio: Studio, allowed: Iterable[str] = (), base: str = "") -> web.Application:
    """The application. `allowed`: names to answer under, beside the local ones; `base`: the path it lies under."""
    app = web.Application(middlewares=[guard(allowed)], client_max_size=LARGEST_BODY)
    inner = web.Application(client_max_size=LARGEST_BODY) if base else app
    inner[STUDIO] = studio
    inner.router.add_get("/ws", _socket)
    api = [about.routes, answers.routes, files.routes, prompts.routes, user.routes]
    # The page's own routes name whole paths, and one of them lies among the API's.
    inner.router.add_get("/api/userdata/user.css", frontend.user_css)
    for table in api:
        inner.router.add_routes([_under("/api", route) for route in table])
    inner.router.add_routes([_under("/internal", route) for route in about.internal])
    inner.router.add_routes(frontend.routes)
    inner.on_startup.append(_start)
    inner.on_shutdown.append(_stop)
    if base:
        app.router.add_get(base, _with_slash)
        app.add_subapp(base, inner)  # last: it answers all under `base`, and cannot be changed any more
    return app


def _under(prefix: str, route: web.RouteDef) -> web.RouteDef:
    return web.RouteDef(route.method, prefix + route.path, route.handler, route.kwargs)


async def _with_slash(request: web.Request) -> web.Response:
    raise web.HTTPFound(request.rel_url.with_path(f"{request.path}/").with_query(request.query))


async def _socket(request: web.Request) -> web.WebSocketResponse:
    studio = studio_of(request)
    return await studio.clients.serve(request, studio.queue.remaining())


async def _start(app: web.Application) -> None:
    app[STUDIO].clients.loop = asyncio.get_running_loop()


async def _stop(app: web.Application) -> None:
    app[STUDIO].clients.close()
    await asyncio.to_thread(app[STUDIO].queue.close)
    await asyncio.to_thread(shutil.rmtree, app[STUDIO].places.temp, ignore_errors=True)


async def serve(
    studio: Studio, address: str, port: int, *, allowed: Iterable[str] = (), base: str = "", browser: bool = True
) -> None:
    """Serve until Ctrl-C. Raises PortTaken."""
    runner = web.AppRunner(make_app(studio, [address, *allowed], base), access_log=None, shutdown_timeout=PATIENCE)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        reason = getattr(error, "strerror", None) or error
        raise PortTaken(f"{address}:{port} cannot be listened on ({reason}): try another --port or --listen") from None
    port = runner.addresses[0][1]
    url = f"http://{shown_address(address)}:{port}{base}/"
    more = " and under every address of this machine" if address in EVERYWHERE else ""
    print(f"Varifold Studio: {url}{more}  (Ctrl-C stops it)", flush=True)
    print(f"Pictures and workflows: {studio.user.parent}", flush=True)
    if browser:
        await asyncio.to_thread(webbrowser.open, url)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        await runner.cleanup()


def shown_address(address: str) -> str:
    """The address as a browser on this machine wants it."""
    if address in EVERYWHERE:
        return "[::1]" if ":" in address else "127.0.0.1"
    return f"[{address}]" if ":" in address else address
