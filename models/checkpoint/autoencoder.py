"""From a file to an Autoencoder, alone or in a full checkpoint."""

import os

import torch
from torch import nn

from ..denoising.autoencoder import Autoencoder
from ..denoising.latents import LATENTS, Latents
from ..nets import AUTOENCODERS
from . import kl_diffusers_layout, kl_layout, tiny_layout
from .account import account, unused
from .autoencoder_layout import PREFIXES, AutoencoderMatch
from .errors import CheckpointError
from .families import GENERATOR, GENERATOR_LOADER
from .header import Header, read_header
from .layout import Source
from .spec import GENERATOR_KEY
from .unfilled import unfilled
from .weights import DTYPES, fill

LAYOUTS = (kl_layout.match, kl_diffusers_layout.match, tiny_layout.match)


def autoencoder_in(header: Header, prefix: str | None = None) -> AutoencoderMatch | None:
    """The autoencoder that a file holds, its tensors' names with `prefix` (None: with any of PREFIXES), or None.

    Looks at names and shapes only. Raises ValueError if something so named can be none.
    """
    for start in PREFIXES if prefix is None else (prefix,):
        for layout in LAYOUTS:
            if match := layout(header, start):
                return match
    return None


# As for denoisers: tensors made in ComfyUI's inference mode could never be trained or patched.
@torch.inference_mode(False)
def load_autoencoder(
    path: str | os.PathLike,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    prefix: str | None = None,
    latents: str = "auto",
) -> Autoencoder:
    """The autoencoder in a .safetensors file, which may be a full checkpoint: KL autoencoders and TAESD.

    `dtype` is what it computes in: float16, bfloat16, float32 (the default) or float64. `prefix` is as in
    `autoencoder_in`. `latents`, a key of LATENTS, tells what a TAESD was made for where its file cannot; "auto" takes
    that of Stable Diffusion 1 for 4 channels and of Flux for 16. Raises CheckpointError.
    """
    dtype = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype or torch.float32
    if dtype not in DTYPES.values():
        raise CheckpointError(f"an autoencoder computes in {', '.join(DTYPES)}; not in {dtype}")
    header = read_header(path)
    try:
        if GENERATOR_KEY in header.metadata:
            raise ValueError(f"it is {GENERATOR} of latents: {GENERATOR_LOADER}")
        match = autoencoder_in(header, prefix)
        if match is None:
            raise ValueError("it holds no autoencoder that is known here: choose a VAE, a TAESD or a full checkpoint")
        net = unfilled(header, match.architecture, match.config, AUTOENCODERS)
        sources = _account(header, match, net)
        scaled = _latents(match, latents)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
    fill(net, path, header, sources, dtype, torch.device(device))
    return Autoencoder(net, latents=scaled, family=match.family)


def _account(header: Header, match: AutoencoderMatch, net: nn.Module) -> dict[str, Source]:
    sources = account(header, match.source, net)
    strange = [name for name in unused(header, sources.values()) if match.owns(name)]
    if strange:
        raise ValueError(
            f"{len(strange)} tensors belong to no layer of a {match.family}, the first is {strange[0]!a:.80}"
        )
    return sources


def _latents(match: AutoencoderMatch, chosen: str) -> Latents | None:
    if match.latents is None:
        return None
    name = match.latents if chosen == "auto" else chosen
    if name not in LATENTS:
        raise ValueError(f"there are no latents {name!r:.80}: choose {', '.join(LATENTS)}")
    channels, needed = LATENTS[name].channels, match.config["latent_channels"]
    if channels != needed:
        raise ValueError(f"latents {name} have {channels} channels, and the autoencoder's {needed}: choose others")
    return LATENTS[name]
