"""Export Dataset in the real ComfyUI and by `varifold run`: one set, whoever makes it, and nothing in it twice."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from comfyui.examples import run_headless
from comfyui.graphs import failure, load, node, sampler, schedule, words
from PIL import Image

from varifold.dataset import store
from varifold.models.checkpoint import identity

pytestmark = pytest.mark.comfyui


def export(folder: str, **changes: object) -> dict:
    widgets = {"folder": folder, "labels": "hero", "captions": "", "masks_are": "transparency"}
    widgets |= {"formats": "imagefolder, coco", "splits": "train: 80, val: 10, test: 10", "quotas": ""}
    widgets |= {"filters": "blank: 2", "picture_files": "png", "with_workflow": True, "licence": "", "author": ""}
    return node("VarifoldExportDataset", **{**widgets, **changes})


def drawing(folder: str, **changes: object) -> dict:
    """Two small robed heroes with their masks, exported by the node "export"; `changes` are of its inputs."""
    return {
        "load": load(),
        "words": words("hero robe"),
        "schedule": schedule(),
        "sampler": sampler(batch=2),
        "export": export(folder, images=["sampler", 0], masks=["sampler", 1], **changes),
    }


def test_a_set_is_made_shown_and_not_made_twice(comfy_server):
    run = comfy_server.run(drawing("twice"))
    assert run.error is None, run.error
    shown = run.outputs["export"]
    assert "2 added" in shown["text"][0]
    assert comfy_server.view(**shown["images"][0]).startswith(b"\x89PNG")
    with store.open(comfy_server.output / "twice", write=False) as opened:
        found = list(opened.samples())
    assert [each.label for each in found] == ["hero", "hero"] and all(each.split for each in found)
    for each in found:
        mask = np.asarray(Image.open(comfy_server.output / "twice" / each.instances[0].mask))
        assert 0 < (mask > 0).mean() < 1
        carried = Image.open(comfy_server.output / "twice" / each.image).info
        assert json.loads(carried["prompt"])["sampler"]["inputs"]["seed"] == 5
    again = comfy_server.run(drawing("twice", formats="coco"))
    assert "2 there already" in again.outputs["export"]["text"][0]
    assert len(store.open(comfy_server.output / "twice", write=False)) == 2


def test_what_is_reviewed_is_kept_to_by_the_next_run(comfy_server):
    def ask(name: str, **question: object) -> dict:
        return json.loads(comfy_server.post(f"/varifold/{name}", {"folder": "reviewed", **question}))

    prompt = drawing("reviewed")
    assert comfy_server.run(prompt).outputs["export"]["varifold_set"] == ["reviewed"]
    first, second = (sample["id"] for sample in ask("review")["samples"])
    assert ask("reject", id=first)["live"] == 1
    assert ask("relabel", id=second, label="king", was="hero")["outdated"] == ["imagefolder", "coco"]
    assert "is no name" in ask("review", folder="../x")["error"]

    asked = json.dumps({"folder": "reviewed", "id": second}).encode()
    plain = urllib.request.Request(f"{comfy_server.url}/varifold/reject", asked, {"Content-Type": "text/plain"})
    with pytest.raises(urllib.error.HTTPError, match="415"):
        urllib.request.urlopen(plain, timeout=60)

    told = comfy_server.run(prompt).outputs["export"]["text"][0]
    assert "2 there already" in told and "the set: 1 samples: king 1" in told
    pictures = (comfy_server.output / "reviewed" / "views" / "imagefolder").rglob("*.png")
    assert [path.parent.name for path in pictures] == ["king"]
    assert ask("review")["outdated"] == []


def test_varifold_run_continues_what_comfyui_began(comfy_server, tmp_path):
    prompt = drawing("shared")
    assert comfy_server.run(prompt).error is None
    (tmp_path / "output").mkdir()
    (comfy_server.output / "shared").rename(tmp_path / "output" / "shared")
    (tmp_path / "graph.json").write_text(json.dumps(prompt))
    before = (tmp_path / "output" / "shared" / "ledger.jsonl").read_bytes()
    run_headless(tmp_path / "graph.json", tmp_path)
    assert (tmp_path / "output" / "shared" / "ledger.jsonl").read_bytes() == before


def test_a_picture_that_was_loaded_is_a_source_and_a_native_box_an_object(comfy_server):
    noise = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    path = comfy_server.input / "photo.png"
    Image.fromarray(noise).save(path)
    prompt = {
        "photo": node("LoadImage", image="photo.png"),
        "box": node("PrimitiveBoundingBox", x=4, y=5, width=20, height=30),
        "export": export("photo", images=["photo", 0], boxes=["box", 0], masks_are="objects"),
    }
    run = comfy_server.run(prompt)
    assert run.error is None, run.error
    (sample,) = store.open(comfy_server.output / "photo", write=False).samples()
    assert sample.instances[0].box == (4, 5, 20, 30)
    assert sample.provenance["sources"] == [identity(path)]
    assert np.array_equal(np.asarray(Image.open(comfy_server.output / "photo" / sample.image)), noise)


def test_what_does_not_match_is_told(comfy_server):
    assert "2 images and 3 labels" in failure(comfy_server, drawing("wrong", labels="a\nb\nc"), "export")
    assert "is no name for a folder inside" in failure(comfy_server, drawing("../out"), "export")
    assert not (comfy_server.output / "wrong").exists()
