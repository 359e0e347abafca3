"""The sizes that SDXL is told beside its prompt (Podell et al. 2023, arXiv:2307.01952, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

WAVES = 128  # of each number, cosines and then sines, of periods from 2π up to nearly 10⁴·2π


def size_embedding(pooled: Tensor, numbers: Sequence[float]) -> Tensor:
    """The pooled prompt [B, P], and 256 waves for each number behind it: [B, P + 256·N].

    SDXL's six are the original height and width, the crop from the top and the left, and the target's height and width,
    in pixels; its refiner's five end in an aesthetic score in place of the target.
    """
    frequencies = torch.exp(-math.log(10_000) / WAVES * torch.arange(WAVES, dtype=torch.float32))
    angles = torch.tensor(numbers, dtype=torch.float32)[:, None] * frequencies
    waves = torch.cat([angles.cos(), angles.sin()], 1).reshape(1, -1).to(pooled)
    return torch.cat([pooled, waves.expand(len(pooled), -1)], 1)
