"""How long, how fast and how evenly a net is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

LENGTHS = (0.05, 0.1)


@dataclass(frozen=True)
class Settings:
    """`images` is the number of pictures seen in all, `batch` of them a step.

    The learning rate rises over `warmup` steps, and falls linearly to zero over the last `decay` of the pictures.
    Gradients longer than `clip` are shortened. `lengths` are those of the averages of the weights that are kept, as
    shares of the training so far (σ_rel of Karras et al. 2024, arXiv:2312.02696, section 3).
    Raises ValueError, naming the field, for what no training can have.
    """

    images: int = 1_000_000
    batch: int = 64
    rate: float = 1.2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: int = 150
    decay: float = 0.5
    clip: float = 1.0
    lengths: tuple[float, ...] = LENGTHS
    seed: int = 0

    def __post_init__(self):
        for name, low, high in (
            ("images", 1, math.inf),
            ("batch", 1, math.inf),
            ("rate", 0, 10),
            ("warmup", 0, math.inf),
            ("decay", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} should be {low} to {high}, not {getattr(self, name)}")
        if not all(0 < length < 0.28 for length in self.lengths):
            raise ValueError(f"lengths should be shares between 0 and 0.28, not {self.lengths}")

    @property
    def steps(self) -> int:
        return -(-self.images // self.batch)

    def rate_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        left = (self.steps - step) / max(1.0, self.steps * self.decay)
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup), max(0.0, left))


def power(length: float) -> float:
    """The γ of the power function average t^γ whose spread is `length`, 0..0.28, of the time trained.

    It solves σ_rel = √(γ+1) / ((γ+2)·√(γ+3)) (Karras et al. 2024, arXiv:2312.02696, appendix C.1).
    """
    low, high = 0.0, length**-1
    for _ in range(60):
        middle = (low + high) / 2
        too_long = (middle + 1) ** 0.5 / ((middle + 2) * (middle + 3) ** 0.5) > length
        low, high = (middle, high) if too_long else (low, middle)
    return (low + high) / 2


def kept_at(step: int, gamma: float) -> float:
    """The share of an average that step 0, 1, ... keeps: β = (1 - 1/t)^(γ+1), t = step + 1 (ibid., equation 127)."""
    return (1 - 1 / (step + 1)) ** (gamma + 1)
