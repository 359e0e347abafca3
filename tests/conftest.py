"""What all tests share: how the repository is collected, which parts are there, and a real ComfyUI."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same sums in the same order here and in the programs tested

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
sys.path.insert(0, str(TESTS))

from comfyui.install import Install, default_folder  # noqa: E402


class RootIsNoTestPackage:
    """Keeps pytest from importing the pack a second time, under the name of the repository's folder."""

    @staticmethod
    def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == REPOSITORY else None


def pytest_configure(config: pytest.Config) -> None:
    # A conftest's own hook is not asked about the folders above it; a registered plugin's is.
    config.pluginmanager.register(RootIsNoTestPackage())


def pytest_collectstart(collector: pytest.Collector) -> None:
    begin_at_the_same_seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    begin_at_the_same_seed()


def begin_at_the_same_seed() -> None:
    """What a test, or its module, draws without a seed of its own is the same whichever tests ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def require() -> Callable[[str, object, str], None]:
    """`require(part, present, reason)` skips the test if a part that it needs is missing.

    It fails instead where $VARIFOLD_REQUIRE is "all" or names the part: "comfyui,browser".
    """

    def check(part: str, present: object, reason: str) -> None:
        if present:
            return
        required = os.environ.get("VARIFOLD_REQUIRE", "").split(",")
        (pytest.fail if {"all", part} & set(required) else pytest.skip)(f"{part} is missing: {reason}")

    return check


@pytest.fixture(scope="session")
def comfyui(require: Callable) -> Install:
    """The real ComfyUI: its `python`, its `source` folder, and an `environment()` to run it in."""
    install = Install(default_folder())
    require("comfyui", install.complete, "run `python tests/comfyui/install.py`")
    return install


@pytest.fixture(scope="session")
def comfy_server(comfyui: Install, require: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A running ComfyUI (comfyui/server.py) with this pack, under a foreign folder name, and comfyui/probe_pack."""
    require("comfyui", importlib.util.find_spec("aiohttp"), "its client needs `pip install aiohttp`")
    from comfyui.server import ComfyServer

    base = tmp_path_factory.mktemp("comfyui")
    packs = {"99-some.pack_copy": REPOSITORY, "probe_pack": TESTS / "comfyui" / "probe_pack"}
    with ComfyServer(comfyui, base, packs) as server:
        yield server


@pytest.fixture(scope="session")
def comfy_samplers(comfyui: Install, tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict], dict]:
    """`comfy_samplers(spec)` runs ComfyUI's own: comfyui/oracle_samplers.py tells of spec and arrays."""

    def run(spec: dict) -> dict[str, np.ndarray]:
        folder = tmp_path_factory.mktemp("samplers")
        folder.joinpath("spec.json").write_text(json.dumps(spec))
        run_oracle(comfyui, "oracle_samplers.py", folder / "spec.json", folder / "result.npz")
        return dict(np.load(folder / "result.npz"))

    return run


@pytest.fixture(scope="session")
def comfy_operations(comfyui: Install) -> dict:
    """What a step of ComfyUI's own sampling costs, in operations: see comfyui/oracle_operations.py."""
    return json.loads(run_oracle(comfyui, "oracle_operations.py"))


def run_oracle(comfyui: Install, script: str, *arguments: Path) -> str:
    """What a script prints that runs inside ComfyUI; its errors are shown if it fails."""
    command = [comfyui.python, TESTS / "comfyui" / script, *arguments]
    done = subprocess.run(command, env=comfyui.environment(comfyui.source), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
