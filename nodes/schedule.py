"""Noise Schedule: which noise levels a run walks through."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..models.sampling import schedule
from . import wires
from .host import current

DRAWN = "[[0, 80], [0.5, 1.5], [1, 0.002]]"


def _discrete(make: Callable) -> Callable:
    return lambda steps, knobs: make(steps, knobs["table"])


def _between(make: Callable, *names: str) -> Callable:
    def curve(steps: int, knobs: dict) -> list[float]:
        return make(steps, knobs["low"], knobs["high"], **{name: knobs[name] for name in names if knobs[name]})

    return curve


CURVES: dict[str, Callable[[int, dict], list[float]]] = {
    "karras": _between(schedule.karras, "rho"),
    "exponential": _between(schedule.exponential),
    "polyexponential": _between(schedule.polyexponential, "rho"),
    "linear": _between(schedule.linear),
    "cosine": _between(schedule.cosine),
    "simple": _discrete(schedule.simple),
    "normal": _discrete(schedule.normal),
    "vp": lambda steps, knobs: schedule.vp(steps),
    "drawn": lambda steps, knobs: schedule.from_points(steps, _points(knobs["points"])),
}
_RANGE, _TABLE = ("sigma_max", "sigma_min"), ("betas", "zero_terminal_snr")
# The knobs that make a difference to each curve, beside steps, denoise and shift.
USED: dict[str, tuple[str, ...]] = {
    "karras": (*_RANGE, "rho"),
    "exponential": _RANGE,
    "polyexponential": (*_RANGE, "rho"),
    "linear": _RANGE,
    "cosine": _RANGE,
    "simple": _TABLE,
    "normal": _TABLE,
    "vp": (),
    "drawn": ("points",),
}
BETAS = ["scaled_linear", "linear"]


def _points(text: str) -> list[tuple[float, float]]:
    try:
        return [(float(position), float(sigma)) for position, sigma in json.loads(text)]
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"points should be a list like {DRAWN}, position and σ of each: {error}") from error


class VarifoldSchedule:
    DESCRIPTION = "The noise levels (σ) that a run walks down, one step each."
    SEARCH_ALIASES = ["scheduler", "sigmas", "noise schedule", "karras", "basic scheduler", "flow shift", "timesteps"]
    CATEGORY = "Varifold"
    FUNCTION = "make"
    RETURN_TYPES = ("SIGMAS",)
    RETURN_NAMES = ("sigmas",)
    OUTPUT_TOOLTIPS = ("Descending noise levels, one more than steps; for Sampler and for ComfyUI's custom samplers.",)

    @classmethod
    def INPUT_TYPES(cls):
        level = {"default": 0.0, "min": 0.0, "max": 100000.0, "step": 0.01, "round": 0.00001}
        return {
            "required": {
                "curve": (
                    list(CURVES),
                    {
                        "tooltip": "How the levels are spaced. karras suits most; linear suits flow models; simple and "
                        "normal are those of discrete models; drawn goes through your points."
                    },
                ),
                "steps": (
                    "INT",
                    {
                        "default": 18,
                        "min": 1,
                        "max": 1000,
                        "tooltip": "More steps: slower, closer to the exact result.",
                    },
                ),
                "denoise": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": "Below 1: only the last steps of a longer schedule, to rework a picture. 0: none.",
                    },
                ),
                "sigma_max": (
                    "FLOAT",
                    {**level, "tooltip": "Highest level, for karras to cosine. 0: the denoiser's or model's, or 80."},
                ),
                "sigma_min": (
                    "FLOAT",
                    {
                        **level,
                        "tooltip": "Last above 0, for karras to cosine. 0: the denoiser's or model's, or 0.002.",
                    },
                ),
                "rho": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.1,
                        "tooltip": "karras, polyexponential: higher, more steps at low noise. 0: the usual, 7 and 1.",
                    },
                ),
                "shift": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.01,
                        "max": 100.0,
                        "step": 0.01,
                        "tooltip": "Flow models: above 1 spends more steps at high noise, for big pictures. 1: none.",
                    },
                ),
                "betas": (
                    BETAS,
                    {"tooltip": "simple and normal without a MODEL: the process of the model (SD: scaled_linear)."},
                ),
                "zero_terminal_snr": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "simple and normal without a MODEL: start from pure noise exactly."},
                ),
                "points": (
                    "STRING",
                    {"default": DRAWN, "tooltip": "drawn: a list of [position, σ], from position 0 to 1, σ falling."},
                ),
            },
            "optional": {
                "denoiser": (
                    "VARIFOLD_DENOISER",
                    {"tooltip": "Take the σ range of karras to cosine from this denoiser."},
                ),
                "model": (
                    "MODEL",
                    {"tooltip": "Take the σ range, and the table of simple and normal, from it."},
                ),
            },
        }

    def make(
        self,
        curve,
        steps,
        denoise,
        sigma_max,
        sigma_min,
        rho,
        shift,
        betas,
        zero_terminal_snr,
        points,
        denoiser=None,
        model=None,
    ):
        model = getattr(denoiser, "model", None) if model is None else model
        if model is not None:
            table = current().models.sigma_table(model)
        else:
            table = schedule.discrete(betas, zero_terminal_snr=zero_terminal_snr)
        low, high = (0.002, 80.0) if model is None else (table[0], table[-1])
        if denoiser is not None:
            low, high = denoiser.sigma_min, denoiser.sigma_max
        knobs = {"low": sigma_min or low, "high": sigma_max or high, "rho": rho, "table": table, "points": points}

        def full(steps: int) -> list[float]:
            sigmas = CURVES[curve](steps, knobs)
            return sigmas if shift == 1 else schedule.flow_shift(sigmas, shift)

        sigmas = wires.sigmas_out(schedule.last_part(full, steps, denoise))
        if (sigmas[1:] >= sigmas[:-1]).any():
            raise ValueError(
                f"{curve} puts levels closer together than SIGMAS can tell apart: take fewer steps, or a lower rho"
            )
        return (sigmas,)
