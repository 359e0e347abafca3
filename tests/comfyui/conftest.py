"""Runs of the examples that several tests look at, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from comfyui.examples import run_headless, run_in_comfyui, saved
from comfyui.server import ComfyServer, Run
from PIL import Image


@pytest.fixture(scope="session")
def example_in_comfyui(comfy_server: ComfyServer) -> Callable[[Path], Run]:
    """example_in_comfyui(path) -> its run in the real ComfyUI."""
    return cache(lambda path: run_in_comfyui(comfy_server, path))


@pytest.fixture(scope="session")
def headless_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """headless_folder(path) -> the folder in which `varifold run` ran an example."""

    @cache
    def run(path: Path) -> Path:
        folder = tmp_path_factory.mktemp("headless")
        run_headless(path, folder)
        return folder

    return run


@pytest.fixture(scope="session")
def example_headless(headless_folder: Callable[[Path], Path]) -> Callable[[Path], dict[str, Image.Image]]:
    """example_headless(path) -> the pictures that `varifold run` saves."""
    return lambda path: saved(headless_folder(path))
