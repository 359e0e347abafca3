"""The two nets of a small GAN of pictures of a few dozen pixels, both told a bag of words.

Goodfellow et al., "Generative Adversarial Nets", 2014 (arXiv:1406.2661). Words enter the generator beside its noise,
as a style that modulates every block (Karras et al. 2019, arXiv:1812.04948), and the discriminator as a projection
(Miyato & Koyama 2018, arXiv:1802.05637).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import in_turn
from .bounds import check_levels, check_numbers, check_sides, make_tuples, shrunk_by
from .residual import WORD_GAIN, Block, meaning, norm, resampled, word_table

LIMITS = {
    "in_channels": (1, 64),
    "patch": (1, 16),
    "width": (16, 2048),
    "blocks": (1, 4),
    "embedding": (16, 8192),
    "vocabulary": (1, 65536),
    "noise": (1, 4096),
}
SLOPE = 0.2  # of the discriminator's leaky ReLU


@dataclass(frozen=True)
class GANConfig:
    """The shape of both nets. Level i works on pictures shrunk by patch * 2^i, with width * multipliers[i] channels.

    `sides` are the pictures' height and width, `noise` the numbers that a picture is drawn by; `vocabulary` counts the
    rows of the word tables, row 0 included, which means no word. Raises ValueError, naming the field, for a value that
    no net can have.
    """

    in_channels: int = 4
    sides: tuple[int, ...] = (32, 32)
    patch: int = 2
    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 3)
    blocks: int = 1
    embedding: int = 128
    vocabulary: int = 1
    noise: int = 64

    def __post_init__(self):
        make_tuples(self, ("sides", "multipliers"))
        check_numbers(self, LIMITS)
        check_levels(self)
        check_sides(self)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the lowest level."""
        height, width = (side // shrunk_by(self) for side in self.sides)
        return height, width


class GANGenerator(nn.Module):
    """Noise and words to pictures. Computes in the dtype of its weights."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        self.noise_shape = (config.noise,)
        width, emb, channels = config.width, config.embedding, config.width * config.multipliers[-1]
        self.words = word_table(config.vocabulary, emb)
        self.no_words = nn.Parameter(torch.zeros(emb))
        self.noise_in = nn.Linear(config.noise, emb)
        self.noise_out = nn.Linear(emb, emb)
        self.start = nn.Linear(emb, channels * math.prod(config.grid))
        self.up = nn.ModuleList([Block(channels, channels, emb, attention=math.prod(config.grid) > 1)])
        for multiplier in (*config.multipliers[-2::-1], 0):
            self.up.extend(Block(channels, channels, emb) for _ in range(config.blocks))
            if multiplier:
                self.up.append(Block(channels, width * multiplier, emb, resample="up"))
                channels = width * multiplier
        self.norm_out = norm(channels)
        self.out = nn.Conv2d(channels, config.in_channels * config.patch**2, 3, padding=1)
        # Pictures that hardly differ at first would go on to be one and the same.
        for layer in (self.noise_in, self.noise_out, self.start, self.out):
            nn.init.kaiming_uniform_(layer.weight)

    @property
    def dtype(self) -> torch.dtype:
        return self.start.weight.dtype

    def word_embeddings(self, indices: Sequence[int]) -> Tensor:
        """Indices into the vocabulary -> [1, W, D], in the net's dtype; index 0 gives a row of zeros."""
        return self.words(torch.tensor(indices, dtype=torch.long, device=self.words.weight.device))[None]

    def embed(self, cond: dict[str, Tensor] | None = None) -> Tensor:
        """What cond["words"] [B, W, D] says, [B or 1, embedding]; see `residual.meaning`."""
        said = meaning(self.no_words, cond)
        return (WORD_GAIN * said.view(-1, said.shape[-1])).to(self.dtype)

    def draw(self, noise: Tensor, emb: Tensor) -> Tensor:
        """Unit normals [B, noise], emb [B or 1, embedding] -> x, float32 [B, in_channels, *sides]."""
        style = F.silu(self.noise_out(F.silu(self.noise_in(noise.to(self.dtype)))) + emb)
        x = self.start(style).view(len(noise), -1, *self.config.grid).contiguous(memory_format=torch.channels_last)
        for block in self.up:
            x = block(x, style, in_turn(None))
        x = F.pixel_shuffle(self.out(F.silu(self.norm_out(x))), self.config.patch)
        return x.to(torch.promote_types(x.dtype, torch.float32))


class Judging(nn.Module):
    """Two convolutions beside a skip, without a norm: gradients through it are those of each picture alone."""

    def __init__(self, c_in: int, c_out: int, resample: str | None = None):
        super().__init__()
        self.resample = resample
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_uniform_(conv.weight, a=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.leaky_relu(x, SLOPE))
        h = self.conv2(F.leaky_relu(resampled(h, self.resample), SLOPE))
        return (self.skip(resampled(x, self.resample)) + h) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """Pictures and words to logits: above 0 for what looks real."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        width, emb, channels = config.width, config.embedding, config.width * config.multipliers[0]
        self.words = word_table(config.vocabulary, emb)
        self.no_words = nn.Parameter(torch.zeros(emb))
        self.stem = nn.Conv2d(config.in_channels * config.patch**2, channels, 3, padding=1)
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(config.multipliers):
            if level > 0:
                self.down.append(Judging(channels, width * multiplier, resample="down"))
                channels = width * multiplier
            self.down.extend(Judging(channels, channels) for _ in range(config.blocks))
        self.features = nn.Linear(channels * math.prod(config.grid), emb)
        self.out = nn.Linear(emb, 1)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """x [B, in_channels, *sides], rows of words [B, W] -> [B]."""
        x = F.pixel_unshuffle(x, self.config.patch).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for block in self.down:
            x = block(x)
        seen = F.leaky_relu(self.features(F.leaky_relu(x, SLOPE).flatten(1)), SLOPE)
        said = meaning(self.no_words, {"words": self.words(rows)}).to(seen.dtype)
        return self.out(seen).squeeze(1) + (seen * said).sum(1)
