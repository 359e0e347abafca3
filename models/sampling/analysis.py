"""What a Plan tells about a run: what each output counts for in the result, and how exact each step was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..denoising.space import SPACES
from .plan import START, Plan, Slot, Terms


def contributions(plan: Plan, row: int = -1) -> dict[Slot, float]:
    """State `row`, by default the result, as a weighted sum of denoiser outputs and noises alone.

    Where a schedule ends in 0 the result is mostly the last output and nothing else; the state before it, row −2, then
    tells more.
    """
    return _resolved(plan, range(len(plan.rows))[row], lowest=-1)


def _resolved(plan: Plan, row: int, lowest: int) -> dict[Slot, float]:
    """State `row` as a sum that knows no state between it and state `lowest`."""
    weights = {Slot("x", row): 1.0}
    for index in range(row, lowest, -1):
        share = weights.pop(Slot("x", index), 0.0)
        for slot, weight in plan.rows[index].terms if share else ():
            weights[slot] = weights.get(slot, 0.0) + share * weight
    return weights


def error_rows(plan: Plan) -> dict[int, tuple[int, Terms]]:
    """Evaluation -> (the step whose local error can be told once it is made, and that error as a sum of slots).

    A step is held against one from the same state, with the same noise, along the parabola through three outputs: at
    the step's own two ends and at the start of the step before (a line for the first step), in the manner of
    predictor-corrector pairs (Milne's device). No denoiser is asked for it. The last step has no output at its end,
    and so no estimate. Nor have CFG++ solvers, which follow two answers at once, and plans of other levels than the
    schedule's. Of a step that is more exact than the parabola it is the parabola's error, too large.
    """
    first = {row.step: index for index, row in reversed(list(enumerate(plan.rows)))}
    starts = [first[step] for step in range(plan.steps)]
    own_levels = any(plan.rows[start].sigma != sigma for start, sigma in zip(starts, plan.sigmas, strict=False))
    if own_levels or plan.asks_for_negatives:
        return {}
    rows = {}
    for step in range(plan.steps - 1):
        nodes = starts[max(0, step - 1) : step + 2]
        rows[nodes[-1]] = (step, _error(plan, nodes))
    return rows


def _error(plan: Plan, nodes: list[int]) -> Terms:
    """State nodes[-1] less what the corrector makes of state nodes[-2]."""
    start, end = nodes[-2:]
    s, t = plan.rows[start].sigma, plan.rows[end].sigma
    step = _resolved(plan, end, lowest=start)
    noisy = any(slot.kind == "n" and slot != START for slot in step)
    if noisy:
        pull = sum(weight for slot, weight in step.items() if slot.kind == "d")
        error = {slot: weight for slot, weight in step.items() if slot.kind == "d"}
    else:
        alpha = SPACES[plan.space].alpha
        pull = alpha(t) - alpha(s) * t / s
        error = {Slot("x", end): 1.0, Slot("x", start): -t / s}
    for node, weight in zip(nodes, _averages([plan.rows[node].sigma for node in nodes], s, t), strict=True):
        slot = Slot("d", node)
        error[slot] = error.get(slot, 0.0) - pull * weight
    return tuple((slot, weight) for slot, weight in error.items() if weight)


def _averages(nodes: Sequence[float], s: float, t: float) -> list[float]:
    """The mean of each Lagrange polynomial of `nodes` over d(1/σ) from σ = s to t: d(x/σ) = x0·d(1/σ) weighs so."""
    moments = [1.0, math.log(s / t) / (1 / t - 1 / s), s * t]
    scale = s  # keeps the matrix tame
    matrix = np.vander([node / scale for node in nodes], increasing=True).T
    return np.linalg.solve(matrix, [m / scale**k for k, m in enumerate(moments[: len(nodes)])]).tolist()
