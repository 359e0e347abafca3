"""Attention in which a picture looks at other pictures too: at their keys and values, each with a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

UNSEEN = -6e4  # the logit of no weight: float16 holds it, and a softmax does not see it
WIDTHS = 8  # fused attention likes widths of heads that are multiples of it


def attend(
    query: Tensor, seen: Sequence[tuple[Tensor, Tensor]], weights: Sequence[float | Tensor], temperature: float = 1.0
) -> Tensor:
    """Attention of query [N, heads, L, D] to the keys and values [N or 1, heads, K, D] of several pictures at once.

    The keys of picture s are seen as if there were weights[s] copies of each: a number, or one for each place of the
    query, [L] or [N, L]; not negative. Where all are 0 it is as if all were 1. `temperature` multiplies the logits:
    more than 1 looks at fewer keys. -> [N, heads, L, D].

    Equal weights are attention to the concatenated keys, as in Hertz et al. 2023, "Style aligned image generation via
    shared attention"; their logarithms are added to the logits by one more number for each picture in query and key, so
    that no matrix of queries by keys is made.
    """
    kept = [index for index, weight in enumerate(weights) if not isinstance(weight, (int, float)) or weight > 0]
    kept = kept or list(range(len(seen)))
    key, value = (
        torch.cat([part.expand(len(query), -1, -1, -1) for part in parts], 2)
        for parts in zip(*(seen[index] for index in kept), strict=True)
    )
    scale = temperature / math.sqrt(query.shape[-1])
    if len(kept) == 1:
        return F.scaled_dot_product_attention(query, key, value, scale=scale)

    lengths = [seen[index][0].shape[2] for index in kept]
    logs = torch.stack([_logs(weights[index], query, scale) for index in kept], -1)
    whose = torch.repeat_interleave(torch.eye(len(kept)).to(key), torch.tensor(lengths).to(key.device), 0)
    padding = -(query.shape[-1] + len(kept)) % WIDTHS
    logs, whose = F.pad(logs, (0, padding)), F.pad(whose, (0, padding))
    heads = query.shape[1]
    query = torch.cat([query, logs[:, None].expand(-1, heads, -1, -1)], -1)
    key = torch.cat([key, whose.expand(len(key), heads, -1, -1)], -1)
    width = value.shape[-1]
    value = F.pad(value, (0, key.shape[-1] - width))
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :width]


def _logs(weight: float | Tensor, query: Tensor, scale: float) -> Tensor:
    """What `scale` turns into the logarithm of a weight, [N, L] in the dtype of the query [N, heads, L, D]."""
    weight = torch.as_tensor(weight, dtype=torch.promote_types(query.dtype, torch.float32), device=query.device)
    return (weight.log() / scale).clamp(min=UNSEEN).expand(len(query), query.shape[2]).to(query)
