"""ComfyUI's own Flux, small and random, in float64: `python oracle_flux.py SPEC.json FOLDER`.

Runs with ComfyUI's Python, with ComfyUI's source importable.

SPEC: {NAME: {"guidance": bool, "prefix": what every tensor's name begins with, "size": [height, width] of the latents,
              "levels": [N sigmas], "tokens": length of the text, "seed": int}}
FOLDER gets NAME.safetensors, the net with ComfyUI's names, and NAME.npz: x [N,16,H,W], tokens [N,T,24], vector [N,20],
guidance [N], and the velocity [N,16,H,W].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from comfy.cli_args import args

args.cpu = True  # ComfyUI looks for a device as it is imported

import comfy.ldm.flux.model  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.ops  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

PARAMETERS = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 20,
    "context_in_dim": 24,
    "hidden_size": 32,
    "mlp_ratio": 3.0,
    "num_heads": 2,
    "depth": 2,
    "depth_single_blocks": 3,
    "axes_dim": [4, 6, 6],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "txt_ids_dims": [],
}


def random_flux(guidance: bool, normal) -> torch.nn.Module:
    operations = comfy.ops.disable_weight_init
    net = comfy.ldm.flux.model.Flux(
        dtype=torch.float64, device="cpu", operations=operations, guidance_embed=guidance, **PARAMETERS
    )
    for name, parameter in net.named_parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        of_a_norm = parameter.ndim == 1 and not name.endswith("bias")
        parameter.copy_(of_a_norm + scale * normal(*parameter.shape))
    return net


@torch.no_grad()
def run(name: str, spec: dict, folder: Path) -> None:
    generator = torch.Generator().manual_seed(spec["seed"])

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    net = random_flux(spec["guidance"], normal)
    tensors = {spec["prefix"] + key: tensor.contiguous() for key, tensor in net.state_dict().items()}
    save_file(tensors, folder / f"{name}.safetensors")

    sigmas = torch.tensor(spec["levels"], dtype=torch.float64)
    x, tokens = normal(len(sigmas), 16, *spec["size"]), normal(len(sigmas), spec["tokens"], 24)
    vector, guidance = normal(len(sigmas), 20), 3 + normal(len(sigmas))
    with (
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        velocity = net(x.clone(), sigmas, tokens, vector, guidance if spec["guidance"] else None)
    np.savez(folder / f"{name}.npz", x=x, tokens=tokens, vector=vector, guidance=guidance, velocity=velocity)


if __name__ == "__main__":
    torch.set_num_threads(1)
    comfy.model_management.in_training = True  # its rotations for inference take no float64
    for name, spec in json.loads(Path(sys.argv[1]).read_text()).items():
        run(name, spec, Path(sys.argv[2]))
