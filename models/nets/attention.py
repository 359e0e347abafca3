"""Self-attention that a run computes its own way: how a net asks for it.

A net that is given an `attention` lets it compute what its self-attentions see, one after the other:
`attention(query, key, value, layer, beside) -> seen`, each of them [N, heads, L, D], of the tokens of the picture in
rows. `layer` counts the self-attentions in the order in which they run, from 0 to `net.attentions` - 1; `beside` holds
the (key, value) [N, heads, T, D] of what every token sees besides: the text of a net in which it is in the same
attention, and nothing in others.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, repeat

import torch
import torch.nn.functional as F
from torch import Tensor

OwnAttention = Callable[..., Tensor]
Attend = Callable[..., Tensor]


def in_turn(attention: OwnAttention | None) -> Iterator[Attend | None]:
    """For each self-attention in turn what computes it, attend(query, key, value, beside=()); None is the usual."""
    if attention is None:
        return repeat(None)
    return (partial(attention, layer=layer, beside=()) for layer in count())


def usual(query: Tensor, key: Tensor, value: Tensor, beside: Sequence[tuple[Tensor, Tensor]] = ()) -> Tensor:
    """What a net's self-attention is where it is not given another."""
    if beside:
        key, value = (torch.cat(parts, 2) for parts in zip(*beside, (key, value), strict=True))
    return F.scaled_dot_product_attention(query, key, value)
