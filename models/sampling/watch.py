"""Watching a run without holding it up: everything is looked at one evaluation late."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Observer = Callable[[int, int, Tensor | None], None]
"""observe(done, total, x0): `done` of `total` evaluations are over; x0 [B, C, H, W] on the CPU if pictures are wanted.

Raise from it to stop the run.
"""


class NonFinite(ArithmeticError):
    """The denoiser returned NaN or infinity."""


class Watch:
    """Records each denoiser output on its device and reports it once the next one has been queued.

    Only pictures are waited for; without them it reports whatever the device has finished.
    """

    def __init__(self, total: int, device: torch.device, observe: Observer | None, pictures: bool):
        self.total, self.observe, self.pictures = total, observe, pictures
        self.on_gpu = device.type == "cuda"
        self.sums = torch.zeros(total, pin_memory=self.on_gpu)
        self.read_sums = self.sums.numpy()
        self.pending: list[tuple[int, float, Tensor | None, torch.cuda.Event | None]] = []

    def record(self, row: int, sigma: float, x0: Tensor) -> None:
        """Queue a copy of what must be known of this output, and look at the one before."""
        self.sums[row].copy_(x0.sum(dtype=torch.float32), non_blocking=self.on_gpu)
        picture = x0.to("cpu", non_blocking=self.on_gpu) if self.pictures else None
        event = None
        if self.on_gpu:
            event = torch.cuda.Event()
            event.record()
        self.pending.append((row, sigma, picture, event))
        while len(self.pending) > 1 and (self.pictures or self._is_over(self.pending[0])):
            self._report(self.pending.pop(0))

    def finish(self) -> None:
        """Look at what is left; waits for the device."""
        while self.pending:
            self._report(self.pending.pop(0))

    @staticmethod
    def _is_over(record: tuple) -> bool:
        event = record[-1]
        return event is None or event.query()

    def _report(self, record: tuple) -> None:
        row, sigma, picture, event = record
        if event is not None:
            event.synchronize()
        if not math.isfinite(self.read_sums[row]):
            raise NonFinite(
                f"the denoiser returned NaN or infinity at evaluation {row + 1} of {self.total} (σ = {sigma:.4g}): "
                "try precision float32, a lower guidance or another schedule"
            )
        if self.observe is not None:
            self.observe(row + 1, self.total, picture)
