"""Noise streams: one per sample, counter-based, the same in any batch and on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_WORD = 2**64


def normals(seed: int, index: int, noise: int, count: int) -> np.ndarray:
    """`count` unit normals in float64 of stream (seed, sample index, noise id).

    Philox4x64-10 (Salmon et al. 2011) with key (seed, index) and the noise id in the top counter word, then
    Box-Muller: element i depends on nothing but these four numbers.
    """
    key = np.array([seed % _WORD, index % _WORD], dtype=np.uint64)
    counter = np.array([0, 0, 0, noise], dtype=np.uint64)
    bits = np.random.Philox(key=key, counter=counter).random_raw(count + count % 2)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(uniform[::2])), 2 * math.pi * uniform[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]


class Noise:
    """The noises of one run: `noise(id)` is [B, *shape], sample b from stream `indices[b]` of `seed`.

    Made on the CPU in float64 and rounded to `dtype`. Noise 0 is the start; a Plan numbers the others from 1.
    """

    def __init__(
        self,
        seed: int,
        indices: Sequence[int],
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.seed, self.indices, self.shape = seed, list(indices), tuple(shape)
        self.device, self.dtype = torch.device(device), dtype

    def __call__(self, noise: int) -> Tensor:
        count = math.prod(self.shape)
        stacked = np.stack([normals(self.seed, index, noise, count) for index in self.indices])
        tensor = torch.from_numpy(stacked).to(self.dtype).view(-1, *self.shape)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)
