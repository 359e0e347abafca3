"""What Toy Denoiser shows in its node: points on their way from noise to data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .solver import Choice

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.toy import Toy

MOST_POINTS = 400
MOST_FRAMES = 64
MOST_EVALUATIONS = 500


def flow(toy: Toy, sigmas: list[float], choice: Choice, seed: int, points: int) -> dict[str, Any]:
    """The run that Sampler would make of a toy, for the first `points` pixels of picture 0.

    frames: the states, [x, y, x, y, ...] each: at most 64 of those that the denoiser is asked about, and the final one.
    Of each frame, sigmas: its σ; scales: √(α² + σ²), by which it is larger than the data; steps: how many it has taken.
    data: as many points of the true distribution.
    Raises ValueError for a schedule that does not fit the toy, and for a run that is too long to show.
    """
    import torch

    from ..models.sampling.noise import Noise
    from ..models.sampling.sample import run

    plan = choice.plan(sigmas, toy.space)
    if plan.evaluations > MOST_EVALUATIONS:
        raise ValueError(
            f"this run asks the denoiser {plan.evaluations} times, too often to show here: "
            f"up to {MOST_EVALUATIONS} are shown. Sampler runs it all the same"
        )
    streams = Noise(seed, [0], toy.shape)
    states: list[Tensor] = []

    def noise(index: int) -> Tensor:
        return streams(index).flatten(2)[..., :points, None]

    def D(x: Tensor, sigma: float) -> Tensor:
        states.append(x)
        return toy(x, sigma)

    states.append(run(plan, D, noise(0) * sigmas[0], noise))
    last = len(states) - 1
    most = min(MOST_FRAMES, last)
    shown = [round(index * last / most) for index in range(most + 1)]
    rows = [plan.rows[index] for index in shown]
    return {
        "frames": [_flat(states[index][0, :, :, 0].T) for index in shown],
        "sigmas": [row.sigma for row in rows],
        "scales": [math.hypot(toy.space.alpha(row.sigma), row.sigma) for row in rows],
        "steps": [*(row.step for row in rows[:-1]), plan.steps],
        "solver": plan.solver,
        "data": _flat(toy.draw(points, torch.Generator().manual_seed(0))),
    }


def _flat(points: Tensor) -> list[float]:
    return [round(number, 4) for number in points.flatten().tolist()]
