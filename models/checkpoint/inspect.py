"""A checkpoint understood but not loaded: its header read, its family found, every tensor accounted for."""

import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..denoising.latents import LATENTS
from .account import account, unused
from .autoencoder import autoencoder_in
from .autoencoder_layout import AutoencoderMatch
from .errors import CheckpointError, quote
from .families import recognise
from .file import EMBEDDED
from .header import Header, read_header
from .layout import Match, Source
from .unfilled import unfilled


@dataclass(frozen=True)
class Checkpoint:
    """`net` is on the meta device, `sources` say where its tensors are; `autoencoder` is that of a full checkpoint.

    `unused` are the file's tensors that neither of them needs.
    """

    path: Path
    header: Header
    match: Match
    net: nn.Module
    sources: dict[str, Source]
    autoencoder: AutoencoderMatch | None
    unused: tuple[str, ...]


def inspect(path: str | os.PathLike | None = None) -> Checkpoint:
    """Reads a file's header (None: the embedded denoiser's) and makes sure that all weights are there.

    Raises CheckpointError. Allocates nothing of the size of the weights.
    """
    path = EMBEDDED if path is None else path
    header = read_header(path)
    path = Path(path)
    try:
        match = recognise(header)
        net = unfilled(header, match.spec.architecture, match.spec.config)
        sources = account(header, match.source, net)
        channels, *sides = match.spec.shape
        if channels != net.config.in_channels or any(side % net.multiple for side in sides):
            raise ValueError(f"its net cannot draw pictures of shape {quote(str(match.spec.shape))}")
        own = autoencoder_in(header) if match.spec.channels in LATENTS else None
        unread = unused(header, [*sources.values(), Source(tuple(match.spare))])
        unread = tuple(name for name in unread if own is None or not own.owns(name))
        return Checkpoint(path, header, match, net, sources, own, unread)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
