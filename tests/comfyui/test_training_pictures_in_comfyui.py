"""Training Pictures in the real ComfyUI: a folder that changes between runs, and what ComfyUI's own nodes give."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import failure, node
from PIL import Image

from varifold.nodes import NODE_CLASS_MAPPINGS

pytestmark = pytest.mark.comfyui


def pictures(**given) -> dict:
    declared = NODE_CLASS_MAPPINGS["VarifoldPictures"].INPUT_TYPES()["required"]
    usual = {key: kind[0] if isinstance(kind, list) else how["default"] for key, (kind, how) in declared.items()}
    return node("VarifoldPictures", **{**usual, **given})


def put(folder, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(levels).save(folder / f"{number}.png")


def test_a_folder_is_read_again_once_it_has_changed(comfy_server):
    for number in range(4):
        put(comfy_server.input / "to train" / ("cat", "owl")[number % 2], number)
    graph = {"read": pictures(folder="to train", size=16), "show": node("PreviewImage", images=["read", 1])}
    first = comfy_server.run(graph)
    assert first.error is None, first.error
    (report,) = first.outputs["read"]["text"]
    assert "3 pictures to train on, 1 held out" in report and "labels, 2: cat 2, owl 2" in report
    assert "read" in comfy_server.run(graph).cached
    put(comfy_server.input / "to train" / "owl", 9)
    again = comfy_server.run(graph)
    assert "read" not in again.cached and "owl 3" in again.outputs["read"]["text"][0]


def test_a_list_of_pictures_is_one_training_set(comfy_server):
    for number in range(4):
        put(comfy_server.input / "listed" / "cat", number)
    load = node("VarifoldLoadDataset", folder="listed", format="auto", split="all", start=0, count=8)
    read = pictures(size=16, held_out=0.0, images=["load", 0], labels=["load", 3])
    run = comfy_server.run({"load": load, "read": read, "show": node("PreviewImage", images=["read", 1])})
    assert run.error is None, run.error
    (report,) = run.outputs["read"]["text"]
    assert report.startswith("from images\n4 pictures to train on") and "labels, 1: cat 4" in report
    assert len(run.outputs["show"]["images"]) == 1


def test_a_folder_outside_is_refused(comfy_server):
    graph = {"read": pictures(folder="../models"), "show": node("PreviewImage", images=["read", 1])}
    assert "is no name for a folder inside" in failure(comfy_server, graph, "read")
