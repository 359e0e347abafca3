"""Flux with the names that ComfyUI gives its tensors, against ComfyUI's own module in float64."""

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

EXACT = 1e-6  # ComfyUI's norms of queries and keys add a smaller number to the mean square than those of the model
CHANGED = 1e-2
SIGMAS = (0.75, 0.3125)


VARIANTS = {
    "dev": {"guidance": True, "prefix": "model.diffusion_model."},
    "schnell": {"guidance": False, "prefix": ""},
}


@pytest.fixture(scope="module")
def folder(comfyui, tmp_path_factory) -> Path:
    """Small random nets of ComfyUI's, and what they get and say: see comfyui/oracle_flux.py."""
    folder = tmp_path_factory.mktemp("flux")
    common = {"size": [6, 10], "levels": SIGMAS, "tokens": 5, "seed": 3}
    spec = {name: common | variant for name, variant in VARIANTS.items()}
    folder.joinpath("spec.json").write_text(json.dumps(spec))
    run_oracle(comfyui, "oracle_flux.py", folder / "spec.json", folder)
    return folder


@pytest.fixture(params=VARIANTS)
def drawn(folder, request) -> tuple[Path, dict[str, torch.Tensor]]:
    """The file of one of them, and its arrays."""
    found = {name: torch.from_numpy(array) for name, array in np.load(folder / f"{request.param}.npz").items()}
    if request.param == "schnell":
        del found["guidance"]
    return folder / f"{request.param}.safetensors", found


def velocity(path: Path, found: dict[str, torch.Tensor], **changes: torch.Tensor) -> torch.Tensor:
    denoiser = load_denoiser(path, dtype=torch.float64)
    cond = {name: found[name] for name in denoiser.net.conditions} | changes
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    x0 = denoiser(found["x"], sigma, cond)
    return (found["x"] - x0) / sigma[:, None, None, None]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def test_draws_as_comfyui_does(drawn):
    path, found = drawn
    assert 0.1 < found["velocity"].std() < 10
    assert apart(velocity(path, found), found["velocity"]) < EXACT


def test_another_condition_draws_otherwise(drawn):
    path, found = drawn
    for name in set(found) & {"tokens", "vector", "guidance"}:
        assert apart(velocity(path, found, **{name: found[name] + 1}), found["velocity"]) > CHANGED
