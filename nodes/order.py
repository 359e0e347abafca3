"""What Sampler is asked for, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.sampling.plan import Plan
    from ..models.sampling.trace import Trace


@dataclass(frozen=True)
class Order:
    """A plan and Sampler's other inputs, as they came on its wires."""

    plan: Plan
    guidance: float
    seed: int
    batch: int
    width: int
    height: int
    positive: Any
    negative: Any
    image: Any
    mask: Any
    latent: Any
    vae: Any
    noise: Any


class Drawn(NamedTuple):
    """Colours [B, H, W, 3] and alpha [B, H, W], on the CPU, the LATENT, the trace, and notes for the report."""

    rgb: Tensor
    alpha: Tensor
    latent: dict[str, Any]
    trace: Trace
    notes: list[str]
