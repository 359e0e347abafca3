"""Solver: how a run steps from one noise level to the next, for our Sampler and ComfyUI's alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..models.sampling.solver import SOLVERS
from . import wires
from .host import current

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.space import Space
    from ..models.sampling.plan import Plan

VARIANTS = {name: list(solver.variants) for name, solver in SOLVERS.items() if solver.variants}


@dataclass(frozen=True)
class Choice:
    """A solver and its knobs, to be planned once the schedule is known."""

    name: str
    knobs: tuple[tuple[str, Any], ...] = ()

    def plan(self, sigmas: list[float], space: Space) -> Plan:
        from ..models import solver

        return solver.plan(self.name, sigmas, space, **dict(self.knobs))


def as_sampler_function(choice: Choice) -> Callable:
    """The function that ComfyUI's custom samplers call on a SAMPLER wire; `choice_of` reads the choice back."""

    def varifold(model, x: Tensor, sigmas: Tensor, extra_args=None, callback=None, disable=None) -> Tensor:
        from ..models import run
        from ..models.sampling.noise import Noise

        levels = wires.sigmas_in(sigmas)
        if len(levels) < 2:
            return x
        extra_args = extra_args or {}
        models = current().models
        facts = models.facts(models.model_inside(model))
        plan = choice.plan(levels, facts.space)
        noise = Noise(extra_args.get("seed") or 0, range(x.shape[0]), x.shape[1:], x.device, x.dtype)
        rows, shown = iter(plan.rows), set()
        pairs = plan.asks_for_negatives
        if pairs:
            extra_args, negative = models.catching_negatives(extra_args)

        def D(x: Tensor, sigma: float) -> Any:
            x0 = model(x, x.new_full([x.shape[0]], sigma), **extra_args)
            step = next(rows).step
            if callback is not None and step not in shown:
                shown.add(step)
                callback({"i": step, "x": x, "denoised": x0, "sigma": sigma, "sigma_hat": sigma})
            return (x0, negative()) if pairs else x0

        return run(plan, D, x, lambda number: noise(number) * facts.noise_scale)

    varifold.choice = choice
    return varifold


def choice_of(sampler: Any) -> Choice:
    """The solver on a SAMPLER wire. Raises ValueError for one that is not Varifold's."""
    choice = getattr(getattr(sampler, "sampler_function", None), "choice", None)
    if not isinstance(choice, Choice):
        raise ValueError(
            "this SAMPLER is not Varifold's: wire Solver (Varifold), or unplug it and choose a solver here"
        )
    return choice


class VarifoldSolver:
    DESCRIPTION = "A solver with its knobs, for Sampler (Varifold) and for ComfyUI's SamplerCustom nodes."
    SEARCH_ALIASES = ["sampler", "ksampler select", "dpm++", "euler", "heun", "sampler custom"]
    CATEGORY = "Varifold"
    FUNCTION = "choose"
    RETURN_TYPES = ("SAMPLER",)
    RETURN_NAMES = ("sampler",)
    OUTPUT_TOOLTIPS = (
        "The solver, for the sampler input of Sampler (Varifold), SamplerCustom and SamplerCustomAdvanced.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "solver": (list(SOLVERS), {"tooltip": solver_tooltip()}),
                "eta": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 10.0,
                        "step": 0.01,
                        "tooltip": "Solvers that add noise, but for ddpm, lcm and tcd: how much. 0 adds none.",
                    },
                ),
                "s_noise": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 10.0,
                        "step": 0.001,
                        "tooltip": "Solvers that add noise, but for ddpm: the strength of what they add.",
                    },
                ),
                "order": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 4,
                        "tooltip": f"{_users('order')}: how many steps they look at. 0: the usual.",
                    },
                ),
                "variant": (
                    list(dict.fromkeys(["usual", *chain.from_iterable(VARIANTS.values())])),
                    {
                        "tooltip": "dpmpp_2m_sde: midpoint or heun; uni_pc: bh1 or bh2; seeds_2 and exp_heun_2_x0: "
                        "phi_1 or phi_2; er_sde: er or reverse. usual: ComfyUI's choice."
                    },
                ),
                "r": (
                    "FLOAT",
                    {
                        "default": 0.5,
                        "min": 0.05,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": f"{_users('r')}: where the second look of a step is, as a share of it in log σ.",
                    },
                ),
            },
            "optional": {
                "gamma": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 5.0,
                        "step": 0.01,
                        "tooltip": "gradient_estimation: how much of the new slope it follows, usually 2; "
                        "tcd: how much noise it adds, usually 0.3. 0: the usual.",
                    },
                ),
            },
        }

    def choose(self, solver, eta, s_noise, order, variant, r, gamma=0.0):
        given = {"eta": eta, "s_noise": s_noise, "order": order or None, "r": r, "gamma": gamma or None}
        given["variant"] = None if variant == "usual" else variant
        known = SOLVERS[solver].knobs
        if given["variant"] and variant not in VARIANTS.get(solver, ()):
            choices = " or ".join(["usual", *VARIANTS.get(solver, ())])
            raise ValueError(f"{solver} has no variant {variant}: set variant to {choices}")
        knobs = {name: value for name, value in given.items() if name in known and value is not None}
        return (current().sampler(as_sampler_function(Choice(solver, tuple(knobs.items())))),)


def _users(knob: str) -> str:
    return ", ".join(name for name, solver in SOLVERS.items() if knob in solver.knobs)


def solver_tooltip() -> str:
    return "\n".join(f"{name}: {solver.about}" for name, solver in SOLVERS.items())
