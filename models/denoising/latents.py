"""Latents: what an autoencoder makes of a picture, and what a denoiser sees of that."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Latents(NamedTuple):
    """A denoiser sees x0 = (latent − shift)·scale, of unit spread; LATENT wires carry the latent.

    `downscale` is the pixels of a latent's side, `rgb` the rows by which x0 · rgb is roughly 2·rgb − 1, if known.
    """

    channels: int
    scale: float
    shift: float = 0.0
    downscale: int = 8
    rgb: tuple[tuple[float, float, float], ...] | None = None

    def to_wire(self, x0: Tensor) -> Tensor:
        return x0 / self.scale + self.shift

    def from_wire(self, latent: Tensor) -> Tensor:
        return (latent - self.shift) * self.scale

    def rough(self, x0: Tensor) -> Tensor:
        """x0 [B, C, h, w] as small colours [B, h, w, 3] in 0..1; grey where no rows are known."""
        x0 = x0.float().movedim(1, -1)
        if self.rgb is None:
            return x0.mean(-1, keepdim=True).sigmoid().expand(*x0.shape[:-1], 3)
        return ((x0 @ torch.tensor(self.rgb).to(x0) + 1) / 2).clamp(0, 1)


# Rows: the linear decoding that keturn published for Stable Diffusion 1 (discuss.huggingface.co/t/23204).
SD1_RGB = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))

LATENTS = {
    "sd1": Latents(4, 0.18215, rgb=SD1_RGB),
    "sdxl": Latents(4, 0.13025),
    "flux": Latents(16, 0.3611, 0.1159),
}
