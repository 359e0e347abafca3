"""Sweep in the real ComfyUI: queued chunk by chunk it makes the very set that `varifold run` makes."""

from __future__ import annotations

import json

import pytest
from comfyui.examples import run_headless, set_files
from comfyui.graphs import load, node, sampler, schedule

pytestmark = pytest.mark.comfyui

LABELS = ("sword", "shield")
CHUNKS = 4  # two prompts of two labels, of two pictures and of one


def sweep(folder: str, index: int = 0) -> dict:
    """A sweep of the embedded denoiser, in three steps, into output/`folder`."""
    widgets = {"labels": "\n".join(LABELS), "prompts": "{label}\n{label} red", "quota": 3, "chunk": 2, "seed": 5}
    export = {"labels": ["sweep", 3], "captions": ["sweep", 4], "masks_are": "transparency", "quotas": ""}
    export |= {"formats": "imagefolder, coco", "splits": "train: 80, val: 10, test: 10", "filters": "blank: 2"}
    export |= {"picture_files": "png", "with_workflow": True, "licence": "CC0-1.0", "author": ""}
    return {
        "load": load(),
        "sweep": node("VarifoldSweep", **widgets, index=index),
        "words": node("VarifoldPrompt", denoiser=["load", 0], text=["sweep", 0], unknown="nearest"),
        "schedule": schedule(steps=3),
        "sampler": sampler(seed=["sweep", 1], batch=["sweep", 2]),
        "export": node("VarifoldExportDataset", folder=folder, images=["sampler", 0], masks=["sampler", 1], **export),
    }


@pytest.fixture(scope="module")
def told(comfy_server) -> list[tuple[str, str]]:
    """What Sweep and Export Dataset show at each chunk, queued one after another."""
    shown = []
    for index in range(CHUNKS):
        run = comfy_server.run(sweep("swept", index))
        assert run.error is None, run.error
        shown.append(tuple(run.outputs[name]["text"][0] for name in ("sweep", "export")))
    return shown


def test_it_says_at_each_chunk_where_it_is(told):
    assert [chunk for chunk, _ in told] == [
        "chunk 1 of 4: 2 pictures of sword",
        "chunk 2 of 4: 2 pictures of shield",
        "chunk 3 of 4: 1 picture of sword",
        "chunk 4 of 4: 1 picture of shield",
    ]


def test_the_set_grows_and_is_built_with_the_last_chunk(told):
    sizes = [2, 4, 5, 6]
    for (_, report), size in zip(told, sizes, strict=True):
        assert f"the set: {size} samples" in report
        assert ("built: imagefolder, coco" in report) == (size == sizes[-1])


def test_varifold_run_makes_the_same_bytes(comfy_server, told, tmp_path):
    (tmp_path / "graph.json").write_text(json.dumps(sweep("swept")))
    run_headless(tmp_path / "graph.json", tmp_path)
    theirs, ours = (set_files(output / "swept") for output in (comfy_server.output, tmp_path / "output"))
    assert theirs.keys() == ours.keys()
    assert [name for name, content in ours.items() if theirs[name] != content] == []


def test_queued_again_it_adds_nothing_and_past_the_last_chunk_other_pictures(comfy_server, told):
    again = comfy_server.run(sweep("swept", 0)).outputs["export"]["text"][0]
    assert "2 there already" in again and "the set: 6 samples" in again
    more = comfy_server.run(sweep("swept", CHUNKS)).outputs
    assert more["sweep"]["text"] == ["chunk 1 of 4, once more: 2 pictures of sword"]
    assert "2 added" in more["export"]["text"][0] and "the set: 8 samples" in more["export"]["text"][0]
