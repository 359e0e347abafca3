"""Toy Denoiser: points of the plane, for those who want to see what a schedule and a solver do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models.denoising.space import SPACES
from ..models.denoising.strokes import MODES, SHAPES, SPREAD
from .host import current

if TYPE_CHECKING:
    from ..models.denoising.toy import Toy


class VarifoldToy:
    DESCRIPTION = (
        "An exact denoiser of points in the plane: every pixel of a picture is a point. "
        "The node shows them flow from noise to data, with the schedule and the solver that are wired to it."
    )
    SEARCH_ALIASES = ["two moons", "2d", "gaussian mixture", "flow visualization", "teaching", "toy model"]
    CATEGORY = "Varifold"
    FUNCTION = "make"
    RETURN_TYPES = ("VARIFOLD_DENOISER",)
    RETURN_NAMES = ("denoiser",)
    OUTPUT_TOOLTIPS = ("The denoiser, for Noise Schedule, Guidance and Sampler. It takes no prompt.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "shape": (list(SHAPES), {"tooltip": "What the points make up. mixture: Gaussians on a circle."}),
                "modes": (
                    "INT",
                    {
                        "default": 2,
                        "min": MODES[0],
                        "max": MODES[1],
                        "tooltip": "How many moons, rings, arms or Gaussians.",
                    },
                ),
                "spread": (
                    "FLOAT",
                    {
                        "default": 0.05,
                        "min": SPREAD[0],
                        "max": SPREAD[1],
                        "step": 0.01,
                        "round": 0.001,
                        "tooltip": "How wide each line or Gaussian is; the whole has a deviation of 1.",
                    },
                ),
                "space": (
                    list(SPACES),
                    {
                        "tooltip": "How noise is added. ve: x0 + σ·noise, σ from 10 down. "
                        "flow: (1 − σ)·x0 + σ·noise, σ from 1 down."
                    },
                ),
            }
        }

    def make(self, shape, modes, spread, space):
        denoiser = toy_of(shape, modes, spread, space)
        current().adopt(denoiser)
        return (denoiser,)


def toy_of(shape: str, modes: int, spread: float, space: str) -> Toy:
    """The toy that these widgets say."""
    from ..models.denoising.toy import Toy

    return Toy(shape, modes, spread, SPACES[space])
