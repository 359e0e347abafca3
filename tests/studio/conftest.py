"""The test nodes, an executor for them, and folders of a run's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from varifold.dataset import store
from varifold.nodes import host as node_host
from varifold.studio import folders
from varifold.studio.execute import Executor
from varifold.studio.host import StudioHost

sys.path.insert(0, str(Path(__file__).parent))

from studio_graphs import CALLS, NODES
from sweep_graphs import CHUNKS, Run, contents, graph, saved


@pytest.fixture
def nodes() -> dict[str, type]:
    return dict(NODES)


@pytest.fixture
def calls() -> list[tuple]:
    CALLS.clear()
    return CALLS


@pytest.fixture
def places(tmp_path):
    """Folders of a run, in use; an input picture lies in them."""
    there = folders.Folders((tmp_path / "input",), tmp_path / "output", tmp_path / "output" / "temp")
    there.input[0].mkdir()
    Image.new("RGB", (5, 3), (10, 20, 30)).save(there.input[0] / "pic.png")
    folders.use(there)
    yield there
    folders.use(None)


@pytest.fixture
def events() -> list[tuple[str, dict]]:
    return []


@pytest.fixture
def executor(nodes, events, calls, places):
    host = StudioHost(lambda event, data: events.append((event, data)))
    node_host.use(host)
    yield Executor(nodes, host)
    node_host.use(None)


@pytest.fixture
def pack(monkeypatch, tmp_path, calls):
    """The test nodes as if they were the pack's, and a working directory of the test's own."""
    monkeypatch.setattr("varifold.studio.runner.node_classes", lambda: dict(NODES))
    monkeypatch.setattr("varifold.studio.runner.node_names", lambda: {"SaveImage": "Save Image"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The files of the set of sweep_graphs as one process makes it undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(saved(folder, graph()), folder / "output")
    assert run.worked.count("Sampler") == CHUNKS and run.worked.count("LoadDenoiser") == 1
    with store.open(folder / "output/items", write=False) as made:
        assert made.counts == {"sword": 3, "shield": 3}
        assert sorted(sample.caption for sample in made.samples()) == sorted(
            [*["sword", "shield"] * 2, "sword red", "shield red"]
        )
    return contents(folder / "output/items")
