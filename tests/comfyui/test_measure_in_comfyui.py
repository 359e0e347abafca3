"""Measure Dataset in the real ComfyUI: its report, bars and pictures arrive, those of `varifold run`."""

from __future__ import annotations

import json

import pytest
from comfyui.graphs import load, node, sampler, schedule, words

from varifold.studio.host import StudioHost
from varifold.studio.runner import run_file

pytestmark = pytest.mark.comfyui


def measuring() -> dict:
    """Twenty-four heroes in a set beside as many of another seed."""
    widgets = {"folder": "measured", "labels": "hero", "captions": "", "masks_are": "transparency", "formats": ""}
    widgets |= {"splits": "train: 100", "quotas": "", "filters": "blank: 2", "picture_files": "png"}
    widgets |= {"with_workflow": False, "licence": "", "author": ""}
    measured = {"real": ["real", 0], "dataset": ["export", 0], "neighbours": 5, "seed": 0}
    return {
        "load": load(),
        "words": words("hero robe"),
        "schedule": schedule(steps=2),
        "made": sampler(batch=24, seed=5),
        "real": sampler(batch=24, seed=6),
        "export": node("VarifoldExportDataset", **widgets, images=["made", 0], masks=["made", 1]),
        "measure": node("VarifoldMeasureDataset", **measured),
        "plot": node("PreviewImage", images=["measure", 1]),
        "nearest": node("PreviewImage", images=["measure", 2]),
    }


def test_the_report_arrives_with_bars_and_pictures_as_in_varifold_run(comfy_server, tmp_path):
    run = comfy_server.run(measuring())
    assert run.error is None, run.error
    (report,) = run.outputs["measure"]["text"]
    (bars,) = run.outputs["measure"]["varifold_measures"]
    assert "pictures: real 24, synthetic 24" in report and "hero: 24" in report
    for figure in bars["figures"]:
        told = figure.get("missing") or "{} ± {}, real {} ± {}".format(*figure["made"], *figure["real"])
        assert f"  {figure['name']}: {told}" in report
    assert [figure["name"] for figure in bars["figures"] if "missing" in figure] == ["FD-layout-edges"]
    plot, nearest = (comfy_server.view(**run.outputs[name]["images"][0]) for name in ("plot", "nearest"))
    assert min(map(len, (plot, nearest))) > 5000
    assert [total for name, _, total in run.progress if name == "measure"][-1] == 48

    (tmp_path / "graph.json").write_text(json.dumps(measuring()))
    shown = {}
    host = StudioHost(lambda event, data: shown.update({data["node"]: data["output"]}) if event == "executed" else None)
    run_file(tmp_path / "graph.json", output=tmp_path / "output", host=host)
    assert shown["measure"]["text"] == [report]
    assert json.loads(json.dumps(shown["measure"]["varifold_measures"])) == [bars]
