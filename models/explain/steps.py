"""What each evaluation of a denoiser did for the picture, from the trace of a run."""

from __future__ import annotations

from typing import NamedTuple

from ..sampling.analysis import contributions
from ..sampling.plan import Plan, Slot
from ..sampling.trace import Trace


class StepShare(NamedTuple):
    """One evaluation that a trace kept: its number from 0, the noise level, the weight that its answer has in the last
    state that is not an answer itself, how far the answer moved from the one kept before and how far it still is from
    the last, both root mean square, and the step's error, if that can be told."""

    row: int
    sigma: float
    weight: float
    moved: float
    left: float
    error: float | None


def weights_of(plan: Plan) -> dict[Slot, float]:
    """What each output counts for in the picture; where that is the last one alone, in the state that made this."""
    weights = contributions(plan)
    if weights == {Slot("d", plan.evaluations - 1): 1.0}:
        weights = contributions(plan, plan.evaluations - 1)
    return weights


def step_shares(trace: Trace) -> list[StepShare]:
    """Of each frame of a trace; the first is held against a picture of zeros."""
    frames, weights = trace.frames.double(), weights_of(trace.plan)
    before = frames.roll(1, 0)
    before[0] = 0
    moved, left = ((frames - other).square().flatten(1).mean(1).sqrt().tolist() for other in (before, frames[-1:]))
    steps = [trace.plan.rows[row].step for row in trace.rows]
    return [
        StepShare(row, sigma, weights.get(Slot("d", row), 0.0), moved[k], left[k], trace.errors[steps[k]])
        for k, (row, sigma) in enumerate(zip(trace.rows, trace.sigmas, strict=True))
    ]
