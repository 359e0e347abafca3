"""Counting the tensor operations of a step: what the engine adds to the net's own work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.precondition import edm
from varifold.models.sampling import schedule
from varifold.models.sampling.sample import sample

SHAPE = (4, 8, 8)
SHORT, LONG = 8, 18


class StubNet(nn.Module):
    """A net that issues no operation: it answers with a tensor that it has."""

    multiple = 1
    conditions = paddable = ("words",)

    def __init__(self, dtype: torch.dtype = torch.float32, batch: int = 2):
        super().__init__()
        self.answer = nn.Parameter(torch.ones(batch, *SHAPE, dtype=dtype))

    def embed(self, c_noise, cond):
        return c_noise[:, None]

    def context(self, cond):
        return []

    def forward(self, x, embedding, context=()):
        return self.answer


class OperationCounter(TorchDispatchMode):
    """Counts what reaches the backend by kind, and operations by name."""

    def __init__(self):
        super().__init__()
        self.kinds: Counter = Counter()
        self.names: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        waits = func is torch.ops.aten._local_scalar_dense.default
        kind = "waits" if waits else "views" if func.is_view else "operations"
        self.kinds[kind] += 1
        self.names[str(func)] += kind == "operations"
        return func(*args, **(kwargs or {}))


def count(
    solver: str,
    steps: int,
    dtype: torch.dtype = torch.float32,
    guidance: float = 7.0,
    precondition: Callable = edm,
    **options,
):
    net = StubNet(dtype, 1 if guidance == 1 else 2)
    denoiser = Denoiser(net, precondition(), shape=SHAPE, sigma_min=0.002, sigma_max=80.0)
    sigmas = schedule.karras(steps, 0.002, 80.0)
    cond = {"words": torch.zeros(1, 1, 4)}
    with OperationCounter() as counter:
        sample(denoiser, sigmas, solver=solver, cond=cond, guidance=guidance, **options)
    return counter


def per_step(solver: str, **options) -> dict:
    """Kinds and names of operations a step: the difference between a longer and a shorter run."""
    count(solver, SHORT, **options)
    short, long = (count(solver, steps, **options) for steps in (SHORT, LONG))
    extra = LONG - SHORT
    kinds = {kind: (long.kinds[kind] - short.kinds[kind]) / extra for kind in ("operations", "views", "waits")}
    names = {name: (number - short.names[name]) / extra for name, number in long.names.most_common()}
    return {**kinds, "names": {name: number for name, number in names.items() if number}}
