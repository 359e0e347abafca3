"""Every example saves the same pictures in the real ComfyUI as `varifold run` does."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui.examples import EXAMPLES, saved_in_comfyui

pytestmark = pytest.mark.comfyui


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_same_pixels_in_both(example, comfy_server, example_in_comfyui, example_headless):
    theirs, ours = saved_in_comfyui(comfy_server, example_in_comfyui(example)), example_headless(example)
    assert theirs.keys() == ours.keys() and ours
    for name, picture in ours.items():
        assert np.array_equal(np.asarray(picture), np.asarray(theirs[name])), name
