"""What single words do to a picture: leave one out, and draw it again from the same noise."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def leave_one_out(words: Sequence[str]) -> list[str]:
    """The whole text, then it without each word in turn, and last without all where that is yet another."""
    each = [" ".join([*words[:k], *words[k + 1 :]]) for k in range(len(words))]
    return [" ".join(words), *each, *([""] if len(words) > 1 else [])]


def distances(pictures: Tensor) -> list[float]:
    """How far each but the first of pictures [N, ...] is from that: the root mean square of the difference."""
    apart = (pictures[1:] - pictures[:1]).double().square().flatten(1).mean(1).sqrt()
    return apart.tolist()
