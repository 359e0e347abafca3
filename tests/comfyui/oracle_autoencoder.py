"""ComfyUI's own autoencoders, small and random, in float64: `python oracle_autoencoder.py FOLDER`.

Runs with ComfyUI's Python, with ComfyUI's source importable.

FOLDER gets for each NAME of "sd", "flux", "taesd" and "taef1" NAME.safetensors, the net with ComfyUI's names, and
NAME.npz: x [N,3,H,W] in -1..1, its latent (the mean) [N,C,h,w], z [N,C,h,w] and its picture [N,3,8h,8w].
The TAESDs hold their own scale and shift, as ComfyUI's VAESave writes them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from comfy.cli_args import args

args.cpu = True  # ComfyUI looks for a device as it is imported

import comfy.ldm.models.autoencoder  # noqa: E402
import comfy.taesd.taesd  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

SHAPE = {"ch": 32, "ch_mult": [1, 2, 3, 3], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
PICTURES = {"in_channels": 3, "out_ch": 3, "resolution": 256, "double_z": True}
MODULES = "comfy.ldm.modules.diffusionmodules.model."


def kl(channels: int, quant: bool) -> torch.nn.Module:
    config = SHAPE | PICTURES | {"z_channels": channels}
    if quant:
        return comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=config, embed_dim=channels)
    return comfy.ldm.models.autoencoder.AutoencodingEngine(
        regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
        encoder_config={"target": MODULES + "Encoder", "params": config},
        decoder_config={"target": MODULES + "Decoder", "params": config},
    )


def tiny(channels: int, scale: float, shift: float) -> torch.nn.Module:
    net = comfy.taesd.taesd.TAESD(latent_channels=channels)
    net.vae_scale.data.fill_(scale)
    net.vae_shift.data.fill_(shift)
    return net


NETS = {
    "sd": lambda: kl(4, True),
    "flux": lambda: kl(16, False),
    "taesd": lambda: tiny(4, 0.18215, 0.0),
    "taef1": lambda: tiny(16, 0.3611, 0.1159),
}


@torch.no_grad()
def run(name: str, folder: Path) -> None:
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    net = NETS[name]().double().eval()
    for key, parameter in net.named_parameters():
        if parameter.ndim > 1:
            parameter.copy_(parameter[0].numel() ** -0.5 * normal(*parameter.shape))
        elif parameter.ndim == 1:
            parameter.copy_(0.3 * normal(*parameter.shape) + ("norm" in key and key.endswith("weight")))
    x = normal(2, 3, 40, 24).clamp(-1, 1)
    channels = {"sd": 4, "taesd": 4}.get(name, 16)
    z = 3 * normal(2, channels, 3, 5)
    if name in ("taesd", "taef1"):
        latent = net.encode(x)
    else:
        quant = net.quant_conv if name == "sd" else torch.nn.Identity()
        latent = quant(net.encoder(x)).chunk(2, dim=1)[0]  # its own encode draws from the Gaussian
    arrays = {"x": x, "latent": latent, "z": z, "picture": net.decode(z)}
    np.savez(folder / f"{name}.npz", **{key: array.numpy() for key, array in arrays.items()})
    save_file({key: tensor.contiguous() for key, tensor in net.state_dict().items()}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in NETS:
        run(each, Path(sys.argv[1]))
