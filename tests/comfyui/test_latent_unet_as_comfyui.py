"""Stable Diffusion's U-Nets with the names that ComfyUI gives them, against ComfyUI's own module in float64."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_oracle

from varifold.models import load_denoiser

pytestmark = pytest.mark.comfyui
torch.set_num_threads(1)

EXACT, CHANGED = 1e-9, 1e-2
TIMESTEPS = (999.0, 17.0)

SD1 = {
    "in_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": 768,
    "num_heads": 8,
}
SD2 = {
    **{name: value for name, value in SD1.items() if name != "num_heads"},
    "model_channels": 64,
    "context_dim": 1024,
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
}
SDXL = {
    **SD2,
    "model_channels": 32,
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_middle": 2,
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "context_dim": 2048,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
}
VARIANTS = {"sd1": SD1, "sd1 inpainting": {**SD1, "in_channels": 9}, "sd2": SD2, "sdxl": SDXL}


@pytest.fixture(scope="module")
def folder(comfyui, tmp_path_factory) -> Path:
    """Small random nets of ComfyUI's, and what they get and say: see comfyui/oracle_latent_unet.py."""
    folder = tmp_path_factory.mktemp("latent_unet")
    common = {"size": [8, 12], "timesteps": TIMESTEPS, "tokens": 5, "seed": 3}
    spec = {name: common | {"parameters": parameters} for name, parameters in VARIANTS.items()}
    folder.joinpath("spec.json").write_text(json.dumps(spec))
    run_oracle(comfyui, "oracle_latent_unet.py", folder / "spec.json", folder)
    return folder


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("kind", VARIANTS)
def test_draws_as_comfyui_does(folder, kind):
    net = load_denoiser(folder / f"{kind}.safetensors", dtype=torch.float64).net
    given = {name: torch.from_numpy(array) for name, array in np.load(folder / f"{kind}.npz").items()}
    x, output = given.pop("x"), given.pop("output")
    assert tuple(given) == net.conditions

    def said(**changes: torch.Tensor) -> torch.Tensor:
        cond = given | changes
        return net(x, net.embed(torch.tensor(TIMESTEPS), cond), net.context(cond))

    assert 0.1 < output.std() < 10
    assert apart(said(), output) < EXACT
    for name, tensor in given.items():
        assert apart(said(**{name: torch.zeros_like(tensor)}), output) > CHANGED
