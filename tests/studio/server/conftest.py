"""A Studio in a folder of its own. Tests that are coroutines run inside the `page` they ask for."""

from __future__ import annotations

import asyncio
import inspect
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from server_nodes import HELD, OPEN, RAN
from server_page import Page

from varifold.nodes import host as node_host
from varifold.studio import folders


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}

    async def play() -> None:
        async with AsyncExitStack() as stack:
            if "page" in arguments:
                await stack.enter_async_context(arguments["page"])
            await pyfuncitem.obj(**arguments)

    asyncio.run(play())
    return True


@pytest.fixture
def frontend(tmp_path) -> Path:
    folder = tmp_path / "frontend"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><html><head><title>wire</title></head><body></body></html>")
    (folder / "assets" / "x.js").write_text("export const x = 1;")
    (folder / "assets" / "x.css").write_text("body {}")
    (folder / "logo.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def make_page(tmp_path, frontend, monkeypatch):
    """make_page(allowed=(...), base="...") -> a Page that is not open yet; all of them share a folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("VARIFOLD_MODELS", str(tmp_path / "models"))
    for shared in (OPEN, RAN, HELD):
        shared.clear()
    yield lambda **options: Page(tmp_path / "home", frontend, **options)
    OPEN.set()
    folders.use(None)
    node_host.use(None)


@pytest.fixture
def page(make_page) -> Page:
    return make_page()
