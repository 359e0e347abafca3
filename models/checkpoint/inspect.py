"""A checkpoint understood but not loaded: its header read, its family found, every tensor accounted for."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..nets import build
from .errors import CheckpointError, quote
from .families import recognise
from .file import EMBEDDED
from .header import Header, read_header
from .layout import Match

WEIGHT_DTYPES = {"F16", "BF16", "F32", "F64"}


@dataclass(frozen=True)
class Checkpoint:
    """`net` is on the meta device, `keys` maps its names to the file's, `unused` are the file's other tensors."""

    path: Path
    header: Header
    match: Match
    net: nn.Module
    keys: dict[str, str]
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
        with torch.device("meta"):
            net = build(match.spec.architecture, match.spec.config)
        return _account(path, header, match, net)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None


def _account(path: Path, header: Header, match: Match, net: nn.Module) -> Checkpoint:
    wanted = net.state_dict()
    missing = [name for name in wanted if match.keys.get(name) not in header.tensors]
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}. Save or download it again")
    keys = {name: match.keys[name] for name in wanted}
    for name, key in keys.items():
        info = header.tensors[key]
        if info.shape != tuple(wanted[name].shape):
            raise ValueError(f"tensor {key} has shape {list(info.shape)}, its config needs {list(wanted[name].shape)}")
        if info.dtype not in WEIGHT_DTYPES:
            raise ValueError(f"tensor {key} has dtype {info.dtype}, weights need {', '.join(sorted(WEIGHT_DTYPES))}")
    channels, *sides = match.spec.shape
    if channels != net.config.in_channels or any(side % net.multiple for side in sides):
        raise ValueError(f"its net cannot draw pictures of shape {quote(str(match.spec.shape))}")
    unused = tuple(sorted(set(header.tensors) - set(keys.values())))
    return Checkpoint(path, header, match, net, keys, unused)
