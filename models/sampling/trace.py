"""What happened on the way: what the denoiser believed at each noise level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .plan import Plan

MOST_FRAMES = 32
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Trace:
    """The denoiser outputs of sample 0 along a run: `frames` [F, C, H, W] float16 on the CPU, with the row of each.

    `channels` tells `pixels.decode` what they are.
    """

    frames: Tensor
    rows: tuple[int, ...]
    plan: Plan
    channels: str

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise level of each frame."""
        return tuple(self.plan.rows[row].sigma for row in self.rows)


class Recorder:
    """Collects a Trace: at most 32 frames and 64 MB, spread evenly over the run and kept on its device."""

    def __init__(self, plan: Plan, channels: str = "rgb"):
        self.plan, self.channels = plan, channels
        self.wanted: set[int] | None = None
        self.frames: dict[int, Tensor] = {}

    def record(self, row: int, x0: Tensor) -> None:
        if self.wanted is None:
            most = max(1, min(MOST_FRAMES, MOST_BYTES // (2 * x0[0].numel()), self.plan.evaluations))
            last = self.plan.evaluations - 1
            self.wanted = {last} if most == 1 else {round(i * last / (most - 1)) for i in range(most)}
        if row in self.wanted:
            self.frames[row] = x0[0].to(torch.float16, copy=True)

    def trace(self) -> Trace:
        frames = torch.stack(list(self.frames.values())).cpu()
        return Trace(frames, tuple(self.frames), self.plan, self.channels)
