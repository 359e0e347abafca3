"""A small autoencoder of pictures of a few dozen pixels, conditioned on a bag of words: plain, or variational.

Kingma & Welling, "Auto-Encoding Variational Bayes", 2014 (arXiv:1312.6114).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import in_turn
from .bounds import check_flags, check_levels, check_numbers, check_sides, make_tuples, shrunk_by
from .residual import WORD_GAIN, Block, meaning, norm, word_table, zero

LIMITS = {
    "in_channels": (1, 64),
    "patch": (1, 16),
    "width": (16, 2048),
    "blocks": (1, 4),
    "embedding": (16, 8192),
    "vocabulary": (1, 65536),
    "latent_channels": (1, 256),
}
MOST_PLAIN = 4096  # numbers of a plain latent: how they vary together is a table of that many by that many
SPREAD_GAIN = 16.0  # how much faster than a weight the spread is learned
LEAST_SPREAD = -6.0  # the logarithm; Rybkin et al. have the same


@dataclass(frozen=True)
class PictureAutoencoderConfig:
    """The shape of a PictureAutoencoder. Level i works on pictures shrunk by patch * 2^i, with width * multipliers[i]
    channels; the last level has the latent. `sides` are the pictures' height and width.

    `vocabulary` counts the rows of the word table, row 0 included, which means no word. Raises ValueError, naming the
    field, for a value that no net can have.
    """

    in_channels: int = 4
    sides: tuple[int, ...] = (32, 32)
    patch: int = 2
    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 3)
    blocks: int = 1
    embedding: int = 128
    vocabulary: int = 1
    latent_channels: int = 16
    variational: bool = True

    def __post_init__(self):
        make_tuples(self, ("sides", "multipliers"))
        check_numbers(self, LIMITS)
        check_flags(self, ("variational",))
        check_levels(self)
        check_sides(self)
        size = math.prod(self.latent_shape)
        if not self.variational and size > MOST_PLAIN:
            raise ValueError(f"latent_channels should make plain latents of at most {MOST_PLAIN} numbers, not {size}")

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """[latent_channels, h, w]."""
        height, width = (side // shrunk_by(self) for side in self.sides)
        return self.latent_channels, height, width


class Posterior(NamedTuple):
    """What an encoder knows of a latent: its mean [B, C, h, w], and the logarithm of its variance, if it doubts."""

    mean: Tensor
    log_variance: Tensor | None

    def sample(self, noise: Tensor) -> Tensor:
        """A latent by unit normals [B, C, h, w]; of one that does not doubt its mean."""
        return self.mean if self.log_variance is None else self.mean + (self.log_variance / 2).exp() * noise


class PictureAutoencoder(nn.Module):
    """An encoder and a decoder, both of which are told the words. Computes in the dtype of its weights.

    The picture's likelihood is a Gaussian around what is decoded, with one learned spread for all its numbers (Rybkin
    et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders", arXiv:2006.13202). The latents of a
    variational one are unit normals. Those of a plain one are taken for Gaussian around a mean that depends linearly on
    what the words mean: `fit_latents` finds these numbers once it has been trained (Ghosh et al. 2020,
    arXiv:1903.12436, have a Gaussian so fitted).
    """

    def __init__(self, config: PictureAutoencoderConfig):
        super().__init__()
        self.config = config
        self.noise_shape = config.latent_shape
        pixels, width, emb = config.in_channels * config.patch**2, config.width, config.embedding
        looks = math.prod(self.noise_shape[1:]) > 1
        self.words = word_table(config.vocabulary, emb)
        self.no_words = nn.Parameter(torch.zeros(emb))

        self.stem = nn.Conv2d(pixels, width * config.multipliers[0], 3, padding=1)
        channels = width * config.multipliers[0]
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(config.multipliers):
            if level > 0:
                self.down.append(Block(channels, width * multiplier, emb, resample="down"))
                channels = width * multiplier
            self.down.extend(Block(channels, channels, emb) for _ in range(config.blocks))
        self.down.append(Block(channels, channels, emb, attention=looks))
        self.norm_latent = norm(channels)
        self.to_latent = nn.Conv2d(channels, config.latent_channels * (1 + config.variational), 1)

        self.from_latent = nn.Conv2d(config.latent_channels, channels, 3, padding=1)
        self.up = nn.ModuleList([Block(channels, channels, emb, attention=looks)])
        for multiplier in (*config.multipliers[-2::-1], 0):
            self.up.extend(Block(channels, channels, emb) for _ in range(config.blocks))
            if multiplier:
                self.up.append(Block(channels, width * multiplier, emb, resample="up"))
                channels = width * multiplier
        self.norm_out = norm(channels)
        self.out = zero(nn.Conv2d(channels, pixels, 3, padding=1))

        if config.variational:
            self.spread = nn.Parameter(torch.zeros(()))
        else:
            size = math.prod(self.noise_shape)
            self.register_buffer("latent_mean", torch.zeros(size))
            self.register_buffer("latent_slope", torch.zeros(emb, size))
            self.register_buffer("latent_root", torch.zeros(size, size))

    @property
    def dtype(self) -> torch.dtype:
        return self.stem.weight.dtype

    def word_embeddings(self, indices: Sequence[int]) -> Tensor:
        """Indices into the vocabulary -> [1, W, D], in the net's dtype; index 0 gives a row of zeros."""
        return self.words(torch.tensor(indices, dtype=torch.long, device=self.words.weight.device))[None]

    def embed(self, cond: dict[str, Tensor] | None = None) -> Tensor:
        """What depends on cond["words"] [B, W, D] alone, [B or 1, embedding]; see `residual.meaning`."""
        said = meaning(self.no_words, cond)
        return F.silu(WORD_GAIN * said.view(-1, said.shape[-1])).to(self.dtype)

    def encode(self, x: Tensor, emb: Tensor) -> Posterior:
        """x [B, in_channels, *sides], emb [B or 1, embedding] -> float32 latents [B, *noise_shape]."""
        x = F.pixel_unshuffle(x.to(self.dtype), self.config.patch)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for block in self.down:
            x = block(x, emb, in_turn(None))
        z = _wide(self.to_latent(F.silu(self.norm_latent(x))))
        return Posterior(*z.chunk(2, dim=1)) if self.config.variational else Posterior(z, None)

    def decode(self, z: Tensor, emb: Tensor) -> Tensor:
        """z [B, *noise_shape], emb [B or 1, embedding] -> the mean of x, float32 [B, in_channels, *sides]."""
        x = self.from_latent(z.to(self.dtype).contiguous(memory_format=torch.channels_last))
        for block in self.up:
            x = block(x, emb, in_turn(None))
        return _wide(F.pixel_shuffle(self.out(F.silu(self.norm_out(x))), self.config.patch))

    @property
    def log_spread(self) -> Tensor:
        """The logarithm of the standard deviation of x around what is decoded, above `LEAST_SPREAD`."""
        return LEAST_SPREAD + F.softplus(SPREAD_GAIN * self.spread - LEAST_SPREAD)

    def latents(self, noise: Tensor, emb: Tensor) -> Tensor:
        """Latents of pictures that could be, by unit normals [B, *noise_shape]."""
        if self.config.variational:
            return noise
        flat = noise.flatten(1).to(self.latent_root) @ self.latent_root
        return (self.latent_mean + emb.to(flat) @ self.latent_slope + flat).view(noise.shape)

    def draw(self, noise: Tensor, emb: Tensor) -> Tensor:
        """A picture by unit normals [B, *noise_shape], without the likelihood's own noise."""
        return self.decode(self.latents(noise, emb), emb)

    @torch.no_grad()
    def fit_latents(self, z: Tensor, emb: Tensor) -> None:
        """Takes latents [N, *noise_shape] and the embeddings [N, embedding] of their words for what is usual."""
        z, emb = z.flatten(1).double(), emb.double()
        mean, middle = z.mean(0), emb.mean(0)
        centred, told = z - mean, emb - middle
        # A little of a ridge: words that say the same thing twice share it.
        ridge = 1e-3 * len(z) * told.var().clamp(min=1e-6) * torch.eye(told.shape[1], dtype=z.dtype, device=z.device)
        slope = torch.linalg.solve(told.T @ told + ridge, told.T @ centred)
        rest = centred - told @ slope
        values, vectors = torch.linalg.eigh(rest.T @ rest / len(z))
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        for name, value in (("mean", mean - middle @ slope), ("slope", slope), ("root", root)):
            getattr(self, f"latent_{name}").copy_(value)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
