"""A small U-Net for pictures of a few dozen pixels, conditioned on a noise level and a bag of words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import OwnAttention, in_turn
from .bounds import check_levels, check_number, check_numbers, make_tuples, shrunk_by
from .residual import WORD_GAIN, Attention, Block, meaning, norm, word_table, zero

FREQUENCIES = (0.3, 30.0, 64)  # lowest, highest, how many; in radians per unit of c_noise

LIMITS = {
    "in_channels": (1, 64),
    "patch": (1, 16),
    "width": (16, 2048),
    "blocks": (1, 4),
    "embedding": (16, 8192),
    "vocabulary": (1, 65536),
}


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a UNet. Level i works on pictures shrunk by patch * 2^i, with width * multipliers[i] channels.

    `attention_levels` names the levels whose blocks attend; the middle always does. `vocabulary` counts the rows
    of the word table, row 0 included, which means no word. Raises ValueError, naming the field, for a value that
    no net can have.
    """

    in_channels: int = 4
    patch: int = 2
    width: int = 48
    multipliers: tuple[int, ...] = (1, 2, 3)
    blocks: int = 1
    attention_levels: tuple[int, ...] = (1,)
    embedding: int = 192
    vocabulary: int = 1

    def __post_init__(self):
        make_tuples(self, ("multipliers", "attention_levels"))
        check_numbers(self, LIMITS)
        check_levels(self)
        if len(self.attention_levels) > len(self.multipliers):
            raise ValueError("attention_levels names more levels than there are")
        for level in self.attention_levels:
            check_number("every attention level", level, 0, len(self.multipliers) - 1)


class UNet(nn.Module):
    """The net F of a denoiser: `net(x, net.embed(c_noise, cond))`. Computes in the dtype of its weights."""

    conditions = paddable = ("words", "alone")
    can_look_nowhere = True

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        self.multiple = shrunk_by(config)
        pixels, width, emb = config.in_channels * config.patch**2, config.width, config.embedding

        self.time_in = nn.Linear(2 * FREQUENCIES[2], emb)
        self.time_out = nn.Linear(emb, emb)
        self.words = word_table(config.vocabulary, emb)
        self.no_words = nn.Parameter(torch.zeros(emb))

        self.stem = nn.Conv2d(pixels, width, 3, padding=1)
        channels, skips = width, [width]
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(config.multipliers):
            attends = level in config.attention_levels
            if level > 0:
                self.down.append(Block(channels, channels, emb, resample="down"))
                skips.append(channels)
            for _ in range(config.blocks):
                self.down.append(Block(channels, width * multiplier, emb, attends))
                channels = width * multiplier
                skips.append(channels)

        self.middle = nn.ModuleList([Block(channels, channels, emb, attention=True), Block(channels, channels, emb)])

        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            attends = level in config.attention_levels
            for _ in range(config.blocks + 1):
                self.up.append(Block(channels + skips.pop(), width * multiplier, emb, attends))
                channels = width * multiplier
            if level > 0:
                self.up.append(Block(channels, channels, emb, resample="up"))

        self.attentions = sum(isinstance(module, Attention) for module in self.modules())
        self.norm_out = norm(width * config.multipliers[0])
        self.out = zero(nn.Conv2d(width * config.multipliers[0], pixels, 3, padding=1))

    @property
    def dtype(self) -> torch.dtype:
        return self.stem.weight.dtype

    def word_embeddings(self, indices: Sequence[int]) -> Tensor:
        """Indices into the vocabulary -> [1,W,D], in the net's dtype; index 0 gives a row of zeros."""
        rows = torch.tensor(indices, dtype=torch.long, device=self.words.weight.device)
        return self.words(rows)[None]

    def embed(self, c_noise: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """What depends on the noise level and the condition alone: [N, embedding], or a column more, see `forward`.

        c_noise [N], ln(sigma)/4 in EDM; cond["words"] [B,W,D] as `meaning` has it; N and B broadcast.
        cond["alone"] [B,1] is the column more: 1 for attention that looks nowhere.
        """
        low, high, count = FREQUENCIES
        frequencies = torch.linspace(math.log(low), math.log(high), count, device=c_noise.device).exp()
        angles = c_noise.float()[:, None] * frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.dtype)
        said = (WORD_GAIN * meaning(self.no_words, cond)).to(self.dtype)
        emb = F.silu(self.time_out(F.silu(self.time_in(waves))) + said)
        if cond is None or "alone" not in cond:
            return emb
        return torch.cat([emb, cond["alone"].to(emb).expand(len(emb), 1)], dim=1)

    def context(self, cond: dict[str, Tensor] | None = None) -> list[Tensor]:
        """Nothing: its words act through `embed`."""
        return []

    def forward(
        self, x: Tensor, emb: Tensor, context: Sequence[Tensor] = (), attention: OwnAttention | None = None
    ) -> Tensor:
        """x [N,in_channels,H,W], H and W multiples of `multiple`; emb [N or 1, embedding] -> x's shape.

        A last column more of emb tells for which samples the pixels in the middle look at themselves alone.
        `attention`, where it is not None, computes self-attention, see `nets.attention`.
        """
        alone, attends = None, in_turn(attention)
        if emb.shape[1] > self.config.embedding:
            emb, alone = emb[:, :-1], emb[:, -1:]
        x = F.pixel_unshuffle(x.to(self.dtype), self.config.patch)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for block in self.down:
            x = block(x, emb, attends)
            skips.append(x)
        for block in self.middle:
            x = block(x, emb, attends, alone)
        for block in self.up:
            x = block(x if block.resample else torch.cat([x, skips.pop()], dim=1), emb, attends)
        x = self.out(F.silu(self.norm_out(x)))
        return F.pixel_shuffle(x, self.config.patch)
