"""Which styles act where on a picture, and how far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Regions(NamedTuple):
    """The `share` [S, B, H, W] of each style in what takes the content's place; how far that does, `cover` [B, H, W].

    The shares of a place sum to 1 or, where no style acts, to 0.
    """

    share: Tensor
    cover: Tensor

    def of_tokens(self, count: int) -> Regions:
        """The same for tokens in rows that stand for squares of pixels: share [S, B, count], cover [B, count]."""
        height, width = self.cover.shape[1:]
        rows = round(height / math.sqrt(height * width / count))
        size = (rows, count // rows)
        return Regions(*(F.adaptive_avg_pool2d(part, size).flatten(-2) for part in self))

    def mixed(self, content: Tensor, styled: Sequence[Tensor]) -> Tensor:
        """The content [B, C, H, W], its place taken by `styled`, one for each style, where and as far as they do."""
        each = (share[:, None] * one for share, one in zip(self.share, styled, strict=True))
        return torch.lerp(content, torch.where(self.cover[:, None] > 0, sum(each), content), self.cover[:, None])


def regions(
    like: Tensor, weights: Sequence[float], masks: Sequence[Tensor | None] | None = None, strength: float = 1.0
) -> Regions:
    """The Regions of states `like` [B, C, H, W] for styles of so much weight, each where its mask is 1.

    A mask is [B or 1, h, w], 0..1, of any size; None is everywhere. `strength` 0..1 is how far styles take the place of
    the content. Raises ValueError for negative weights, weights that are all 0, and lists of different lengths.
    """
    masks = [None] * len(weights) if masks is None else masks
    if len(masks) != len(weights):
        raise ValueError(f"there are {len(weights)} weights of styles and {len(masks)} masks: one for each style")
    if not weights or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise ValueError(f"styles need weights of at least 0, not all of them 0, and these are {list(weights)}")
    batch, _, *size = like.shape
    where = torch.stack([_mask(mask, batch, size).to(like) for mask in masks])
    share = where * like.new_tensor(weights)[:, None, None, None]
    cover = where.where(like.new_tensor(weights)[:, None, None, None] > 0, 0.0).amax(0)
    return Regions(share / share.sum(0).clamp(min=torch.finfo(share.dtype).tiny), strength * cover)


def _mask(mask: Tensor | None, batch: int, size: Sequence[int]) -> Tensor:
    if mask is None:
        return torch.ones(batch, *size)
    return F.interpolate(mask[:, None].float(), size, mode="area")[:, 0].clamp(0, 1).expand(batch, -1, -1)
