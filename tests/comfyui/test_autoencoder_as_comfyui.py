"""Autoencoders with ComfyUI's own tensors' names, held against ComfyUI's modules in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_oracle

from varifold.models.checkpoint.autoencoder import load_autoencoder

pytestmark = pytest.mark.comfyui

NETS = {"sd": (4, True), "flux": (16, False), "taesd": (4, None), "taef1": (16, None)}


@pytest.fixture(scope="module")
def folder(comfyui, tmp_path_factory) -> Path:
    """Small random autoencoders of ComfyUI's, and what they get and say: see comfyui/oracle_autoencoder.py."""
    folder = tmp_path_factory.mktemp("autoencoders")
    run_oracle(comfyui, "oracle_autoencoder.py", folder)
    return folder


@pytest.mark.parametrize("name", NETS)
def test_it_is_that_of_comfyui(folder, name):
    autoencoder = load_autoencoder(folder / f"{name}.safetensors", dtype=torch.float64)
    found = {key: torch.from_numpy(array) for key, array in np.load(folder / f"{name}.npz").items()}
    channels, quant = NETS[name]
    assert (autoencoder.channels, autoencoder.downscale) == (channels, 8)
    assert getattr(autoencoder.net.config, "quant", None) == quant
    for work, given, theirs in (("encode", "x", "latent"), ("decode", "z", "picture")):
        ours = getattr(autoencoder.net, work)(found[given])
        assert ours.shape == found[theirs].shape
        assert float((ours - found[theirs]).norm() / found[theirs].norm()) < 1e-9
        in_strips = getattr(autoencoder.net, work)(found[given], 7)
        assert float((in_strips - found[theirs]).norm() / found[theirs].norm()) < 1e-9
