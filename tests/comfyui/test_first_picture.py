"""The first example in the real ComfyUI: what its user sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comfyui.examples import prompt_of, run_headless, saved
from PIL import Image

pytestmark = pytest.mark.comfyui

EXAMPLE = Path(__file__).parents[2] / "example_workflows" / "first_picture.json"
WORKFLOW = json.loads(EXAMPLE.read_text())
PROMPT = prompt_of(WORKFLOW)
SAMPLER = next(node_id for node_id, node in PROMPT.items() if node["class_type"] == "VarifoldSampler")
STEPS = next(node["inputs"]["steps"] for node in PROMPT.values() if node["class_type"] == "VarifoldSchedule")


@pytest.fixture(scope="module")
def run(example_in_comfyui):
    """The example as its user runs it."""
    return example_in_comfyui(EXAMPLE)


@pytest.fixture(scope="module")
def picture(run) -> Image.Image:
    (picture,) = run.images
    return picture


@pytest.fixture(scope="module")
def headless(example_headless) -> Image.Image:
    (picture,) = example_headless(EXAMPLE).values()
    return picture


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
    run_headless(graph, tmp_path)
    (again,) = saved(tmp_path).values()
    assert np.array_equal(np.asarray(again), np.asarray(picture))
