"""Load Dataset in the real ComfyUI: its lists go through ComfyUI's own nodes and back into Export Dataset."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.graphs import failure, node
from view_sets import INFO, ordinary

from varifold.dataset import store
from varifold.dataset.views import FORMATS
from varifold.dataset.views.objects import read_mask

pytestmark = pytest.mark.comfyui


def test_a_set_is_loaded_shown_and_exported_again(comfy_server):
    samples = ordinary(comfy_server.input / "scenes")
    FORMATS["coco"](comfy_server.input / "scenes", samples, INFO)
    widgets = {"folder": "scenes/views/coco", "format": "auto", "split": "test", "start": 0, "count": 8}
    export = {"folder": "scenes copied", "masks_are": "objects", "formats": "", "splits": "train: 1", "quotas": ""}
    export |= {"filters": "", "picture_files": "png", "with_workflow": False, "licence": "", "author": ""}
    wired = {name: ["load", index] for index, name in enumerate(("images", "masks", "boxes", "labels", "captions"))}
    run = comfy_server.run(
        {
            "load": node("VarifoldLoadDataset", **widgets),
            "show": node("PreviewImage", images=["load", 0]),
            "export": node("VarifoldExportDataset", **export, **wired),
        }
    )
    assert run.error is None, run.error
    wanted = [sample for sample in samples if sample.split == "test"]
    assert len(run.outputs["show"]["images"]) == len(wanted) == 3
    with store.open(comfy_server.output / "scenes copied", write=False) as opened:
        copied = list(opened.samples())
    for old, new in zip(wanted, copied, strict=True):
        assert new.caption == old.caption
        assert [(each.label, each.box) for each in new.instances] == [(each.label, each.box) for each in old.instances]
        for each, other in zip(new.instances, old.instances, strict=True):
            np.testing.assert_array_equal(
                read_mask(comfy_server.output / "scenes copied", each.mask, new),
                read_mask(comfy_server.input / "scenes", other.mask, old),
            )


def test_a_folder_outside_is_refused(comfy_server):
    widgets = {"folder": "../models", "format": "auto", "split": "all", "start": 0, "count": 8}
    prompt = {"load": node("VarifoldLoadDataset", **widgets), "show": node("PreviewImage", images=["load", 0])}
    assert "is no name for a folder inside" in failure(comfy_server, prompt, "load")
