"""Noise Schedule: which noise levels a run walks through."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..models.sampling import schedule
from . import wires
from .host import current

DRAWN = "[[0, 80], [0.5, 1.5], [1, 0.002]]"


def _given(knobs: dict, names: tuple[str, ...]) -> dict:
    """Those knobs that are not at 0, which is the usual."""
    return {name: knobs[name] for name in names if knobs[name]}


def _picked(make: Callable, *names: str) -> Callable:
    return lambda steps, knobs: make(steps, knobs["table"], **_given(knobs, names))


def _between(make: Callable, *names: str) -> Callable:
    return lambda steps, knobs: make(steps, knobs["low"], knobs["high"], **_given(knobs, names))


def _sized(make: Callable, pixels: int, *names: str) -> Callable:
    """Of the size in squares of so many pixels."""
    return lambda steps, knobs: make(steps, knobs["width"] * knobs["height"] / pixels, **_given(knobs, names))


def _published(make: Callable) -> Callable:
    return lambda steps, knobs: make(steps, **({} if knobs["family"] == USUAL else {"family": knobs["family"]}))


CURVES: dict[str, Callable[[int, dict], list[float]]] = {
    "karras": _between(schedule.karras, "rho"),
    "exponential": _between(schedule.exponential),
    "polyexponential": _between(schedule.polyexponential, "rho"),
    "linear": _between(schedule.linear),
    "cosine": _between(schedule.cosine),
    "simple": _picked(schedule.simple),
    "normal": _picked(schedule.normal),
    "vp": lambda steps, knobs: schedule.vp(steps),
    "drawn": lambda steps, knobs: schedule.from_points(steps, _points(knobs["points"])),
    "sgm_uniform": _picked(schedule.sgm_uniform),
    "ddim_uniform": _picked(schedule.ddim_uniform),
    "beta": _picked(schedule.beta, "alpha", "beta"),
    "beta_sigmas": _between(schedule.beta_sigmas, "alpha", "beta"),
    "laplace": _between(schedule.laplace, "mu", "beta"),
    "linear_quadratic": lambda steps, knobs: schedule.linear_quadratic(steps, knobs["high"]),
    "sd_turbo": lambda steps, knobs: schedule.sd_turbo(steps, knobs["table"], knobs["denoise"]),
    "align_your_steps": _published(schedule.align_your_steps),
    "gits": lambda steps, knobs: schedule.gits(steps, knobs["coefficient"]),
    "optimal_steps": _published(schedule.optimal_steps),
    "flux": _sized(schedule.flux, 16 * 16),
    "flux2": _sized(schedule.flux2, 16 * 16),
    "ltxv": _sized(schedule.ltxv, 32 * 32),
    "ideogram4": _sized(schedule.ideogram4, 1, "mu"),
}
_RANGE, _TABLE, _SIZE = ("sigma_max", "sigma_min"), ("betas", "zero_terminal_snr"), ("width", "height")
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
    "sgm_uniform": _TABLE,
    "ddim_uniform": _TABLE,
    "beta": (*_TABLE, "alpha", "beta"),
    "beta_sigmas": (*_RANGE, "alpha", "beta"),
    "laplace": (*_RANGE, "mu", "beta"),
    "linear_quadratic": ("sigma_max",),
    "sd_turbo": _TABLE,
    "align_your_steps": ("family",),
    "gits": ("coefficient",),
    "optimal_steps": ("family",),
    "flux": _SIZE,
    "flux2": _SIZE,
    "ltxv": _SIZE,
    "ideogram4": (*_SIZE, "mu"),
}
OWN_DENOISE = {"sd_turbo"}
BETAS = ["scaled_linear", "linear"]
USUAL = "usual"
FAMILIES = [USUAL, "sd1", "sdxl", "svd", "flux", "wan", "chroma"]


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
        shape = {"default": 0.0, "min": 0.0, "max": 50.0, "step": 0.05, "round": 0.001}
        side = {"default": 1024, "min": 16, "max": 16384}
        return {
            "required": {
                "curve": (
                    list(CURVES),
                    {
                        "tooltip": "How the levels are spaced. karras suits most; linear suits flow models; simple, "
                        "normal and beta are those of discrete models; drawn goes through your points. The help "
                        "tells of them all."
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
                    {**level, "tooltip": "Highest level. 0: the denoiser's or model's, or 80."},
                ),
                "sigma_min": (
                    "FLOAT",
                    {
                        **level,
                        "tooltip": "Last level above 0. 0: the denoiser's or model's, or 0.002.",
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
                    {"tooltip": "Without a MODEL: how the discrete model was trained (SD: scaled_linear)."},
                ),
                "zero_terminal_snr": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Without a MODEL: start from pure noise exactly."},
                ),
                "points": (
                    "STRING",
                    {"default": DRAWN, "tooltip": "drawn: a list of [position, σ], from position 0 to 1, σ falling."},
                ),
            },
            "optional": {
                "denoiser": (
                    "VARIFOLD_DENOISER",
                    {"tooltip": "Take the σ range, and the levels it was trained on, from this denoiser."},
                ),
                "model": (
                    "MODEL",
                    {"tooltip": "Take the σ range, and the levels it was trained on, from it."},
                ),
                "alpha": ("FLOAT", {**shape, "tooltip": "beta, beta_sigmas: below 1 more steps at low noise. 0: 0.6."}),
                "beta": (
                    "FLOAT",
                    {
                        **shape,
                        "tooltip": "beta, beta_sigmas: below 1 more steps at high noise. laplace: the width. "
                        "0: the usual, 0.6 and 0.5.",
                    },
                ),
                "mu": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": -10.0,
                        "max": 10.0,
                        "step": 0.1,
                        "tooltip": "laplace: the log σ where most steps are. ideogram4: higher, more at high noise.",
                    },
                ),
                "family": (
                    FAMILIES,
                    {
                        "tooltip": "Whose levels. align_your_steps: sd1 (usual), sdxl, svd. "
                        "optimal_steps: flux (usual), wan, chroma."
                    },
                ),
                "coefficient": (
                    "FLOAT",
                    {
                        "default": 1.2,
                        "min": 0.8,
                        "max": 1.5,
                        "step": 0.05,
                        "tooltip": "gits: higher, more steps at low noise.",
                    },
                ),
                "width": ("INT", {**side, "tooltip": "flux to ideogram4: of the picture, in pixels."}),
                "height": ("INT", {**side, "tooltip": "flux to ideogram4: of the picture, in pixels."}),
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
        alpha=0.0,
        beta=0.0,
        mu=0.0,
        family=USUAL,
        coefficient=1.2,
        width=1024,
        height=1024,
    ):
        model = getattr(denoiser, "model", None) if model is None else model
        if model is not None:
            table = current().models.sigma_table(model)
        else:
            trained_at = getattr(denoiser, "table", None)
            table = list(trained_at or schedule.discrete(betas, zero_terminal_snr=zero_terminal_snr))
        low, high = (0.002, 80.0) if model is None else (table[0], table[-1])
        if denoiser is not None:
            low, high = denoiser.sigma_min, denoiser.sigma_max
        knobs = {
            "low": sigma_min or low,
            "high": sigma_max or high,
            "rho": rho,
            "table": table,
            "points": points,
            "denoise": denoise,
            "alpha": alpha,
            "beta": beta,
            "mu": mu,
            "family": family,
            "coefficient": coefficient,
            "width": width,
            "height": height,
        }

        def full(steps: int) -> list[float]:
            sigmas = CURVES[curve](steps, knobs)
            return sigmas if shift == 1 else schedule.flow_shift(sigmas, shift)

        own = curve in OWN_DENOISE and denoise > 0
        sigmas = wires.sigmas_out(full(steps) if own else schedule.last_part(full, steps, denoise))
        if (sigmas[1:] >= sigmas[:-1]).any():
            lower = ", or a lower rho" if "rho" in USED[curve] else ""
            raise ValueError(f"{curve} puts levels closer together than SIGMAS can tell apart: take fewer steps{lower}")
        return (sigmas,)
