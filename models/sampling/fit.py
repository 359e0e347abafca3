"""A schedule and a table of weights fitted to one denoiser, so that few evaluations draw what a fine run would.

A fine run, the teacher, is walked once from many starts. Of its noise levels those are chosen whose steps stray least
from it, by dynamic programming (as GITS does: Chen et al. 2024, arXiv:2405.11326) and then by moving one at a time.
Then each row's weights are fitted, in the order of the run, so that the student's next state is closest to the
teacher's. What was fitted counts only if it wins on starts and prompts that it has not seen.
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
from .sample import run, weighted_sum
from .solver import SOLVERS
from .solver import plan as make_plan

TEACHER_STEPS = 60
TEACHER = "ipndm"
MEMORY = 4  # outputs that a fitted row looks at
RIDGE = 1e-3  # how strongly the solver's own weights are held to, by the size of what they weigh
ROUNDS = 8  # of reweighting; each makes outliers count less
MOST_ELEMENTS = 4096  # of a state that errors are measured on
PULLS = (0.0, 0.5, 1.0)  # how much more errors at low noise count: the power of `Teacher.matters`; the best is taken
AT_ONCE = 2**18  # elements of the states that a net gets in one call
SPREAD_THAT_SHOWS = 0.01  # a typical error of so much of the pictures' spread is called invisible

Ask = Callable[[Sequence[float]], Callable[[Tensor, float], Tensor]]
"""ask(levels) -> D(x, sigma) -> x0: for a run over these levels, from all starts at once."""


@dataclass(frozen=True)
class Starts:
    """Where trajectories start, x [K, C, H, W] at the first level, and the denoiser that knows the prompt of each."""

    x: Tensor
    ask: Ask

    def walk(self, plan: Plan) -> Tensor:
        """The results of a plan without noise."""
        return run(plan, self.ask([row.sigma for row in plan.rows[:-1]]), self.x, _no_noise)


@dataclass(frozen=True)
class Figures:
    """Errors against the teacher, root mean square over the elements of each picture: their median, mean and rms."""

    median: float
    mean: float
    rms: float

    @classmethod
    def of(cls, drawn: Tensor, reference: Tensor) -> Figures:
        squares = (drawn - reference).flatten(1).square().mean(1)
        return cls(squares.sqrt().median().item(), squares.sqrt().mean().item(), squares.mean().sqrt().item())

    def beats(self, other: Figures) -> bool:
        """Whether it is nearer in the median, and no farther in the mean.

        Of a few unseen starts the root mean square would tell only how many end in another picture, which is chance.
        """
        return self.median < other.median and self.mean <= other.mean


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


@torch.no_grad()
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

    `start` is what has to be beaten, on `unseen` starts. Without `weights` the solver keeps its own, as those do
    always that ask between levels. `curve` lists other numbers of steps to measure. Asks for 60 outputs of all starts,
    and for as many more as the plans that are tried have, see `evaluations`. Raises ValueError for a solver that adds
    noise or follows two answers at once.
    """
    chosen = SOLVERS.get(solver)
    if chosen is None or chosen.stochastic or chosen.asks_for_negatives:
        raise ValueError(f"{solver} cannot be fitted: take a solver without noise and without CFG++, such as dpmpp_2m")
    start = [single(sigma) for sigma in start]
    space.check(start)
    if not 2 <= len(start) - 1 <= TEACHER_STEPS // 2 or start[-1] != 0:
        raise ValueError(f"a fit walks 2 to {TEACHER_STEPS // 2} steps, down to σ 0")
    teacher = Teacher.walk(train, teacher_levels(start, space), space)
    reference = unseen.walk(make_plan(TEACHER, teacher.levels, space))
    steps, most = len(start) - 1, max(len(start) - 1, *curve, 1)
    paths = {pull: teacher.paths(most, pull) for pull in PULLS}

    def on(path: list[int]) -> Plan:
        return make_plan(solver, [teacher.levels[index] for index in path], space)

    def weighed(n: int, pull: float) -> tuple[Plan, float]:
        path = teacher.settled(paths[pull][n], pull)
        return fit_rows(on(path), train, teacher, path)

    def try_out(plan: Plan) -> Figures:
        return Figures.of(unseen.walk(plan), reference)

    plans = {}
    if weights and _asks_at_its_levels(make_plan(solver, start, space)):
        tables = {pull: weighed(steps, pull) for pull in PULLS}
        weighing = min(tables, key=lambda pull: tables[pull][1])
        plans["fitted weights"] = tables[weighing][0]
    bare = min(PULLS, key=lambda pull: teacher.missed_by(train.walk(on(paths[pull][steps]))))
    plans |= {"fitted schedule": on(paths[bare][steps]), "usual schedule": make_plan(solver, start, space)}
    figures = {name: try_out(plan) for name, plan in plans.items()}
    better = [name for name in plans if figures[name].beats(figures["usual schedule"])]
    best = min(better, key=lambda name: figures[name].median, default="usual schedule")
    errors = {steps: figures[best].median}
    for n in (n for n in curve if n != steps):
        plan = weighed(n, weighing)[0] if "fitted weights" in plans else on(paths[bare][n])
        errors[n] = try_out(plan).median
    figures = {best: figures[best], **figures}
    return Fit(plans[best], figures, dict(sorted(errors.items())), reference.std().item())


