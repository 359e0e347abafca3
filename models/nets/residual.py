"""What small convolutional nets of pictures are made of: residual blocks, attention, and words that are summed.

Blocks, scaling by 1/√2 and zero-initialised last convolutions follow DDPM++ and ADM as given by Karras et al.,
"Elucidating the Design Space of Diffusion-Based Generative Models" (EDM, 2022), appendix F.8.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attend

WORD_GAIN = 8.0
HEAD_WIDTH = 64


def norm(channels: int) -> nn.GroupNorm:
    """Of groups of 4 channels and more."""
    return nn.GroupNorm(min(16, channels // 4), channels, eps=1e-5)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, which says nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def resampled(x: Tensor, resample: str | None) -> Tensor:
    """Half the size for "down", twice the size for "up"."""
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
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero(nn.Conv2d(channels, channels, 1))

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
        self.norm1 = norm(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * c_out)
        self.norm2 = norm(c_out)
        self.conv2 = zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.attention = Attention(c_out) if attention else None

    def forward(self, x: Tensor, emb: Tensor, attends: Iterator[Attend | None], alone: Tensor | None = None) -> Tensor:
        h = self.conv1(resampled(F.silu(self.norm1(x)), self.resample))
        scale, shift = self.modulate(emb)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), scale + 1)))
        x = (self.skip(resampled(x, self.resample)) + h) * math.sqrt(0.5)
        if self.attention is None:
            return x
        return (x + self.attention(x, alone, next(attends))) * math.sqrt(0.5)


def word_table(rows: int, width: int) -> nn.Embedding:
    """A vector of unit length, about, for each word; row 0, which means no word, is zeros and stays so."""
    # nn.Embedding's own initialisation is a normal_, which on the meta device costs two seconds of imports.
    bound = math.sqrt(3 / width)
    table = torch.empty(rows, width).uniform_(-bound, bound)
    table[0] = 0
    return nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)


def meaning(no_words: Tensor, cond: dict[str, Tensor] | None) -> Tensor:
    """What cond["words"] [B, W, D] says, float32 [B, D]; without any [D]. A row of zeros is no word.

    Words have no order: they are summed, with `no_words` as the start, and divided by √(their number).
    """
    start = no_words.float()
    if cond is None or "words" not in cond:
        return start
    words = cond["words"].to(start)
    number = words.any(dim=-1).sum(dim=1, keepdim=True).clamp(min=1)
    return (start + words.sum(dim=1)) / number.sqrt()
