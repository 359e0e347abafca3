"""A schedule and a table of weights fitted to one denoiser, so that few evaluations draw what a fine run would.

A fine run, the teacher, is walked once from many starts. Of its noise levels those are chosen whose steps stray least
from it, by dynamic programming (as GITS does: Chen et al. 2024, arXiv:2405.11326) and then by moving one at a time. Then
each row's weights are fitted, in the order of the run, so that the student's next state is closest to the teacher's.
What was fitted counts only if it wins on starts and prompts that it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..denoising.guidance import guided
from ..denoising.space import FLOW, Space
from . import schedule as curves
from .noise import Noise
from .plan import START, Plan, Row, Slot
from .sample import run
from .solver import SOLVERS
from .solver import plan as make_plan

TEACHER_STEPS = 60
TEACHER = "dpmpp_2m"
MEMORY = 3  # outputs that a fitted row looks at
RIDGE = 1e-3  # how strongly the solver's own weights are held to, by the size of what they weigh
ROUNDS = 8  # of reweighting; each makes outliers count less
MOST_ELEMENTS = 4096  # of a state that errors are measured on
PULLS = (0.0, 0.5, 1.0)  # how much more errors at low noise count: the power of `Teacher.matters`; the best is taken
PULL = 0.5
SPREAD_THAT_SHOWS = 0.01  # a typical error of so much of the pictures' spread is called invisible

Ask = Callable[[Sequence[float]], Callable[[Tensor, float], Tensor]]
"""ask(levels) -> D(x, sigma) -> x0: for a run over these levels, from all starts at once."""


@dataclass(frozen=True)
class Starts:
    """Where trajectories start, x [K, C, H, W] at the first level, and the denoiser that knows the prompt of each."""

    x: Tensor
    ask: Ask

    def walk(self, plan: Plan, recorder: Any = None) -> Tensor:
        """The results of a plan without noise."""
        return run(plan, self.ask([row.sigma for row in plan.rows[:-1]]), self.x, _no_noise, recorder=recorder)


@dataclass(frozen=True)
class Figures:
    """Errors against the teacher, root mean square over the elements of each picture: the median, and over all."""

    median: float
    rms: float

    def beats(self, other: Figures) -> bool:
        """Whether it is nearer in the median, and no farther over all."""
        return self.median < other.median and self.rms <= other.rms


@dataclass(frozen=True)
class Fit:
    """What came of a fit: the plan to use, and figures of unseen starts by what was tried, the plan used first.

    `curve` has the median error of fits of other numbers of steps, and `spread` the deviation of the pictures.
    """

    plan: Plan
    figures: dict[str, Figures]
    curve: dict[int, float]
    spread: float

    @property
    def enough(self) -> int | None:
        """The fewest steps whose error does not show, as far as was measured."""
        return next((n for n, error in sorted(self.curve.items()) if error < SPREAD_THAT_SHOWS * self.spread), None)


def fit(
    train: Starts,
    unseen: Starts,
    start: Sequence[float],
    solver: str,
    space: Space,
    *,
    weights: bool = True,
    curve: Sequence[int] = (),
) -> Fit:
    """Fit `solver` to a denoiser, to walk as many steps as the schedule `start` and from its first σ.

    `start` is what has to be beaten, on `unseen` starts. Without `weights` the solver keeps its own, as solvers of two
    evaluations a step always do. `curve` lists other numbers of steps to measure. Asks for 60 outputs of all starts,
    and for as many more as the plans that are tried have, see `evaluations`. Raises ValueError for a solver that adds
    noise or follows two answers at once.
    """
    chosen = SOLVERS.get(solver)
    if chosen is None or chosen.stochastic or chosen.asks_for_negatives:
        raise ValueError(f"{solver} cannot be fitted: take a solver without noise and without CFG++, such as dpmpp_2m")
    start = [_single(sigma) for sigma in start]
    space.check(start)
    if not 2 <= len(start) - 1 <= TEACHER_STEPS // 2 or start[-1] != 0:
        raise ValueError(f"a fit walks 2 to {TEACHER_STEPS // 2} steps, down to σ 0")
    teacher = Teacher.walk(train, _teacher_levels(start, space), space)
    reference = unseen.walk(make_plan(TEACHER, teacher.levels, space))
    steps, most = len(start) - 1, max(len(start) - 1, *curve, 1)

    def on(path: list[int]) -> Plan:
        return make_plan(solver, [teacher.levels[index] for index in path], space)

    def try_out(plan: Plan) -> Figures:
        return _figures(unseen.walk(plan), reference)

    plans = {}
    if weights and chosen.evaluations == 1:
        tries = {pull: teacher.settled(teacher.paths(steps, pull)[steps], pull) for pull in PULLS}
        tables = {pull: _fit_rows(on(path), train, teacher, path) for pull, path in tries.items()}
        pull = min(tables, key=lambda pull: tables[pull][1])
        plans["fitted weights"] = tables[pull][0]
    paths = teacher.paths(most, PULL)
    plans |= {"fitted schedule": on(paths[steps]), "usual schedule": make_plan(solver, start, space)}
    figures = {name: try_out(plan) for name, plan in plans.items()}
    best = next((name for name in plans if figures[name].beats(figures["usual schedule"])), "usual schedule")
    errors = {steps: figures[best].median}
    for n in (n for n in curve if n != steps):
        path = paths[n]
        if "fitted weights" in plans:
            path = teacher.settled(teacher.paths(n, pull)[n], pull)
            errors[n] = try_out(_fit_rows(on(path), train, teacher, path)[0]).median
        else:
            errors[n] = try_out(on(path)).median
    figures = {best: figures[best], **figures}
    return Fit(plans[best], figures, dict(sorted(errors.items())), reference.std().item())


def schedule(
    denoiser: Any, steps: int, *, solver: str = "dpmpp_2m", cond: Any = None, guidance: float = 1.0, seed: int = 0
) -> list[float]:
    """σ's for `solver` as it is, fitted to one of our denoisers and one condition: N+1 floats that end in 0."""
    train, unseen = of_denoiser(denoiser, [cond], guidance=guidance, seed=seed)
    found = fit(train, unseen, usual_start(denoiser, steps), solver, denoiser.space, weights=False)
    return list(found.plan.sigmas)


