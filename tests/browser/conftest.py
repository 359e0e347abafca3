"""Chromium, the hosts that it visits, and an editor on one of them for each test."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from browser.editor import Editor
from browser.hosts import ARGUMENTS, CHROMIUM, StudioProcess
from browser.install import LOWEST, NEWEST, default_folder
from browser.review import COUNT, NODE

EXAMPLES = Path(__file__).parents[2] / "example_workflows"
SIZE = {"width": 1600, "height": 900}


@pytest.fixture(scope="package")
def chromium(require: Callable) -> Iterator:
    """One Chromium for all tests here, and none afterwards: Playwright keeps an event loop running in the thread."""
    require("browser", CHROMIUM, "install Debian's chromium")
    require("browser", importlib.util.find_spec("playwright"), "pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def studio(require: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """studio(version, **settings) -> the address of a Studio with that front end and those settings, begun once."""
    with ExitStack() as stack:

        @cache
        def start(version: str, **settings: object) -> str:
            frontend = default_folder() / version
            require("browser", frontend.is_dir(), "run `python tests/browser/install.py`")
            home = tmp_path_factory.mktemp("studio")
            return stack.enter_context(StudioProcess(home, frontend, settings)).url

        yield start


@pytest.fixture(scope="package", params=[LOWEST, NEWEST, pytest.param("comfyui", marks=pytest.mark.comfyui)])
def host(request: pytest.FixtureRequest) -> str:
    """Each host in turn: the Studio with two front ends, and ComfyUI with its own."""
    return request.param


@pytest.fixture(scope="package")
def url(request: pytest.FixtureRequest, host: str, studio: Callable) -> str:
    """The address of the host, with the first example open."""
    if host != "comfyui":
        return studio(host)
    server = request.getfixturevalue("comfy_server")
    return f"{server.url}/?template=first_picture&source={next(iter(server.packs))}"


@pytest.fixture
def shot(request: pytest.FixtureRequest, tmp_path: Path) -> Callable:
    """shot(page, name) keeps a picture of the page in $VARIFOLD_SCREENSHOTS, else in pytest's folder of the test."""
    folder = Path(os.environ.get("VARIFOLD_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    test = re.sub(r"\W+", "-", request.node.name).strip("-")

    def keep(page: object, name: str = "") -> None:
        page.screenshot(path=folder / f"{test}{'-' if name else ''}{name}.png")

    return keep


@pytest.fixture(scope="package")
def open_editor(chromium: object) -> Iterator[Callable]:
    """open_editor(url, **options of a browser context) -> an editor on that page, at rest."""
    with ExitStack() as stack:

        def start(url: str, **options: object) -> Editor:
            context = stack.enter_context(chromium.new_context(viewport=SIZE, **options))
            context.set_default_timeout(20_000)
            editor = Editor(context.new_page(), url)
            editor.open()
            return editor

        yield start


@pytest.fixture
def make_editor(open_editor: Callable, shot: Callable) -> Iterator[Callable]:
    """As open_editor, for one test; nothing may have gone wrong on its pages."""
    made = []

    def make(url: str, **options: object) -> Editor:
        made.append(open_editor(url, **options))
        return made[-1]

    yield make
    for number, editor in enumerate(made):
        shot(editor.page, str(number) if number else "")
        editor.page.context.close()
    complaints = [complaint for editor in made for complaint in editor.complaints]
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def editor(make_editor: Callable, url: str) -> Editor:
    """An editor on each host in turn."""
    return make_editor(url)


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first example, of one picture in a few steps."""
    graph = json.loads((EXAMPLES / "first_picture.json").read_text())
    widgets = {node["type"]: node["widgets_values"] for node in graph["nodes"]}
    widgets["VarifoldSchedule"][1], widgets["VarifoldSampler"][4] = 3, 1
    return write(graph, tmp_path_factory.mktemp("graphs") / "small.json")


@pytest.fixture
def export_graph(tmp_path: Path) -> Path:
    """The first example, with COUNT rough pictures exported to a set of this test's own."""
    graph = json.loads((EXAMPLES / "first_picture.json").read_text())
    nodes = {node["type"]: node for node in graph["nodes"]}
    nodes["VarifoldSchedule"]["widgets_values"][1], nodes["VarifoldSampler"]["widgets_values"][4] = 2, COUNT
    splits, formats = "train: 80, val: 10, test: 10", "imagefolder"
    widgets = [uuid.uuid4().hex, "hero\nknight\n" * (COUNT // 2), "", "transparency", formats, splits]
    export = nodes["VarifoldSheet"]
    export |= {"type": NODE, "size": [420, 400], "outputs": [], "properties": {}}
    export["widgets_values"] = [*widgets, "", "", "png", True, "", ""]
    graph["nodes"].remove(nodes["SaveImage"])
    graph["links"] = [link for link in graph["links"] if link[3] != nodes["SaveImage"]["id"]]
    return write(graph, tmp_path / "export.json")


@pytest.fixture(scope="session")
def broken_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first example with a node that no host has."""
    graph = json.loads((EXAMPLES / "first_picture.json").read_text())
    graph["nodes"][0]["type"] = "VarifoldNoSuchNode"
    return write(graph, tmp_path_factory.mktemp("graphs") / "broken.json")


def write(graph: dict, path: Path) -> Path:
    path.write_text(json.dumps(graph))
    return path
