"""Inversion: the noise from which a denoiser would have drawn a given picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ..denoising.space import Space
from ..sampling.watch import Observer, Watch

ROUNDS = 3


class Step(NamedTuple):
    """Euler's step, or DDIM's, from one σ down to another: the next state is keep·x + take·x0."""

    keep: float
    take: float

    @classmethod
    def between(cls, high: float, low: float, space: Space) -> Step:
        return cls(low / high, space.alpha(low) - space.alpha(high) * low / high)


def evaluations(sigmas: Sequence[float], rounds: int = ROUNDS) -> int:
    """How often `invert` asks the denoiser."""
    return rounds * (len(sigmas) - 1)


@torch.no_grad()
def invert(
    D: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Sequence[float],
    space: Space,
    *,
    rounds: int = ROUNDS,
    observe: Observer | None = None,
) -> list[Tensor]:
    """The states at all of the descending `sigmas` from which Euler's steps lead to x [B, ...], the state at the last.

    D(x, sigma) -> x0 is asked `rounds` times a step. One is DDIM inversion (Song et al. 2021, arXiv:2010.02502), which
    takes what D says of the state before the step for what it says of the state after it; more solve for the state
    after it, as a fixed point (Pan et al. 2023, arXiv:2309.04907), by Anderson's way to make it converge sooner.
    Raises `watch.NonFinite` if D returns NaN or infinity.
    """
    space.check(sigmas)
    watch = Watch(evaluations(sigmas, rounds), x.device, observe, pictures=False)
    states = [x]
    for index, (low, high) in enumerate(pairwise(reversed(sigmas))):
        step = Step.between(high, low, space)
        # Where all of a change in x is noise to the denoiser the first is exact, and the second where none of it is.
        ahead, nearer = 1 / (step.keep or 1), 1 / (step.keep + step.take)
        guess, tried, residuals = x, [], []
        for number in range(rounds):
            x0 = D(guess, high).to(x)
            watch.record(index * rounds + number, high, x0)
            residual = x - step.keep * guess - step.take * x0
            if number == 0:
                guess = guess + ahead * residual
                continue
            tried.append(guess)
            residuals.append(residual)
            guess = _mixed(tried, residuals, nearer)
        x = guess
        states.append(x)
    watch.finish()
    return states[::-1]


def _mixed(tried: list[Tensor], residuals: list[Tensor], gain: float) -> Tensor:
    """The mixture of what was tried whose residual is least, moved on by that."""
    state, residual = tried[-1], residuals[-1]
    if len(tried) > 1:
        steps = torch.stack([b - a for a, b in pairwise(tried)], -1).flatten(1, -2)
        changes = torch.stack([b - a for a, b in pairwise(residuals)], -1).flatten(1, -2)
        share = torch.linalg.pinv(changes.mT @ changes, hermitian=True) @ (changes.mT @ residual.flatten(1)[..., None])
        state = state - (steps @ share).view_as(state)
        residual = residual - (changes @ share).view_as(state)
    return state + gain * residual