def of_denoiser(
    denoiser: Any,
    conds: Sequence[Any] = (None,),
    *,
    negative: Any = None,
    guidance: float = 1.0,
    trajectories: int = 32,
    seed: int = 0,
    wrap: Callable = lambda D: D,
) -> tuple[Starts, Starts]:
    """Starts to learn from and unseen ones, a quarter of all, for one of our denoisers; `wrap(D)` sees each evaluation.

    Trajectory k starts from noise stream (seed, k) and has condition k of `conds`, counted round; each is a dict of
    tensors for one sample, or None. Where there are several, the last quarter of them is unseen as well.
    """
    seen, unseen = shares(trajectories)
    held = max(1, len(conds) // 4) if len(conds) > 1 else 0
    taught, others = (conds[:-held], conds[-held:]) if held else (conds, conds)

    def starts(first: int, count: int, conds: Sequence[Any]) -> Starts:
        noise = Noise(seed, range(first, first + count), denoiser.shape, denoiser.device)(0)
        each = [conds[index % len(conds)] for index in range(count)]
        positive = None if all(cond is None for cond in each) else denoiser.join(each, 1)

        def ask(levels: Sequence[float]) -> Callable[[Tensor, float], Tensor]:
            return wrap(guided(denoiser, levels, noise.shape, positive=positive, negative=negative, scale=guidance))

        return Starts(noise * denoiser.sigma_max, ask)

    return starts(0, seen, taught), starts(seen, unseen, others)


def shares(trajectories: int) -> tuple[int, int]:
    """How many of so many trajectories are learnt from, and how many stay unseen."""
    unseen = max(1, trajectories // 4)
    return max(1, trajectories - unseen), unseen


def evaluations(steps: int, solver: str, curve: Sequence[int] = ()) -> int:
    """How often a fit asks for outputs, of the starts to learn from and of the unseen ones together."""
    each, others = SOLVERS[solver].evaluations, sum(n for n in curve if n != steps)
    if each > 1:
        return 2 * TEACHER_STEPS + each * (2 * steps + others)
    return 2 * TEACHER_STEPS + (len(PULLS) + 3) * steps + 2 * others


def usual_start(denoiser: Any, steps: int) -> list[float]:
    """The schedule that one would take without a fit: Karras' in VE, even steps in flow."""
    if denoiser.space is FLOW:
        return curves.linear(steps, 0.0, denoiser.sigma_max)
    return curves.karras(steps, denoiser.sigma_min, denoiser.sigma_max)


def _teacher_levels(start: Sequence[float], space: Space) -> list[float]:
    lowest = min(start[-2], 0.002) if len(start) > 2 else 0.002
    levels = curves.karras(TEACHER_STEPS, lowest, start[0], rho=2.0 if space is FLOW else 7.0)
    return [_single(sigma) for sigma in levels]


@dataclass(frozen=True)
class Teacher:
    """A fine run: states [N+1, K, E] and outputs [N, K, E] at its `levels`, of some elements of each state.

    `matters` says how much of an error at a level is left in the picture, if the data were one Gaussian.
    """

    levels: list[float]
    states: Tensor
    outputs: Tensor
    elements: Tensor
    matters: list[float]

    @classmethod
    def walk(cls, starts: Starts, levels: list[float], space: Space) -> Teacher:
        count = starts.x[0].numel()
        elements = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:MOST_ELEMENTS]
        elements = elements.to(starts.x.device)
        states, outputs = [], []
        D = starts.ask(levels[:-1])

        def watched(x: Tensor, sigma: float) -> Tensor:
            x0 = D(x, sigma)
            states.append(x.flatten(1)[:, elements])
            outputs.append(x0.flatten(1)[:, elements])
            return x0

        last = run(make_plan(TEACHER, levels, space), watched, starts.x, _no_noise)
        states.append(last.flatten(1)[:, elements])
        spread = last.std().item()
        matters = [spread / math.hypot(space.alpha(sigma) * spread, sigma) for sigma in levels]
        return cls(levels, torch.stack(states), torch.stack(outputs), elements, matters)

    def paths(self, most: int, pull: float) -> dict[int, list[int]]:
        """Number of steps -> the levels to step on, first and last included, where Euler steps stray least in sum."""
        last = len(self.levels) - 1
        strays = np.full((last + 1, last + 1), np.inf)
        for i in range(last):
            keep = torch.tensor(self.levels[i + 1 :], device=self.states.device)[:, None, None] / self.levels[i]
            reached = keep * self.states[i] + (1 - keep) * self.outputs[i]
            apart = (reached - self.states[i + 1 :]).square().mean(2).sqrt().mean(1)
            strays[i, i + 1 :] = apart.double().cpu().numpy() * np.power(self.matters[i + 1 :], pull)
        cost, before = np.full(last + 1, np.inf), []
        cost[0] = 0.0
        paths = {}
        for steps in range(1, min(most, last) + 1):
            through = cost[:, None] + strays
            before.append(through.argmin(0))
            cost = through.min(0)
            path = [last]
            for origins in reversed(before):
                path.append(int(origins[path[-1]]))
            paths[steps] = path[::-1]
        return paths

    @cached_property
    def products(self) -> Tensor:
        """Inner products [K, n, n] of the states, and then the outputs, of each trajectory."""
        vectors = torch.cat([self.states, self.outputs]).double()
        return torch.einsum("ike,jke->kij", vectors, vectors).cpu()

    def left(self, past: tuple[int, ...], start: int, end: int) -> float:
        """How far a fitted step from level `start` to `end` strays, on the teacher's own states and outputs."""
        count = len(self.levels)
        keep = self.levels[end] / self.levels[start]
        changes = [{count + start: 1.0, start: -1.0}, *({count + p: 1.0, count + start: -1.0} for p in past)]
        parts = torch.zeros(len(changes) + 1, self.products.shape[-1], dtype=torch.float64)
        for part, change in zip(parts, [*changes, {end: 1.0, start: -keep, count + start: keep - 1}], strict=True):
            for index, weight in change.items():
                part[index] += weight
        inner = torch.einsum("ai,kij,bj->kab", parts, self.products, parts)
        return _robust_fit(inner)[1].mean().item()

    def settled(self, path: list[int], pull: float) -> list[int]:
        """The path with its levels moved, one at a time, as long as fitted steps stray less in sum."""
        known: dict[tuple, float] = {}

        def cost(path: list[int]) -> float:
            total = 0.0
            for k, (start, end) in enumerate(pairwise(path)):
                step = (tuple(path[max(0, k - MEMORY + 1) : k]), start, end)
                if step not in known:
                    known[step] = self.left(*step) * self.matters[end] ** pull
                total += known[step]
            return total

        best, stride = cost(path), 4
        while stride:
            moved = False
            for k in range(1, len(path) - 1):
                for shift in (stride, -stride):
                    other = [*path[:k], path[k] + shift, *path[k + 1 :]]
                    if other[k - 1] < other[k] < other[k + 1] and cost(other) < best:
                        path, best, moved = other, cost(other), True
            stride = stride if moved else stride // 2
        return path


def _fit_rows(plan: Plan, train: Starts, teacher: Teacher, path: list[int]) -> tuple[Plan, float]:
    """The plan with weights fitted row by row, along the run that they make; how far that ends from the teacher."""
    D = train.ask(plan.sigmas[:-1])
    state, slots, rows = train.x, {START: train.x}, [plan.rows[0]]
    for index, row in enumerate(plan.rows[1:]):
        slots[Slot("x", index)], slots[Slot("d", index)] = state, D(state, plan.sigmas[index])
        state = sum(weight * slots[slot] for slot, weight in row.terms)
        # Differences only: what never changes its mind is still drawn as it is.
        newest, past = Slot("d", index), range(max(0, index - MEMORY + 1), index)
        changes = [{newest: 1.0, Slot("x", index): -1.0}, *({Slot("d", p): 1.0, newest: -1.0} for p in past)]
        basis = [sum(weight * slots[slot] for slot, weight in change.items()) for change in changes]
        seen = torch.stack([part.flatten(1)[:, teacher.elements] for part in (*basis, state)]).double()
        seen[-1] = teacher.states[path[index + 1]] - seen[-1]
        shares, distance = _robust_fit(torch.einsum("ike,jke->kij", seen, seen).cpu())
        terms = dict(row.terms)
        for share, part, change in zip(shares.tolist(), basis, changes, strict=True):
            state = state + share * part
            for slot, weight in change.items():
                terms[slot] = terms.get(slot, 0.0) + share * weight
        rows.append(Row(row.sigma, row.step, tuple(terms.items())))
    return replace(plan, solver=f"{plan.solver}, fitted", rows=tuple(rows)), distance.mean().item()


def _robust_fit(inner: Tensor) -> tuple[Tensor, Tensor]:
    """Shares [J] of some vectors that bring each trajectory near its target, and how far off [K] each stays.

    `inner` [K, J+1, J+1] are their inner products, the target's last. Least squares reweighted by 1 over each
    trajectory's distance: the sum of distances is made small, not that of squares, which a few that end elsewhere would
    decide.
    """
    gram, aim, size = inner[:, :-1, :-1], inner[:, :-1, -1], inner[:, -1, -1]
    weights = torch.ones_like(size)
    for _ in range(ROUNDS):
        normal = torch.einsum("k,kij->ij", weights, gram)
        normal = normal + torch.diag(RIDGE * normal.diagonal() + 1e-30)
        shares = torch.linalg.solve(normal, weights @ aim)
        left = size - 2 * aim @ shares + torch.einsum("kij,i,j->k", gram, shares, shares)
        distance = left.clamp_min(0).sqrt()
        weights = 1 / (distance + 0.1 * distance.median() + 1e-30)
    return shares, distance


def _figures(drawn: Tensor, reference: Tensor) -> Figures:
    squares = (drawn - reference).flatten(1).square().mean(1)
    return Figures(squares.sqrt().median().item(), squares.mean().sqrt().item())


def _single(sigma: float) -> float:
    """As SIGMAS carry it."""
    return float(np.float32(sigma))


def _no_noise(index: int) -> Tensor:
    raise AssertionError("a fitted plan draws no noise")
