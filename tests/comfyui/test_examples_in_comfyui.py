"""Every example that `varifold run` can run saves the same pictures there as in the real ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.examples import EXAMPLES, saved_in_comfyui, skip_where_nodes_are_missing

pytestmark = pytest.mark.comfyui


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_same_pixels_in_both(example, comfy_server, example_in_comfyui, example_headless):
    skip_where_nodes_are_missing(example)
    theirs, ours = saved_in_comfyui(comfy_server, example_in_comfyui(example)), example_headless(example)
    assert theirs.keys() == ours.keys() and ours
    for name, picture in ours.items():
        assert np.array_equal(np.asarray(picture), np.asarray(theirs[name])), name