def schedule(
    denoiser: Any,
    steps: int,
    *,
    solver: str = "dpmpp_2m",
    cond: Any = None,
    guidance: float = 1.0,
    trajectories: int = 32,
    seed: int = 0,
) -> list[float]:
    """σ's for `solver` as it is, fitted to one of our denoisers and one condition: N+1 floats that end in 0."""
    train, unseen = of_denoiser(denoiser, [cond], guidance=guidance, trajectories=trajectories, seed=seed)
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
        at_once = max(1, AT_ONCE // noise[0].numel())

        def ask_part(levels: Sequence[float], first: int) -> Callable[[Tensor, float], Tensor]:
            part = each[first : first + at_once]
            positive = None if all(cond is None for cond in part) else denoiser.join(part, 1)
            shape = (len(part), *noise.shape[1:])
            return guided(denoiser, levels, shape, positive=positive, negative=negative, scale=guidance)

        def ask(levels: Sequence[float]) -> Callable[[Tensor, float], Tensor]:
            asks = [ask_part(levels, first) for first in range(0, count, at_once)]

            def in_parts(x: Tensor, sigma: float) -> Tensor:
                return torch.cat([D(part, sigma) for D, part in zip(asks, x.split(at_once), strict=True)])

            return wrap(in_parts)

        return Starts(noise * getattr(denoiser, "pure_noise", float)(denoiser.sigma_max), ask)

    return starts(0, seen, taught), starts(seen, unseen, others)


def shares(trajectories: int) -> tuple[int, int]:
    """How many of so many trajectories are learnt from, and how many stay unseen."""
    unseen = max(1, trajectories // 4)
    return max(1, trajectories - unseen), unseen


def evaluations(steps: int, solver: str, curve: Sequence[int] = ()) -> int:
    """How often a fit asks for outputs, of the starts to learn from and of the unseen ones together."""
    plans = {n: make_plan(solver, curves.linear(n, 0.0, 1.0), FLOW) for n in (steps, *curve)}
    each, others = plans[steps].evaluations, sum(plan.evaluations for n, plan in plans.items() if n != steps)
    if not _asks_at_its_levels(plans[steps]):
        return 2 * TEACHER_STEPS + (len(PULLS) + 2) * each + others
    return 2 * TEACHER_STEPS + (2 * len(PULLS) + 3) * each + 2 * others


def _asks_at_its_levels(plan: Plan) -> bool:
    """Whether each row makes the state at the next level of the schedule: a teacher can then tell what it should be."""
    return tuple(row.sigma for row in plan.rows) == plan.sigmas


def usual_start(denoiser: Any, steps: int) -> list[float]:
    """The schedule that one would take without a fit: Karras' in VE, even steps in flow."""
    if denoiser.space is FLOW:
        return curves.linear(steps, 0.0, denoiser.sigma_max)
    return curves.karras(steps, denoiser.sigma_min, denoiser.sigma_max)


def teacher_levels(start: Sequence[float], space: Space) -> list[float]:
    levels = curves.karras(TEACHER_STEPS, min(start[-2], 0.002), start[0], rho=2.0 if space is FLOW else 7.0)
    return [single(sigma) for sigma in levels]


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
        matters = [spread / (math.hypot(space.alpha(sigma) * spread, sigma) or 1.0) for sigma in levels]
        return cls(levels, torch.stack(states), torch.stack(outputs), elements, matters)

    def missed_by(self, results: Tensor) -> float:
        """How far results of the same starts are from the teacher's, in the mean."""
        return (results.flatten(1)[:, self.elements] - self.states[-1]).norm(dim=1).mean().item()

    def paths(self, most: int, pull: float) -> dict[int, list[int]]:
        """Number of steps -> the levels to step on, first and last included, where Euler steps stray least in sum."""
        last = len(self.levels) - 1
        strays = np.full((last + 1, last + 1), np.inf)
        for i in range(last):
            keep = self.states.new_tensor([level / self.levels[i] for level in self.levels[i + 1 :]])[:, None, None]
            reached = keep * self.states[i] + (1 - keep) * self.outputs[i]
            apart = (reached - self.states[i + 1 :]).square().mean(2).sqrt().mean(1)
            strays[i, i + 1 :] = apart.cpu().double().numpy() * np.power(self.matters[i + 1 :], pull)
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
        each = torch.cat([self.states, self.outputs]).unbind(1)
        return torch.stack([vectors @ vectors.T for vectors in (part.cpu().double() for part in each)])

    def left(self, past: tuple[int, ...], start: int, end: int) -> float:
        """How far a fitted step from level `start` to `end` strays, on the teacher's own states and outputs."""
        count, keep = len(self.levels), self.levels[end] / self.levels[start]
        newest = count + start
        changes = [{newest: 1.0, start: -1.0}, *({count + p: 1.0, newest: -1.0} for p in past)]
        changes.append({end: 1.0, start: -keep, newest: keep - 1})
        involved = [start, newest, end, *(count + p for p in past)]
        parts = [[change.get(index, 0.0) for index in involved] for change in changes]
        parts = torch.tensor(parts, dtype=torch.float64)
        inner = torch.einsum("ai,kij,bj->kab", parts, self.products[:, involved][:, :, involved], parts)
        return robust_fit(inner)[1].mean().item()

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


def fit_rows(plan: Plan, train: Starts, teacher: Teacher, path: list[int]) -> tuple[Plan, float]:
    """The plan with weights fitted row by row, along the run that they make; how far that ends from the teacher."""
    D = train.ask(plan.sigmas[:-1])
    state, slots, rows = train.x, {START: train.x}, [plan.rows[0]]
    for index, row in enumerate(plan.rows[1:]):
        slots[Slot("x", index)], slots[Slot("d", index)] = state, D(state, plan.sigmas[index]).to(state.dtype)
        # Differences only: the sum of the weights, and so the mean of the picture, stays the solver's own.
        newest, past = Slot("d", index), range(max(0, index - MEMORY + 1), index)
        changes = [{newest: 1.0, Slot("x", index): -1.0}, *({Slot("d", p): 1.0, newest: -1.0} for p in past)]
        basis = [sum(weight * slots[slot] for slot, weight in change.items()) for change in changes]
        own = weighted_sum(row.terms, slots)
        seen = torch.stack([part.flatten(1)[:, teacher.elements] for part in (*basis, own)]).cpu().double()
        seen[-1] = teacher.states[path[index + 1]].cpu() - seen[-1]
        shares, distance = robust_fit(torch.einsum("ike,jke->kij", seen, seen))
        terms = dict(row.terms)
        for share, change in zip(shares.tolist(), changes, strict=True):
            for slot, weight in change.items():
                terms[slot] = terms.get(slot, 0.0) + share * weight
        rows.append(Row(row.sigma, row.step, tuple(terms.items())))
        state = weighted_sum(rows[-1].terms, slots)
    return replace(plan, solver=f"{plan.solver}, fitted", rows=tuple(rows)), distance.mean().item()


def robust_fit(inner: Tensor) -> tuple[Tensor, Tensor]:
    """Shares [J] of some vectors that bring each trajectory near its target, and how far off [K] each stays.

    `inner` [K, J+1, J+1] are their inner products, the target's last. Least squares reweighted by 1 over each
    trajectory's distance: the sum of distances is made small, not that of squares, which a few that end elsewhere would
    decide.
    """
    gram, aim, size = inner[:, :-1, :-1], inner[:, :-1, -1], inner[:, -1, -1]
    weights = torch.ones_like(size)
    for _ in range(ROUNDS):
        normal = torch.einsum("k,kij->ij", weights, gram)
        sizes = normal.diagonal().clamp_min(0)
        normal = normal + torch.diag(RIDGE * sizes + 1e-12 * sizes.max() + 1e-30)
        shares = torch.linalg.solve(normal, weights @ aim)
        left = size - 2 * aim @ shares + torch.einsum("kij,i,j->k", gram, shares, shares)
        distance = left.clamp_min(0).sqrt()
        weights = 1 / (distance + 0.1 * distance.median() + 1e-30)
    return shares, distance


def single(sigma: float) -> float:
    """As SIGMAS carry it."""
    return float(np.float32(sigma))


def _no_noise(index: int) -> Tensor:
    raise AssertionError("a fitted plan draws no noise")
