"""TAESD: a tiny autoencoder distilled from that of a latent diffusion model, by Ollin Boer Bohan.

It reads and writes x0 as the denoiser sees it, (latent - shift)·scale, so that it serves one kind of latents only.
https://github.com/madebyollin/taesd
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bounds import check_flags, check_numbers
from .strips import Grow, Strips, convolved, grown, spans

ENCODER_BLOCKS = (1, 3, 3, 3)
DECODER_BLOCKS = ENCODER_BLOCKS[::-1]
LARGEST = 3.0  # of a latent's values, which a tanh keeps within
LIMITS = {"latent_channels": (1, 256), "width": (1, 4096)}


@dataclass(frozen=True)
class TinyAutoencoderConfig:
    """`encodes`, `decodes`: which halves there are. `scaled`: it has a scale and a shift of its own, and takes latents.

    Raises ValueError, naming the field.
    """

    latent_channels: int = 4
    width: int = 64
    encodes: bool = True
    decodes: bool = True
    scaled: bool = False

    def __post_init__(self):
        check_numbers(self, LIMITS)
        check_flags(self, ("encodes", "decodes", "scaled"))
        if not (self.encodes or self.decodes):
            raise ValueError("decodes should be true where encodes is not")


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class Block(nn.Module):
    """Three convolutions beside a skip."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = _conv(width, width)
        self.conv2 = _conv(width, width)
        self.conv3 = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv1(x), inplace=True)
        h = F.relu(self.conv2(h), inplace=True)
        return F.relu(self.conv3(h).add_(x), inplace=True)

    def strips(self, x: Strips) -> Strips:
        """The same, using x up."""
        h = Strips(_relu(convolved(self.conv1, x, x.spans)))
        h = Strips(_relu(convolved(self.conv2, h, h.spans, keep=False)))
        for strip, change in zip(x.strips, convolved(self.conv3, h, h.spans, keep=False), strict=True):
            F.relu(strip.add_(change), inplace=True)
        return x


def _relu(strips: Iterator[Tensor]) -> Iterator[Tensor]:
    return (F.relu(strip, inplace=True) for strip in strips)


class Level(nn.Module):
    """Perhaps `shrink` to this size; its blocks; perhaps `grow` to the next."""

    def __init__(self, width: int, blocks: int, shrinks: bool = False, grows: bool = False):
        super().__init__()
        self.shrink = nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False) if shrinks else None
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.grow = Grow(width, bias=False) if grows else None

    def forward(self, x: Tensor) -> Tensor:
        if self.shrink is not None:
            x = self.shrink(x)
        for block in self.blocks:
            x = block(x)
        return x if self.grow is None else self.grow(x)

    def strips(self, x: Strips, pixels: int) -> Strips:
        """The same, using x up; strips of another size than x's have about that many pixels."""
        width = x.strips[0].shape[3]
        if self.shrink is not None:
            cuts = spans(x.height // 2, max(1, pixels // max(1, width // 2)))
            x = Strips(convolved(self.shrink, x, cuts, keep=False))
        for block in self.blocks:
            x = block.strips(x)
        if self.grow is not None:
            x = Strips(grown(self.grow, x, spans(x.height, max(1, pixels // (4 * width)))))
        return x


class Encoder(nn.Module):
    """Colours in 0..1, [N, 3, H, W] -> [N, latent_channels, H/8, W/8]."""

    def __init__(self, config: TinyAutoencoderConfig):
        super().__init__()
        width = config.width
        self.stem = _conv(3, width)
        self.levels = nn.ModuleList(
            Level(width, blocks, shrinks=index > 0) for index, blocks in enumerate(ENCODER_BLOCKS)
        )
        self.out = _conv(width, config.latent_channels)

    def forward(self, x: Tensor, rows: int | None = None) -> Tensor:
        if rows is not None:
            return torch.cat([self._strips(one, rows) for one in x.split(1)])
        x = self.stem(x)
        for level in self.levels:
            x = level(x)
        return self.out(x)

    def _strips(self, x: Tensor, rows: int) -> Tensor:
        pixels = rows * x.shape[3]
        x = Strips(convolved(self.stem, Strips([x]), spans(x.shape[2], rows)))
        for level in self.levels:
            x = level.strips(x, pixels)
        return self.out(torch.cat(x.strips, dim=2))


class Decoder(nn.Module):
    """[N, latent_channels, h, w] -> colours in about 0..1, [N, 3, 8 * h, 8 * w]."""

    def __init__(self, config: TinyAutoencoderConfig):
        super().__init__()
        width, last = config.width, len(DECODER_BLOCKS) - 1
        self.stem = _conv(config.latent_channels, width)
        self.levels = nn.ModuleList(
            Level(width, blocks, grows=index < last) for index, blocks in enumerate(DECODER_BLOCKS)
        )
        self.out = _conv(width, 3)

    def forward(self, z: Tensor, rows: int | None = None) -> Tensor:
        x = F.relu(self.stem(torch.tanh(z / LARGEST) * LARGEST), inplace=True)
        if rows is not None:
            return torch.cat([self._strips(one, rows) for one in x.split(1)])
        for level in self.levels:
            x = level(x)
        return self.out(x)

    def _strips(self, x: Tensor, rows: int) -> Tensor:
        pixels = rows * x.shape[3] * 2 ** (len(self.levels) - 1)
        x = Strips(x[:, :, top:bottom] for top, bottom in spans(x.shape[2], pixels // x.shape[3]))
        for level in self.levels:
            x = level.strips(x, pixels)
        return torch.cat(list(convolved(self.out, x, x.spans, keep=False)), dim=2)


class TinyAutoencoder(nn.Module):
    """Both halves, or one of them. Pictures are [N, 3, H, W] in -1..1, H and W multiples of `downscale`.

    With `rows` they are worked on in strips of about so many rows at full size: the same to rounding, in less memory.
    Strips carry no gradients. A half that is not there raises ValueError.
    """

    def __init__(self, config: TinyAutoencoderConfig):
        super().__init__()
        self.config = config
        self.downscale = 2 ** (len(ENCODER_BLOCKS) - 1)
        self.encoder = Encoder(config) if config.encodes else None
        self.decoder = Decoder(config) if config.decodes else None
        if config.scaled:
            self.scale = nn.Parameter(torch.ones(()))
            self.shift = nn.Parameter(torch.zeros(()))

    @property
    def dtype(self) -> torch.dtype:
        return (self.decoder or self.encoder).stem.weight.dtype

    def encode(self, x: Tensor, rows: int | None = None) -> Tensor:
        """x [N, 3, H, W] -> [N, latent_channels, H/8, W/8]."""
        if self.encoder is None:
            raise ValueError("this autoencoder has no encoder: its file holds the decoder alone")
        z = self.encoder((x.to(self.dtype, memory_format=torch.channels_last) + 1) / 2, rows)
        return z / self.scale + self.shift if self.config.scaled else z

    def decode(self, z: Tensor, rows: int | None = None) -> Tensor:
        """z [N, latent_channels, h, w] -> [N, 3, 8 * h, 8 * w], about -1..1."""
        if self.decoder is None:
            raise ValueError("this autoencoder has no decoder: its file holds the encoder alone")
        z = z.to(self.dtype, memory_format=torch.channels_last)
        if self.config.scaled:
            z = (z - self.shift) * self.scale
        return self.decoder(z, rows) * 2 - 1
