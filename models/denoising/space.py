"""Spaces: where a noisy state lives, x = α(σ)·x0 + σ·ε."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Space:
    """A forward process x = α(σ)·x0 + σ·ε with ε ~ N(0, 1).

    `alpha` takes and returns a float or a tensor; `sigma_limit` is the largest σ that exists.
    These are the numbers on ComfyUI's SIGMAS wires, so schedules pass in and out unchanged.
    """

    name: str
    alpha: Callable[[Any], Any]
    sigma_of_snr: Callable[[float], float]
    sigma_limit: float

    def log_snr(self, sigma: float) -> float:
        """λ(σ) = log(α/σ), half the log signal-to-noise ratio; ∞ at σ = 0 and −∞ where α = 0."""
        if sigma == 0:
            return math.inf
        alpha = self.alpha(sigma)
        return math.log(alpha / sigma) if alpha > 0 else -math.inf

    def sigma(self, log_snr: float) -> float:
        """σ(λ), the inverse of `log_snr` for finite λ."""
        return self.sigma_of_snr(math.exp(log_snr))

    def check(self, sigmas: Sequence[float]) -> None:
        """Raise ValueError unless `sigmas` can be walked down in this space."""
        if len(sigmas) < 2:
            raise ValueError(
                f"the schedule has {len(sigmas)} σ's: it needs at least two, a start and an end "
                "(a schedule node with denoise 0 gives an empty one)"
            )
        for index, sigma in enumerate(sigmas):
            if not (math.isfinite(sigma) and sigma >= 0):
                raise ValueError(f"σ number {index} of the schedule is {sigma}: every σ must be finite and ≥ 0")
        for index, (s, t) in enumerate(pairwise(sigmas)):
            if t >= s:
                raise ValueError(
                    f"the schedule does not descend: σ number {index} is {s:g} and the next is {t:g}; "
                    "sort it, or flip it if it was made for unsampling"
                )
        if sigmas[0] > self.sigma_limit:
            raise ValueError(
                f"the schedule starts at σ = {sigmas[0]:g}, but in {self.name} space σ ends at {self.sigma_limit:g}: "
                "take the schedule's σ range from this denoiser"
            )


VE = Space("ve", alpha=lambda sigma: 1.0, sigma_of_snr=lambda snr: 1 / snr, sigma_limit=math.inf)
FLOW = Space("flow", alpha=lambda sigma: 1 - sigma, sigma_of_snr=lambda snr: 1 / (1 + snr), sigma_limit=1.0)

SPACES = {space.name: space for space in (VE, FLOW)}
