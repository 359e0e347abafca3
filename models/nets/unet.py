"""A small U-Net for pictures of a few dozen pixels, conditioned on a noise level and a bag of words.

Blocks, scaling by 1/√2 and zero-initialised last convolutions follow DDPM++ and ADM as given by Karras et al.,
"Elucidating the Design Space of Diffusion-Based Generative Models" (EDM, 2022), appendix F.8.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attend, OwnAttention, in_turn
from .bounds import check_number, check_numbers, make_tuples

FREQUENCIES = (0.3, 30.0, 64)  # lowest, highest, how many; in radians per unit of c_noise
WORD_GAIN = 8.0
HEAD_WIDTH = 64

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
        if not 1 <= len(self.multipliers) <= 6:
            raise ValueError(f"multipliers should name 1 to 6 levels, not {len(self.multipliers)}")
        for multiplier in self.multipliers:
            check_number("every multiplier", multiplier, 1, 16)
        if len(self.attention_levels) > len(self.multipliers):
            raise ValueError("attention_levels names more levels than there are")
        for level in self.attention_levels:
            check_number("every attention level", level, 0, len(self.multipliers) - 1)
        if self.width % 16:
            raise ValueError(f"width should be a multiple of 16, not {self.width}")


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(16, channels // 4), channels, eps=1e-5)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _resample(x: Tensor, resample: str | None) -> Tensor:
    if resample == "down":
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=2, mode="nearest") if resample == "up" else x


class Attention(nn.Module):
    """Every pixel looks at every pixel: [N,C,H,W] -> [N,C,H,W], to be added to its input.

    `alone` [N,1]: where it is not 0, every pixel looks at itself alone. `attend` computes it where it is not the usual.
    """

    def __init__(self, channels: int):
        super().__init__()
        most = max(1, channels // HEAD_WIDTH)
        self.heads = next(heads for heads in range(most, 0, -1) if channels % heads == 0)
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, alone: Tensor | None = None, attend: Attend | None = None) -> Tensor:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        seen = (attend or F.scaled_dot_product_attention)(query, key, value)
        if alone is not None:
            seen = torch.where(alone[..., None, None] != 0, value, seen)
        return self.out(seen.transpose(-1, -2).reshape(x.shape))


class Block(nn.Module):
    """Two convolutions beside a skip, the second modulated by the embedding; then perhaps attention.

    `resample` is "down" (halve height and width), "up" (double them) or None.
    """

    def __init__(self, c_in: int, c_out: int, embedding: int, attention=False, resample: str | None = None):
        super().__init__()
        self.resample = resample
        self.norm1 = _norm(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * c_out)
        self.norm2 = _norm(c_out)
        self.conv2 = _zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.attention = Attention(c_out) if attention else None

    def forward(self, x: Tensor, emb: Tensor, attends: Iterator[Attend | None], alone: Tensor | None = None) -> Tensor:
        h = self.conv1(_resample(F.silu(self.norm1(x)), self.resample))
        scale, shift = self.modulate(emb)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), scale + 1)))
        x = (self.skip(_resample(x, self.resample)) + h) * math.sqrt(0.5)
        if self.attention is None:
            return x
        return (x + self.attention(x, alone, next(attends))) * math.sqrt(0.5)


class UNet(nn.Module):
    """The net F of a denoiser: `net(x, net.embed(c_noise, cond))`. Computes in the dtype of its weights."""

    conditions = paddable = ("words", "alone")
    can_look_nowhere = True

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        self.multiple = config.patch * 2 ** (len(config.multipliers) - 1)
        pixels, width, emb = config.in_channels * config.patch**2, config.width, config.embedding

        self.time_in = nn.Linear(2 * FREQUENCIES[2], emb)
        self.time_out = nn.Linear(emb, emb)
        # nn.Embedding's own initialisation is a normal_, which on the meta device costs two seconds of imports.
        bound = math.sqrt(3 / emb)
        table = torch.empty(config.vocabulary, emb).uniform_(-bound, bound)
        table[0] = 0
        self.words = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)
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
        self.norm_out = _norm(width * config.multipliers[0])
        self.out = _zero(nn.Conv2d(width * config.multipliers[0], pixels, 3, padding=1))

    @property
    def dtype(self) -> torch.dtype:
        return self.stem.weight.dtype

    def word_embeddings(self, indices: Sequence[int]) -> Tensor:
        """Indices into the vocabulary -> [1,W,D], in the net's dtype; index 0 gives a row of zeros."""
        rows = torch.tensor(indices, dtype=torch.long, device=self.words.weight.device)
        return self.words(rows)[None]

    def embed(self, c_noise: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """What depends on the noise level and the condition alone: [N, embedding], or a column more, see `forward`.

        c_noise [N], ln(sigma)/4 in EDM; cond["words"] [B,W,D], where a row of zeros is no word; N and B broadcast.
        Words have no order: they are summed, with `no_words` as the start, and divided by √(their number).
        cond["alone"] [B,1] is the column more: 1 for attention that looks nowhere.
        """
        low, high, count = FREQUENCIES
        frequencies = torch.linspace(math.log(low), math.log(high), count, device=c_noise.device).exp()
        angles = c_noise.float()[:, None] * frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.dtype)
        meaning = self.no_words.float()
        if cond is not None and "words" in cond:
            words = cond["words"].to(meaning)
            number = words.any(dim=-1).sum(dim=1, keepdim=True).clamp(min=1)
            meaning = (meaning + words.sum(dim=1)) / number.sqrt()
        emb = F.silu(self.time_out(F.silu(self.time_in(waves))) + (WORD_GAIN * meaning).to(self.dtype))
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
