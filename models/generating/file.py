"""From a file to a Generator, and back."""

from __future__ import annotations

import os

import torch
from torch import nn

from ..checkpoint.account import account, unused
from ..checkpoint.errors import CheckpointError
from ..checkpoint.file import identity_later
from ..checkpoint.header import read_header
from ..checkpoint.layout import Source
from ..checkpoint.spec import KEY as DENOISER_KEY
from ..checkpoint.unfilled import unfilled
from ..checkpoint.weights import DTYPES, fill
from ..checkpoint.write import write
from ..nets import GENERATORS
from .generator import Generator
from .spec import KEY, GeneratorSpec, spec_from_json


# As for denoisers: tensors made in ComfyUI's inference mode could never be trained or patched.
@torch.inference_mode(False)
def load_generator(
    path: str | os.PathLike, *, dtype: torch.dtype | str | None = None, device: torch.device | str = "cpu"
) -> Generator:
    """The generator in a .safetensors file that `save_generator` has written.

    `dtype` is what it computes in: float16, bfloat16, float32 (the default) or float64. Raises CheckpointError.
    """
    dtype = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype or torch.float32
    if dtype not in DTYPES.values():
        raise CheckpointError(f"a generator computes in {', '.join(DTYPES)}; not in {dtype}")
    header = read_header(path)
    known_as = identity_later(path)
    try:
        if DENOISER_KEY in header.metadata:
            raise ValueError("it is a denoiser and no generator: load it with Load Denoiser (Varifold)")
        if KEY not in header.metadata:
            raise ValueError(
                f"it is no generator, a VAE, an autoencoder or a GAN that Varifold has trained: its metadata has no "
                f"{KEY}. Denoisers are for Load Denoiser (Varifold)"
            )
        spec = spec_from_json(header.metadata[KEY])
        net = unfilled(header, spec.architecture, spec.config, GENERATORS)
        _check(net, spec)
        sources = account(header, lambda name: Source((name,)), net)
        if strange := unused(header, sources.values()):
            raise ValueError(f"{len(strange)} of its tensors belong to no layer, the first is {strange[0]!a:.80}")
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
    fill(net, path, header, sources, dtype, torch.device(device))
    return Generator(net, spec, identity=known_as)


def save_generator(
    path: str | os.PathLike, net: nn.Module, spec: GeneratorSpec, dtype: torch.dtype | None = torch.float32
) -> None:
    """Writes a net and its GeneratorSpec; a file already there stays whole until the new one is.

    Raises CheckpointError if net and spec do not belong together, or the weights do not fit into `dtype`.
    """
    write(path, net, {KEY: spec.to_json()}, dtype, load_generator)


def _check(net: nn.Module, spec: GeneratorSpec) -> None:
    config = net.config
    draws = (config.in_channels, *config.sides)
    if draws != spec.shape:
        raise ValueError(f"its net draws pictures of shape {list(draws)}, not {list(spec.shape)}")
    if config.vocabulary != max(1, len(spec.vocabulary)):
        raise ValueError(f"its vocabulary has {len(spec.vocabulary)} words and its net {config.vocabulary}")
