"""Undoing any process, by whatever guesses the whole picture (Bansal et al. 2022, arXiv:2208.09392, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from .processes import Process

Predict = Callable[[Tensor, float], Tensor]
"""What is seen at time t, x [B, C, H, W] -> a guess at x0."""


def undo(predict: Predict, process: Process, x: Tensor, times: Sequence[float], noise: Tensor) -> Iterator[Tensor]:
    """The pictures at times[1], times[2], ..., from `x` at times[0]; times fall, and none but the last may be 0.

    Each is x_s = x_t − D(x̂0, t) + D(x̂0, s), so that a guess that is slightly off is held to what was seen. `noise` is
    the chance whose work can be seen, such as where a hole is. Noise that was added cannot, and is what x_t and x̂0 make
    of it; then x_s is D(x̂0, s) by that noise, which of Gaussian noise is the same, and DDIM's step.
    """
    for t, s in pairwise(times):
        x0 = predict(x, t)
        if process.noise_of is None:
            x = x - process.degrade(x0, t, noise) + process.degrade(x0, s, noise)
        else:
            x = process.degrade(x0, s, process.noise_of(x, x0, t))
        yield x
