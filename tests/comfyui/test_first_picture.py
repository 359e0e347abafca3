"""The first example in the real ComfyUI: what its user sees, and that `varifold run` draws the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from varifold.studio.flatten import flatten
from varifold.studio.registry import node_classes, node_names

pytestmark = pytest.mark.comfyui

EXAMPLE = Path(__file__).parents[2] / "example_workflows" / "first_picture.json"
WORKFLOW = json.loads(EXAMPLE.read_text())
PROMPT = flatten(WORKFLOW, node_classes(), node_names()).prompt
SAMPLER = next(node_id for node_id, node in PROMPT.items() if node["class_type"] == "VarifoldSampler")
STEPS = next(node["inputs"]["steps"] for node in PROMPT.values() if node["class_type"] == "VarifoldSchedule")


@pytest.fixture(scope="module")
def run(comfy_server):
    """The example as its user runs it."""
    run = comfy_server.run(PROMPT, {"extra_pnginfo": {"workflow": WORKFLOW}, "preview_method": "auto"})
    assert run.error is None, run.error
    return run


@pytest.fixture(scope="module")
def picture(run) -> Image.Image:
    (picture,) = run.images
    return picture


def varifold_run(graph: Path, folder: Path) -> Image.Image:
    """The one picture of `varifold run graph` in a working directory of its own."""
    command = [sys.executable, "-m", "varifold", "run", str(graph)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("output/**/*.png")
    return Image.open(path)


@pytest.fixture(scope="module")
def headless(tmp_path_factory) -> Image.Image:
    return varifold_run(EXAMPLE, tmp_path_factory.mktemp("headless"))


def chunk(picture: Image.Image, name: str) -> dict:
    return json.loads(picture.text[name])


def test_progress_counts_the_evaluations(run):
    ours = [(done, total) for node_id, done, total in run.progress if node_id == SAMPLER]
    assert ours == [(done, STEPS) for done in range(1, STEPS + 1)]


def test_previews_show_the_picture_coming(run):
    previews = [event for event in run.events if event.kind == "preview"]
    assert len(previews) == STEPS
    assert {event.data["node_id"] for event in previews} == {SAMPLER}
    pictures = [np.asarray(event.picture.convert("RGB"), dtype=float) for event in previews]
    assert len({picture.shape for picture in pictures}) == 1
    assert 256 <= max(pictures[0].shape) <= 512
    to_last = [np.abs(picture - pictures[-1]).mean() for picture in pictures]
    assert to_last[0] > 1.3 * to_last[STEPS // 2] > 0
    assert to_last[-2] < 0.1 * to_last[0]


def test_same_pixels_as_varifold_run(picture, headless):
    assert picture.size == headless.size
    assert np.array_equal(np.asarray(picture), np.asarray(headless))


def test_the_sheet_shows_sprites(picture):
    colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100
    assert colours.std(0).min() > 5


def test_the_png_carries_its_graph(picture, headless):
    assert chunk(picture, "workflow") == chunk(headless, "workflow") == WORKFLOW
    prompt = chunk(picture, "prompt")
    for node in prompt.values():
        node.pop("is_changed", None)  # ComfyUI leaves what IS_CHANGED said in it
    assert prompt == chunk(headless, "prompt") == PROMPT


def test_the_png_of_comfyui_runs_headless(run, picture, tmp_path):
    graph = tmp_path / "dropped.png"
    graph.write_bytes(run.files[0])
    assert np.array_equal(np.asarray(varifold_run(graph, tmp_path)), np.asarray(picture))
