"""What a step costs beside the net, held against ComfyUI's KSampler with a net of the same kind."""

from __future__ import annotations

import pytest
import torch
from counting import per_step

from varifold.models.denoising.precondition import eps

pytestmark = pytest.mark.comfyui
torch.set_num_threads(1)


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "uni_pc", "dpmpp_2m_sde"])
def test_a_guided_step_takes_a_fifth_of_the_operations(name, comfy_operations):
    ours, theirs = per_step(name, precondition=eps), comfy_operations[name]
    assert 5 * ours["operations"] <= theirs["operations"], (ours["names"], theirs["names"])
    assert ours["waits"] == 0
