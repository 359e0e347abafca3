"""Solvers by name: pure functions from a schedule to a Plan."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..denoising.space import VE, Space
from .plan import Plan
from .solvers import cfg_pp, exponential, multistep, runge_kutta, stochastic
from .symbol import trace

BOUNDS = {"order": (1, 4), "eta": (0.0, 100.0), "s_noise": (0.0, 100.0), "r": (0.01, 1.0)}
"""What a knob may be."""


@dataclass(frozen=True)
class Solver:
    """A solver's function and what a user wants to know before choosing it.

    `order` is that of the global error as smooth schedules get finer, measured (for stochastic solvers with eta 0;
    0: it has none). Schedules whose first or last step does not shrink, as Karras's, leave 2 of the higher ones.
    `evaluations` is how often a step asks the denoiser.
    """

    function: Callable
    order: int
    evaluations: int
    about: str
    variants: tuple[str, ...] = ()

    @property
    def knobs(self) -> dict[str, Any]:
        """The keyword arguments it takes, with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def stochastic(self) -> bool:
        return "W" in inspect.signature(self.function).parameters

    @property
    def asks_for_negatives(self) -> bool:
        """Whether it wants to know what the denoiser says without the prompt (CFG++)."""
        return "U" in inspect.signature(self.function).parameters

    def __call__(
        self, D: Callable, x: Any, steps: Any, space: Space, W: Callable, U: Callable | None = None, **knobs: Any
    ) -> Any:
        """Run on symbols or on tensors.

        D(x, sigma) -> x0, W(high, low) -> unit noise, U() -> x0 without the prompt at the state that D was asked about
        last, `steps` a `symbol.Steps`. The function gets of space, W and U those that it names.
        """
        for knob, value in knobs.items():
            if knob not in self.knobs:
                raise ValueError(f"unknown knob {knob!r}: this solver has {', '.join(self.knobs) or 'none'}")
            if knob == "variant" and value not in self.variants:
                raise ValueError(f"unknown variant {value!r}: this solver has {', '.join(self.variants)}")
            low, high = BOUNDS.get(knob, (value, value))
            if not low <= value <= high:
                raise ValueError(f"{knob} should be from {low:g} to {high:g}, and is {value:g}")
        offered = {"space": space, "W": W, "U": U}
        named = inspect.signature(self.function).parameters
        return self.function(D, x, steps, **{name: offered[name] for name in offered if name in named}, **knobs)


SOLVERS: dict[str, Solver] = {
    "dpmpp_2m": Solver(exponential.dpmpp_2m, 2, 1, "fast and steady: a good first choice"),
    "ipndm": Solver(multistep.ipndm, 2, 1, "often the most exact, from about 12 steps on"),
    "heun": Solver(runge_kutta.heun, 2, 2, "two evaluations a step; wants 20 evaluations and more"),
    "euler": Solver(runge_kutta.euler, 1, 1, "the plainest; equals DDIM"),
    "euler_ancestral": Solver(stochastic.euler_ancestral, 1, 1, "adds noise each step: livelier, never settles"),
    "dpmpp_2m_sde": Solver(
        stochastic.dpmpp_2m_sde, 2, 1, "adds noise, second order: rich detail from 15 steps on", ("midpoint", "heun")
    ),
    "uni_pc": Solver(
        exponential.uni_pc, 4, 1, "predictor and corrector in one evaluation; needs about 16 steps", ("bh1", "bh2")
    ),
    "deis": Solver(multistep.deis, 3, 1, "exponential Adams-Bashforth in VP time"),
    "ipndm_v": Solver(multistep.ipndm_v, 2, 1, "ipndm with weights that look at the grid"),
    "lms": Solver(multistep.lms, 4, 1, "exact Adams-Bashforth weights: for fine schedules"),
    "dpm_2": Solver(runge_kutta.dpm_2, 2, 2, "midpoint in log σ, two evaluations a step"),
    "dpmpp_sde": Solver(stochastic.dpmpp_sde, 2, 2, "adds noise, two evaluations a step"),
    "ddpm": Solver(stochastic.ddpm, 1, 1, "the original ancestral chain"),
    "euler_cfg_pp": Solver(cfg_pp.euler_cfg_pp, 1, 1, "guided with CFG++: guidance from 0.2 to 1"),
    "euler_ancestral_cfg_pp": Solver(
        cfg_pp.euler_ancestral_cfg_pp, 1, 1, "CFG++, and noise each step: guidance from 0.2 to 1"
    ),
    "lcm": Solver(stochastic.lcm, 0, 1, "for consistency models: 4 to 8 steps"),
}


def plan(name: str, sigmas: Sequence[float], space: Space = VE, **knobs: Any) -> Plan:
    """The table of `name` on a schedule of descending σ's; `knobs` as `SOLVERS[name].knobs` lists them.

    Raises ValueError for an unknown solver or knob, and for a schedule that does not descend.
    """
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}: use one of {', '.join(SOLVERS)}")
    sigmas = [float(sigma) for sigma in sigmas]
    space.check(sigmas)
    solver = SOLVERS[name]

    def run(D: Callable, x: Any, steps: Any, W: Callable, U: Callable) -> Any:
        return solver(D, x, steps, space, W, U, **knobs)

    return trace(run, sigmas, name, space.name)
