"""Every example that `varifold run` can run saves the same pictures there as in the real ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.examples import EXAMPLES, run_in_comfyui, saved_in_comfyui, set_files, skip_where_nodes_are_missing

pytestmark = pytest.mark.comfyui


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_same_pixels_in_both(example, comfy_server, example_in_comfyui, example_headless):
    skip_where_nodes_are_missing(example)
    theirs, ours = saved_in_comfyui(comfy_server, example_in_comfyui(example)), example_headless(example)
    assert theirs.keys() == ours.keys() and ours
    for name, picture in ours.items():
        assert np.array_equal(np.asarray(picture), np.asarray(theirs[name])), name


def test_the_same_data_set_in_both_and_nothing_more_when_it_is_queued_again(
    comfy_server, example_in_comfyui, headless_folder
):
    (example,) = (path for path in EXAMPLES if path.stem == "labelled_data")
    assert "60 added" in report(example_in_comfyui(example))
    outputs = (comfy_server.output, headless_folder(example) / "output")
    theirs, ours = (set_files(output / "varifold" / "labelled") for output in outputs)
    assert theirs.keys() == ours.keys() and len(ours) > 200
    assert [name for name, content in ours.items() if theirs[name] != content] == []
    assert "60 there already" in report(run_in_comfyui(comfy_server, example))
    assert set_files(comfy_server.output / "varifold" / "labelled") == ours


def report(run):
    """What Export Dataset says."""
    texts = ["\n".join(shown.get("text", ())) for shown in run.outputs.values()]
    (told,) = (text for text in texts if text.startswith("this run: "))
    return told
