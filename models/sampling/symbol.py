"""Symbols: run a solver on them and the table of its weights comes out.

A solver is written as its paper writes it, for tensors. `trace` calls it with symbols instead, which add up weights
in double precision, and writes down a row whenever the solver asks the denoiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from .plan import START, Plan, Row, Slot


class Increment(NamedTuple):
    """A Brownian increment from σ `high` down to `low`, scaled to unit variance."""

    high: float
    low: float


class Symbol:
    """A weighted sum of slots and Brownian increments."""

    def __init__(self, weights: dict[Slot | Increment, float]):
        self.weights = weights

    def __add__(self, other: Symbol) -> Symbol:
        weights = dict(self.weights)
        for key, weight in other.weights.items():
            weights[key] = weights.get(key, 0.0) + weight
        return Symbol(weights)

    def __mul__(self, factor: float) -> Symbol:
        return Symbol({key: weight * factor for key, weight in self.weights.items()})

    __rmul__ = __mul__

    def __neg__(self) -> Symbol:
        return self * -1.0

    def __sub__(self, other: Symbol) -> Symbol:
        return self + -other

    def __truediv__(self, divisor: float) -> Symbol:
        return Symbol({key: weight / divisor for key, weight in self.weights.items()})


class Steps:
    """The pairs (σ, next σ) of a schedule, iterated once; `index` tells which one is being walked."""

    def __init__(self, sigmas: Sequence[float]):
        self.sigmas = list(sigmas)
        self.index = 0

    def __len__(self) -> int:
        return len(self.sigmas) - 1

    def __iter__(self) -> Iterator[tuple[float, float]]:
        for index, pair in enumerate(pairwise(self.sigmas)):
            self.index = index
            yield pair


class _Row(NamedTuple):
    sigma: float
    step: int
    weights: dict[Slot | Increment, float]


def trace(solver: Callable[..., Symbol], sigmas: Sequence[float], name: str, space: str) -> Plan:
    """The Plan of `solver(D, x, steps, W, U)` on `sigmas`.

    D(x, sigma) -> the denoiser's output at state x; U() -> what it says there without the prompt; W(high, low) -> a
    unit Brownian increment between two σ's.
    """
    steps = Steps(sigmas)
    rows: list[_Row] = []

    def close_row(x: Symbol, sigma: float) -> int:
        rows.append(_Row(sigma, steps.index, x.weights))
        return len(rows) - 1

    def D(x: Symbol, sigma: float) -> Symbol:
        state = close_row(x, sigma)
        # From here on the solver's x means the state just made, not the sum that made it.
        x.weights = {Slot("x", state): 1.0}
        return Symbol({Slot("d", state): 1.0})

    def U() -> Symbol:
        return Symbol({Slot("u", len(rows) - 1): 1.0})

    def W(high: float, low: float) -> Symbol:
        return Symbol({Increment(high, low): 1.0})

    close_row(solver(D, Symbol({START: 1.0}), steps, W, U), sigmas[-1])
    atoms = Atoms(key for row in rows for key in row.weights if isinstance(key, Increment))
    return Plan(name, space, tuple(sigmas), tuple(_plain(row, atoms) for row in rows))


class Atoms:
    """Brownian increments split at each other's ends, so that overlapping ones agree.

    Atom i is unit noise number i + 1, counted down from the highest σ.
    """

    def __init__(self, increments: Iterator[Increment]):
        whole = set(increments)
        ends = sorted({sigma for increment in whole for sigma in increment}, reverse=True)
        self.spans = [Increment(a, b) for a, b in pairwise(ends) if any(high >= a and b >= low for high, low in whole)]

    def split(self, increment: Increment) -> Iterator[tuple[Slot, float]]:
        """The atoms of an increment with their weights, √(share of its length)."""
        length = increment.high - increment.low
        for index, (high, low) in enumerate(self.spans):
            if increment.high >= high and low >= increment.low:
                yield Slot("n", index + 1), math.sqrt((high - low) / length)


def _plain(row: _Row, atoms: Atoms) -> Row:
    weights: dict[Slot, float] = {}
    for key, weight in row.weights.items():
        parts = atoms.split(key) if isinstance(key, Increment) else [(key, 1.0)]
        for slot, share in parts:
            weights[slot] = weights.get(slot, 0.0) + weight * share
    return Row(row.sigma, row.step, tuple((slot, weight) for slot, weight in weights.items() if weight))
