"""Attention that a picture shares with those of a style: its own keys and values, and theirs, by a strength."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .attention import attend

EPSILON = 1e-5  # of a variance: channels that are the same everywhere are not blown up


def aligned(features: Tensor, styles: Sequence[Tensor], shares: Sequence[float], strength: float) -> Tensor:
    """Features [..., L, D] with the mean and spread over L that those of the styles [..., K, D] have, in each channel.

    `shares`, of the sum 1, mix the styles' statistics; `strength` goes from 0, as they were, to 1. AdaIN (Huang &
    Belongie 2017) on queries and keys is what lets a style be looked at as often as the picture itself: Hertz et al.
    2023, "Style aligned image generation via shared attention".
    """
    mean, spread = _statistics(features)
    there = [_statistics(each) for each in styles]
    wanted_mean, wanted_spread = (
        sum(share * each for share, each in zip(shares, kind, strict=True)) for kind in zip(*there, strict=True)
    )
    # Where the statistics are equal nothing is added, and nothing is rounded.
    change = (features - mean) * (wanted_spread / spread - 1) + (wanted_mean - mean)
    return (features + strength * change).to(features)


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(features.float(), -2, correction=0, keepdim=True)
    return mean, (variance + EPSILON).sqrt()


def shared(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    styles: Sequence[tuple[Tensor, Tensor]],
    shares: Sequence[float],
    strength: float,
    beside: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Attention of query [N, heads, L, D] to keys and values of a picture itself and of styles. -> [N, heads, L, D].

    At strength 0 the styles are not seen, at 1 they take the place of the picture's own: the swap of Jeong et al. 2024,
    "Visual style prompting with swapping self-attention". `shares`, of the sum 1, are the styles' of each other. A
    style that is the picture itself changes nothing. `beside` is seen as ever, such as what belongs to a prompt.
    """
    seen, weights = [own, *styles], [1 - strength, *(strength * share for share in shares)]
    if beside is not None:
        seen, weights = [beside, *seen], [1.0, *weights]
    return attend(query, seen, weights)
