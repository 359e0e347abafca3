"""What happened on the way: what the denoiser believed at each noise level, and how exact each step was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..denoising import pixels
from .analysis import error_rows
from .plan import Plan

MOST_FRAMES = 32
MOST_BYTES = 64 * 2**20

Decode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x0 [B, C, H, W] -> straight colours [B, H, W, 3] and alpha [B, H, W], float32 in 0..1."""

RGB: Decode = partial(pixels.decode, channels="rgb")


@dataclass(frozen=True)
class Trace:
    """The denoiser outputs of sample 0 along a run: `frames` [F, C, H, W] float16 on the CPU, with the row of each.

    `decode` makes pictures of them. `errors` has the local error of each step: how far it went from
    where a corrector would have gone, root mean square over all samples, None where it cannot be told (`error_rows`).
    """

    frames: Tensor
    rows: tuple[int, ...]
    plan: Plan
    decode: Decode
    errors: tuple[float | None, ...]

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise level of each frame."""
        return tuple(self.plan.rows[row].sigma for row in self.rows)


class Recorder:
    """Collects a Trace: at most 32 frames and 64 MB, spread evenly over the run and kept on its device.

    `error_rows` tells the loop which sums of its slots to hand over.
    """

    def __init__(self, plan: Plan, decode: Decode = RGB):
        self.plan, self.decode = plan, decode
        self.wanted: set[int] | None = None
        self.frames: dict[int, Tensor] = {}
        self.error_rows = error_rows(plan)
        self.errors: dict[int, Tensor] = {}

    def record(self, row: int, x0: Tensor, error: Tensor | None = None) -> None:
        if error is not None:
            self.errors[self.error_rows[row][0]] = error.square().mean().sqrt()
        if self.wanted is None:
            most = max(1, min(MOST_FRAMES, MOST_BYTES // (2 * x0[0].numel()), self.plan.evaluations))
            last = self.plan.evaluations - 1
            self.wanted = {last} if most == 1 else {round(i * last / (most - 1)) for i in range(most)}
        if row in self.wanted:
            self.frames[row] = x0[0].to(torch.float16, copy=True)

    def trace(self) -> Trace:
        frames = torch.stack(list(self.frames.values())).cpu()
        errors = [self.errors.get(step) for step in range(self.plan.steps)]
        told = tuple(None if error is None else error.item() for error in errors)
        return Trace(frames, tuple(self.frames), self.plan, self.decode, told)
