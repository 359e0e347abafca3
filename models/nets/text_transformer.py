"""Transformers that look at a picture and a text in turn, as in the U-Net of Rombach et al. 2022 (arXiv:2112.10752)."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attend

GROUPS = 32


def _split(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[N, L, parts·C] -> `parts` tensors [N, heads, L, C / heads]."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind()


def _joined(seen: Tensor) -> Tensor:
    """[N, heads, L, C / heads] -> [N, L, C]."""
    return seen.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Every token looks at every token: [N, L, C] -> the same. `attend` computes it where it is not the usual."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, attend: Attend | None = None) -> Tensor:
        attend = attend or F.scaled_dot_product_attention
        return self.out(_joined(attend(*_split(self.qkv(x), 3, self.heads))))


class CrossAttention(nn.Module):
    """Every token looks at the text: x [N, L, C], keys and values [N, T, 2·C] -> [N, L, C]."""

    def __init__(self, channels: int, heads: int, context: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(context, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, keys_values: Tensor) -> Tensor:
        (query,) = _split(self.q(x), 1, self.heads)
        return self.out(_joined(F.scaled_dot_product_attention(query, *_split(keys_values, 2, self.heads))))


class GatedLinear(nn.Module):
    """Half of a widened token, gated by the GELU of the other half (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, channels: int):
        super().__init__()
        self.into = nn.Linear(channels, 8 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.into(x).chunk(2, dim=-1)
        return self.out(value * F.gelu(gate))


class Layer(nn.Module):
    """Self-attention, cross-attention and a feed-forward net, each normalised before and added after."""

    def __init__(self, channels: int, heads: int, context: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attention = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attention = CrossAttention(channels, heads, context)
        self.norm3 = nn.LayerNorm(channels)
        self.feed_forward = GatedLinear(channels)

    def forward(self, x: Tensor, keys_values: Tensor, attend: Attend | None) -> Tensor:
        x = x + self.self_attention(self.norm1(x), attend)
        x = x + self.cross_attention(self.norm2(x), keys_values)
        return x + self.feed_forward(self.norm3(x))


class TextTransformer(nn.Module):
    """Layers on the pixels of x [N, C, H, W] as tokens -> the same, x added.

    Each takes the next of `keys_values` and of `attends`.
    """

    def __init__(self, channels: int, heads: int, depth: int, context: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.into = nn.Linear(channels, channels)
        self.layers = nn.ModuleList(Layer(channels, heads, context) for _ in range(depth))
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, keys_values: Iterator[Tensor], attends: Iterator[Attend | None]) -> Tensor:
        tokens = self.into(self.norm(x).permute(0, 2, 3, 1).flatten(1, 2))
        for layer in self.layers:
            tokens = layer(tokens, next(keys_values), next(attends))
        return x + self.out(tokens).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
