"""An autoencoder at work: pictures to the latents on LATENT wires, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .latents import Latents

STRIP = 16384  # pixels of a strip
WHOLE = 1024 * 1024  # pixels of a picture that an accelerator takes whole; on the CPU strips are as fast


class Autoencoder:
    """What turns pictures into latents and back.

    The net has `encode(x [N, 3, H, W] in -1..1, rows)` and `decode(z, rows)`, `downscale` and a config with
    `latent_channels`; `latents` is what its own are scaled by, None if they are those of the wires.
    """

    def __init__(self, net: nn.Module, latents: Latents | None = None, family: str = ""):
        self.net = net
        self.latents = latents
        self.family = family

    @property
    def channels(self) -> int:
        """Of its latents."""
        return self.net.config.latent_channels

    @property
    def downscale(self) -> int:
        """How many pixels, in height and in width, one of the latent's stands for."""
        return self.net.downscale

    @property
    def dtype(self) -> torch.dtype:
        """What the net computes in."""
        return self.net.dtype

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @torch.no_grad()
    def encode(self, rgb: Tensor, strip: int | None = None) -> Tensor:
        """Pictures [B, H, W, 3 or more] in 0..1 -> latents [B, channels, h, w] float32, the most likely ones.

        Sides that are no multiples of `downscale` lose a few pixels at both ends. `strip` is as in `decode`.
        Raises ValueError for pictures that are too small, and for values that overflow the net's dtype.
        """
        height, width = (side // self.downscale * self.downscale for side in rgb.shape[1:3])
        if not (height and width):
            size = f"{rgb.shape[2]}×{rgb.shape[1]}"
            raise ValueError(f"a picture of {size} is too small: both sides need {self.downscale} pixels")
        top, left = (rgb.shape[1] - height) // 2, (rgb.shape[2] - width) // 2
        pictures = rgb[:, top : top + height, left : left + width, :3].movedim(-1, 1).to(self.device)
        rows = self._rows(height, width, strip)
        # Colours in half precision lose digits by 2·rgb - 1.
        wide = torch.promote_types(self.dtype, torch.float32)
        latents = torch.cat([self.net.encode(one.to(wide) * 2 - 1, rows) for one in pictures.split(1)])
        latents = self._finite(latents).float()
        return latents if self.latents is None else self.latents.to_wire(latents)

    @torch.no_grad()
    def decode(self, latents: Tensor, strip: int | None = None) -> Tensor:
        """Latents [B, channels, h, w] -> pictures [B, downscale * h, downscale * w, 3] float32 in 0..1.

        Big pictures are made in strips, with the same result to rounding. `strip` says of how many rows of the
        picture; 0 forbids them. Raises ValueError for latents of another shape and for values that overflow the dtype.
        """
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise ValueError(f"it decodes latents [B, {self.channels}, h, w], not of shape {list(latents.shape)}")
        if self.latents is not None:
            latents = self.latents.from_wire(latents)
        latents = latents.to(self.device)
        rows = self._rows(self.downscale * latents.shape[2], self.downscale * latents.shape[3], strip)
        rgb = torch.cat([self.net.decode(one, rows) for one in latents.split(1)])
        return ((self._finite(rgb).float() + 1) / 2).clamp_(0, 1).movedim(1, -1).contiguous()

    def _rows(self, height: int, width: int, strip: int | None) -> int | None:
        if strip is not None:
            return strip or None
        whole = STRIP if self.device.type == "cpu" else WHOLE
        return max(1, STRIP // width) if height * width > whole else None

    def _finite(self, values: Tensor) -> Tensor:
        if not values.isfinite().all():
            half = self.dtype == torch.float16
            advice = "load it in bfloat16 or float32" if half else "its input has NaN or infinity"
            raise ValueError(f"the autoencoder gives NaN or infinity in {self.dtype}: {advice}")
        return values
