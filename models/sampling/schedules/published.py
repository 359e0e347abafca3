"""Schedules that others searched for on their own models and published as numbers, for use on models like those.

Each has N+1 levels from a published list, or between its levels in log σ where N is another number; the last one is
then set to 0, as ComfyUI does.
"""

from __future__ import annotations

from ...denoising.timesteps import discrete
from .gits_levels import CHOICES, LEVELS
from .spacing import Schedule, check_steps, log_linear

# Of 10 steps, from the authors' page, research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html.
AYS_TIMESTEPS = {
    "sd1": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0),
}
AYS_SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)

# As in ComfyUI's OptimalStepsScheduler: flux and wan are the authors', github.com/bebebe666/OptimalSteps.
OPTIMAL_STEPS = {
    "flux": (0.9968, 0.9886, 0.9819, 0.975, 0.966, 0.9471, 0.9158, 0.8287, 0.5512, 0.2808, 0.001),
    "wan": (
        *(1.0, 0.997, 0.995, 0.993, 0.991, 0.989, 0.987, 0.985, 0.98, 0.975, 0.973, 0.968, 0.96, 0.946, 0.927, 0.902),
        *(0.864, 0.776, 0.539, 0.208, 0.001),
    ),
    "chroma": (
        *(0.992, 0.99, 0.988, 0.985, 0.982, 0.978, 0.973, 0.968, 0.961, 0.953, 0.943, 0.931, 0.917, 0.9, 0.881, 0.858),
        *(0.832, 0.802, 0.769, 0.731, 0.69, 0.646, 0.599, 0.55, 0.501, 0.451, 0.402, 0.355, 0.311, 0.27, 0.232, 0.199),
        *(0.169, 0.143, 0.12, 0.101, 0.084, 0.07, 0.058, 0.048, 0.001),
    ),
}


GITS_LEVELS = [float(level) for level in LEVELS.split()]


def align_your_steps(steps: int, family: str = "sd1") -> Schedule:
    """Sabour et al. 2024, arXiv:2404.14507. `family`: "sd1", "sdxl" or "svd"."""
    _check_family("align_your_steps", family, [*AYS_TIMESTEPS, "svd"])
    table = discrete()
    levels = AYS_SVD if family == "svd" else [table[timestep] for timestep in AYS_TIMESTEPS[family]]
    return _resampled(levels, steps)


def optimal_steps(steps: int, family: str = "flux") -> Schedule:
    """Pei et al. 2025, arXiv:2503.21774, for flow models. `family`: "flux", "wan" or "chroma"."""
    _check_family("optimal_steps", family, list(OPTIMAL_STEPS))
    return _resampled(OPTIMAL_STEPS[family], steps)


def gits(steps: int, coefficient: float = 1.2) -> Schedule:
    """Chen et al. 2024, arXiv:2405.11326, for Stable Diffusion 1.5; a list of its own for each N up to 20.

    A higher `coefficient`, 0.8 to 1.5, gives more steps to low noise; the nearest of those published is taken.
    """
    if not min(CHOICES) <= coefficient <= max(CHOICES):
        raise ValueError(f"gits knows coefficients from {min(CHOICES)} to {max(CHOICES)}, not {coefficient:g}")
    check_steps(steps)
    lists = CHOICES[min(CHOICES, key=lambda known: abs(known - coefficient))].split("/")
    between = lists[min(steps, len(lists) + 1) - 2].split() if steps > 1 else []
    return _resampled([GITS_LEVELS[int(index)] for index in (0, *between, -1)], steps)


def _check_family(curve: str, family: str, known: list[str]) -> None:
    if family not in known:
        raise ValueError(f"{curve} has no levels for {family!r}: choose {', '.join(known)}")


def _resampled(levels: Schedule, steps: int) -> Schedule:
    check_steps(steps)
    levels = list(levels) if len(levels) == steps + 1 else log_linear(levels, steps + 1)
    return [*levels[:-1], 0.0]
