"""ComfyUI's own Stable Diffusion U-Net, small and random, in float64: `python oracle_latent_unet.py SPEC.json FOLDER`.

Runs with ComfyUI's Python, with ComfyUI's source importable.

SPEC: {NAME: {"parameters": of UNetModel, "size": [height, width] of the latents, "timesteps": [N], "tokens": length of
              the text, "seed": int}}
FOLDER gets NAME.safetensors, the net with ComfyUI's names after "model.diffusion_model.", and NAME.npz: x [N,4,H,W],
tokens [N,T,D], vector [N,V] or none, image [N,5,H,W] or none, and the output [N,4,H,W].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from comfy.cli_args import args

args.cpu = True  # ComfyUI looks for a device as it is imported

import comfy.ops  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

PREFIX = "model.diffusion_model."
COMMON = {"image_size": 32, "out_channels": 4, "use_spatial_transformer": True, "legacy": False}


def random_unet(parameters: dict, normal) -> UNetModel:
    operations = comfy.ops.disable_weight_init
    net = UNetModel(**COMMON, **parameters, dtype=torch.float64, device="cpu", operations=operations)
    for name, parameter in net.named_parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        of_a_norm = parameter.ndim == 1 and not name.endswith("bias")
        parameter.copy_(of_a_norm + scale * normal(*parameter.shape))
    return net.eval()


@torch.no_grad()
def run(name: str, spec: dict, folder: Path) -> None:
    generator = torch.Generator().manual_seed(spec["seed"])

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parameters, timesteps = spec["parameters"], torch.tensor(spec["timesteps"])
    net, count = random_unet(parameters, normal), len(timesteps)
    save_file(
        {PREFIX + key: tensor.contiguous() for key, tensor in net.state_dict().items()}, folder / f"{name}.safetensors"
    )

    given = {"x": normal(count, 4, *spec["size"]), "tokens": normal(count, spec["tokens"], parameters["context_dim"])}
    if "adm_in_channels" in parameters:
        given["vector"] = normal(count, parameters["adm_in_channels"])
    if parameters["in_channels"] > 4:
        given["image"] = normal(count, parameters["in_channels"] - 4, *spec["size"])
    x = torch.cat([given["x"], *([given["image"]] if "image" in given else [])], dim=1)
    output = net(x, timesteps, context=given["tokens"], y=given.get("vector"))
    np.savez(folder / f"{name}.npz", **given, output=output)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, spec in json.loads(Path(sys.argv[1]).read_text()).items():
        run(name, spec, Path(sys.argv[2]))
