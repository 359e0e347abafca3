"""Nets without weights: built on the meta device, and never bigger than a file could fill."""

import math

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..nets import ARCHITECTURES, build
from .header import Header

MARGIN = 4  # a file that lacks a few tensors is told which, one that lacks most of them is told so
FACTORIES = {torch.empty, torch.ones, torch.zeros}


class _Budget(TorchFunctionMode):
    """Raises ValueError once a net has far more tensors or elements than the file: a config can claim any size."""

    def __init__(self, header: Header):
        super().__init__()
        shapes = [info.shape for info in header.tensors.values()]
        self.said = f"the file has {len(shapes):,} tensors of {sum(map(math.prod, shapes)):,} numbers"
        self.tensors = MARGIN * len(shapes)
        self.elements = MARGIN * sum(map(math.prod, shapes))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func in FACTORIES:
            self.tensors -= 1
            self.elements -= made.numel()
            if self.tensors < 0 or self.elements < 0:
                raise ValueError(
                    f"most tensors of the net that it describes are missing: {self.said}. Save or download it again"
                )
        return made


def unfilled(header: Header, architecture: str, config: dict, known: dict = ARCHITECTURES) -> nn.Module:
    """The net of that name on the meta device. Raises ValueError for an impossible config, and for one too big."""
    with torch.device("meta"), _Budget(header):
        return build(architecture, config, known)
