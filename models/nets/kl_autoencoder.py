"""The autoencoder of latent diffusion: a picture as Gaussians over a map an eighth of its size, and back.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), appendix G; its residual
blocks are those of Ho et al.'s DDPM (2020) without time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bounds import check_flags, check_numbers
from .strips import Grow, Strips, convolved, grown, spans

GROUPS = 32
EPS = 1e-6
SCORES = 2**26  # query-key products at once, where a device cannot do without holding them
LIMITS = {"latent_channels": (1, 256), "blocks": (1, 8)}


@dataclass(frozen=True)
class KLAutoencoderConfig:
    """The shape of a KLAutoencoder. Raises ValueError, naming the field, for a value that no net can have.

    `widths`: channels at full size, at half, and so on; `blocks` of the encoder at each size, of which the decoder has
    one more; `quant`: whether there are 1×1 convolutions on both sides of the latent.
    """

    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    quant: bool = True

    def __post_init__(self):
        if not isinstance(self.widths, (list, tuple)) or not 1 <= len(self.widths) <= 6:
            raise ValueError(f"widths should be a list of 1 to 6 whole numbers, not {self.widths!r:.80}")
        object.__setattr__(self, "widths", tuple(self.widths))
        for width in self.widths:
            if type(width) is not int or width % GROUPS or not GROUPS <= width <= 4096:
                raise ValueError(f"every width should be a multiple of {GROUPS} up to 4096, not {width!r:.80}")
        check_numbers(self, LIMITS)
        check_flags(self, ("quant",))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=EPS)


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


def _activated(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return F.silu(norm(x), inplace=True)


class Block(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.norm1 = _norm(c_in)
        self.conv1 = _conv(c_in, c_out)
        self.norm2 = _norm(c_out)
        self.conv2 = _conv(c_out, c_out)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(_activated(self.norm1, x))
        h = self.conv2(_activated(self.norm2, h))
        return h.add_(x if self.skip is None else self.skip(x))

    def strips(self, x: Strips) -> Strips:
        """The same, using x up: in memory for x, or for twice the result if that is more, and a few strips."""
        activate = x.normed(self.norm1)
        if self.skip is None:
            h, skip = Strips(convolved(self.conv1, x, x.spans, activate)), x
        else:
            h, skip = Strips(), Strips()
            for index, strip in enumerate(convolved(self.conv1, x, x.spans, activate, keep=False)):
                h.append(strip)
                skip.append(self.skip(x.strips[index]))
        changes = convolved(self.conv2, h, h.spans, h.normed(self.norm2))
        for strip, change in zip(skip.strips, changes, strict=True):
            strip.add_(change)
        return skip


class Attention(nn.Module):
    """Every pixel looks at every pixel, beside a skip."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = _norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        qkv = self.qkv(self.norm(x).flatten(2).mT)
        query, key, value = qkv.unsqueeze(1).chunk(3, dim=-1)
        rows = max(1, SCORES // (batch * height * width))
        seen = torch.cat([F.scaled_dot_product_attention(part, key, value) for part in query.split(rows, dim=2)], dim=2)
        return self.out(seen.squeeze(1)).mT.unflatten(2, (height, width)) + x


class Level(nn.Module):
    """The blocks at one size; then perhaps `shrink` or `grow`, to the next size."""

    def __init__(self, c_in: int, c_out: int, blocks: int, shrinks: bool = False, grows: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(c_out if index else c_in, c_out) for index in range(blocks))
        # Without padding: there is one row of zeros at the bottom and one column on the right, none above and left.
        self.shrink = nn.Conv2d(c_out, c_out, 3, stride=2) if shrinks else None
        self.grow = Grow(c_out) if grows else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        if self.shrink is not None:
            return self.shrink(F.pad(x, (0, 1, 0, 1)))
        return x if self.grow is None else self.grow(x)

    def strips(self, x: Strips, pixels: int) -> Strips:
        """The same, using x up; strips of the next size have about that many pixels."""
        width = x.strips[0].shape[3]
        for block in self.blocks:
            x = block.strips(x)
        if self.shrink is not None:
            cuts = spans(x.height // 2, max(1, pixels // max(1, width // 2)))
            return Strips(convolved(self.shrink, x, cuts, keep=False))
        if self.grow is not None:
            return Strips(grown(self.grow, x, spans(x.height, max(1, pixels // (4 * width)))))
        return x


def _middle(channels: int) -> nn.Sequential:
    return nn.Sequential(Block(channels, channels), Attention(channels), Block(channels, channels))


class Encoder(nn.Module):
    """[N, 3, H, W] -> [N, 2 * latent_channels, H/downscale, W/downscale]."""

    def __init__(self, config: KLAutoencoderConfig):
        super().__init__()
        widths = config.widths
        self.stem = _conv(3, widths[0])
        self.levels = nn.ModuleList()
        for index, width in enumerate(widths):
            shrinks = index + 1 < len(widths)
            self.levels.append(Level(widths[max(index - 1, 0)], width, config.blocks, shrinks=shrinks))
        self.middle = _middle(widths[-1])
        self.norm = _norm(widths[-1])
        self.out = _conv(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Tensor, rows: int | None = None) -> Tensor:
        x = self._levels(x) if rows is None else torch.cat([self._strips(one, rows) for one in x.split(1)])
        return self.out(_activated(self.norm, self.middle(x)))

    def _levels(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for level in self.levels:
            x = level(x)
        return x

    def _strips(self, x: Tensor, rows: int) -> Tensor:
        pixels = rows * x.shape[3]
        x = Strips(convolved(self.stem, Strips([x]), spans(x.shape[2], rows)))
        for level in self.levels:
            x = level.strips(x, pixels)
        return torch.cat(x.strips, dim=2)


class Decoder(nn.Module):
    """[N, latent_channels, h, w] -> [N, 3, downscale * h, downscale * w]."""

    def __init__(self, config: KLAutoencoderConfig):
        super().__init__()
        widths = config.widths[::-1]
        self.stem = _conv(config.latent_channels, widths[0])
        self.middle = _middle(widths[0])
        self.levels = nn.ModuleList()
        for index, width in enumerate(widths):
            grows = index + 1 < len(widths)
            self.levels.append(Level(widths[max(index - 1, 0)], width, config.blocks + 1, grows=grows))
        self.norm = _norm(widths[-1])
        self.out = _conv(widths[-1], 3)

    def forward(self, z: Tensor, rows: int | None = None) -> Tensor:
        if rows is not None:
            return torch.cat([self._strips(one, rows) for one in z.split(1)])
        x = self.middle(self.stem(z))
        for level in self.levels:
            x = level(x)
        return self.out(_activated(self.norm, x))

    def _strips(self, z: Tensor, rows: int) -> Tensor:
        x = self.middle(self.stem(z))
        pixels = rows * x.shape[3] * 2 ** (len(self.levels) - 1)
        x = Strips(x[:, :, top:bottom] for top, bottom in spans(x.shape[2], pixels // x.shape[3]))
        for level in self.levels:
            x = level.strips(x, pixels)
        return torch.cat(list(convolved(self.out, x, x.spans, x.normed(self.norm), keep=False)), dim=2)


class KLAutoencoder(nn.Module):
    """Both halves. Pictures are [N, 3, H, W] in -1..1, H and W multiples of `downscale`.

    With `rows` they are worked on in strips of about so many rows at full size: the same to rounding, and about the
    same time, in less memory. Strips carry no gradients.
    """

    def __init__(self, config: KLAutoencoderConfig):
        super().__init__()
        self.config = config
        self.downscale = 2 ** (len(config.widths) - 1)
        channels = config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant = nn.Conv2d(2 * channels, 2 * channels, 1) if config.quant else nn.Identity()
        self.unquant = nn.Conv2d(channels, channels, 1) if config.quant else nn.Identity()

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.stem.weight.dtype

    def moments(self, x: Tensor, rows: int | None = None) -> tuple[Tensor, Tensor]:
        """x [N, 3, H, W] -> the latent's mean and the logarithm of its variance."""
        x = x.to(self.dtype, memory_format=torch.channels_last)
        mean, log_variance = self.quant(self.encoder(x, rows)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def encode(self, x: Tensor, rows: int | None = None) -> Tensor:
        """x [N, 3, H, W] -> the latent's mean [N, latent_channels, H/downscale, W/downscale]."""
        return self.moments(x, rows)[0]

    def decode(self, z: Tensor, rows: int | None = None) -> Tensor:
        """z [N, latent_channels, h, w] -> [N, 3, downscale * h, downscale * w], about -1..1."""
        z = z.to(self.dtype, memory_format=torch.channels_last)
        return self.decoder(self.unquant(z), rows)
