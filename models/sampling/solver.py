"""Solvers by name: pure functions from a schedule to a Plan."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..denoising.space import VE, Space
from .plan import Plan
from .solvers import (
    ancestral,
    cfg_pp,
    distilled,
    dpm_solver,
    er_sde,
    exponential,
    gradient_estimation,
    multistep,
    res,
    runge_kutta,
    seeds,
    stochastic,
    stochastic_adams,
)
from .symbol import trace

BOUNDS = {"order": (1, 4), "eta": (0.0, 100.0), "s_noise": (0.0, 100.0), "r": (0.01, 1.0), "gamma": (0.0, 5.0)}
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
    paper: str
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


EDM = "Karras et al. 2022, arXiv:2206.00364"
DDIM = "Song et al. 2021, arXiv:2010.02502"
DDPM = "Ho et al. 2020, arXiv:2006.11239"
DPM = "Lu et al. 2022, arXiv:2206.00927"
DPMPP = "Lu et al. 2022, arXiv:2211.01095"
UNIPC = "Zhao et al. 2023, arXiv:2302.04867"
DEIS = "Zhang & Chen 2022, arXiv:2204.13902"
PNDM = "Liu et al. 2022, arXiv:2202.09778"
EXPONENTIAL = "Hochbruck & Ostermann 2005, doi:10.1137/040611434"
RES = "Zhang et al. 2023, arXiv:2308.02157"
GRADIENT = "Permenter & Yuan 2023, arXiv:2306.04848"
SEEDS = "Gonzalez et al. 2023, arXiv:2305.14267"
ER = "Cui et al. 2023, arXiv:2309.06169"
ADAMS = "Xue et al. 2023, arXiv:2309.05019"
LCM = "Luo et al. 2023, arXiv:2310.04378"
TCD = "Zheng et al. 2024, arXiv:2402.19159"
CFG_PP = "Chung et al. 2024, arXiv:2406.08070"

MIDPOINT, BH, PHI, ER_NOISE = ("midpoint", "heun"), ("bh1", "bh2"), ("phi_1", "phi_2"), ("er", "reverse")

RECOMMENDED = {
    "dpmpp_2m": Solver(exponential.dpmpp_2m, 2, 1, "fast and steady: a good first choice", DPMPP),
    "deis_log": Solver(multistep.deis_log, 3, 1, "the most exact, from about 8 steps on", DEIS),
    "uni_pc": Solver(
        exponential.uni_pc, 4, 1, "predicts and corrects: for flow models; elsewhere from 16 steps on", UNIPC, BH
    ),
    "ipndm": Solver(multistep.ipndm, 2, 1, "exact from about 8 steps on, if levels change evenly", DEIS),
    "euler": Solver(runge_kutta.euler, 1, 1, "the plainest; equals DDIM", EDM),
    "euler_ancestral": Solver(ancestral.euler_ancestral, 1, 1, "adds noise each step: livelier, never settles", DDPM),
    "dpmpp_2m_sde": Solver(
        stochastic.dpmpp_2m_sde, 2, 1, "adds noise, second order: rich detail from 15 steps on", DPMPP, MIDPOINT
    ),
    "er_sde": Solver(er_sde.er_sde, 2, 1, "adds noise at high levels, hardly any at low ones", ER, ER_NOISE),
}

ONE_STEP = {
    "ddim": Solver(runge_kutta.euler, 1, 1, "the same as euler", DDIM),
    "heun": Solver(runge_kutta.heun, 2, 2, "two evaluations a step; wants 20 evaluations and more", EDM),
    "heunpp2": Solver(runge_kutta.heunpp2, 1, 3, "Heun that looks two steps ahead", "none"),
    "dpm_2": Solver(runge_kutta.dpm_2, 2, 2, "midpoint in log σ, two evaluations a step", DPM),
    "dpm_solver_3": Solver(dpm_solver.dpm_solver_3, 3, 3, "three evaluations a step", DPM),
    "dpm_fast": Solver(dpm_solver.dpm_fast, 2, 1, "walks levels of its own, and stops at the last above 0", DPM),
    "dpmpp_2s": Solver(
        exponential.dpmpp_2s, 2, 2, "dpmpp_2m that looks ahead instead of back, two evaluations a step", DPMPP
    ),
    "res_2s": Solver(exponential.res_2s, 2, 2, "exponential Runge-Kutta, two evaluations a step", EXPONENTIAL),
    "res_3s": Solver(exponential.res_3s, 3, 3, "exponential Runge-Kutta, three evaluations a step", EXPONENTIAL),
    "exp_heun_2_x0": Solver(seeds.exp_heun_2_x0, 2, 2, "exponential Heun, two evaluations a step", SEEDS, PHI),
}

MULTISTEP = {
    "dpmpp_3m": Solver(exponential.dpmpp_3m, 3, 1, "dpmpp_2m of third order", DPMPP),
    "res_multistep": Solver(res.res_multistep, 2, 1, "dpmpp_2m with exact weights", RES),
    "uni_pc_bh2": Solver(exponential.uni_pc_bh2, 4, 1, "uni_pc of variant bh2", UNIPC),
    "deis": Solver(multistep.deis, 3, 1, "exponential Adams-Bashforth in VP time", DEIS),
    "ipndm_v": Solver(multistep.ipndm_v, 2, 1, "ipndm with weights that look at the grid", DEIS),
    "plms": Solver(multistep.plms, 2, 1, "ipndm that starts with a Heun step, one evaluation more", PNDM),
    "lms": Solver(multistep.lms, 4, 1, "exact Adams-Bashforth weights: for fine schedules", EDM),
    "gradient_estimation": Solver(
        gradient_estimation.gradient_estimation, 1, 1, "Euler along an extrapolated slope", GRADIENT
    ),
}

ANCESTRAL = {
    "dpm_2_ancestral": Solver(ancestral.dpm_2_ancestral, 2, 2, "adds noise, two evaluations a step", DPM),
    "dpmpp_2s_ancestral": Solver(ancestral.dpmpp_2s_ancestral, 2, 2, "adds noise, two evaluations a step", DPMPP),
    "res_multistep_ancestral": Solver(res.res_multistep_ancestral, 2, 1, "adds noise, looks back one step", RES),
    "ddpm": Solver(stochastic.ddpm, 1, 1, "the original ancestral chain", DDPM),
}

SDE = {
    "dpmpp_sde": Solver(stochastic.dpmpp_sde, 2, 2, "adds noise, two evaluations a step", DPMPP),
    "dpmpp_2m_sde_heun": Solver(stochastic.dpmpp_2m_sde_heun, 2, 1, "dpmpp_2m_sde of variant heun", DPMPP),
    "dpmpp_3m_sde": Solver(stochastic.dpmpp_3m_sde, 2, 1, "adds noise, looks back two steps", DPMPP),
    "exp_heun_2_x0_sde": Solver(seeds.exp_heun_2_x0_sde, 2, 2, "exp_heun_2_x0 that adds noise", SEEDS, PHI),
    "seeds_2": Solver(seeds.seeds_2, 2, 2, "adds noise, two evaluations a step", SEEDS, PHI),
    "seeds_3": Solver(seeds.seeds_3, 3, 3, "adds noise, three evaluations a step", SEEDS),
    "sa_solver": Solver(stochastic_adams.sa_solver, 4, 1, "adds noise in the middle, predicts and corrects", ADAMS),
    "sa_solver_pece": Solver(stochastic_adams.sa_solver_pece, 4, 2, "sa_solver with two evaluations a step", ADAMS),
}

DISTILLED = {
    "lcm": Solver(distilled.lcm, 0, 1, "for consistency models: 4 to 8 steps", LCM),
    "tcd": Solver(distilled.tcd, 1, 1, "for models distilled with TCD: 4 to 8 steps", TCD),
}

PROMPTED = {
    "euler_cfg_pp": Solver(cfg_pp.euler_cfg_pp, 1, 1, "guided with CFG++: guidance from 0.2 to 1", CFG_PP),
    "euler_ancestral_cfg_pp": Solver(
        cfg_pp.euler_ancestral_cfg_pp, 1, 1, "CFG++, and noise each step: guidance from 0.2 to 1", CFG_PP
    ),
    "dpmpp_2m_cfg_pp": Solver(cfg_pp.dpmpp_2m_cfg_pp, 2, 1, "dpmpp_2m with CFG++: guidance from 0.2 to 1", CFG_PP),
    "dpmpp_2s_ancestral_cfg_pp": Solver(
        cfg_pp.dpmpp_2s_ancestral_cfg_pp, 0, 2, "dpmpp_2s_ancestral with CFG++: guidance from 0.2 to 1", CFG_PP
    ),
    "res_multistep_cfg_pp": Solver(
        res.res_multistep_cfg_pp, 2, 1, "res_multistep with CFG++: guidance from 0.2 to 1", CFG_PP
    ),
    "res_multistep_ancestral_cfg_pp": Solver(
        res.res_multistep_ancestral_cfg_pp, 2, 1, "res_multistep_ancestral with CFG++: guidance from 0.2 to 1", CFG_PP
    ),
    "gradient_estimation_cfg_pp": Solver(
        gradient_estimation.gradient_estimation_cfg_pp,
        1,
        1,
        "gradient_estimation with CFG++: guidance from 0.2 to 1",
        CFG_PP,
    ),
}

SOLVERS: dict[str, Solver] = RECOMMENDED | ONE_STEP | MULTISTEP | ANCESTRAL | SDE | DISTILLED | PROMPTED


def plan(name: str, sigmas: Sequence[float], space: Space = VE, **knobs: Any) -> Plan:
    """The table of `name` on a schedule of descending σ's; `knobs` as `SOLVERS[name].knobs` lists them.

    Raises ValueError for an unknown solver or knob, and for a schedule that does not descend.
    """
    name = name.removesuffix("_gpu")  # ComfyUI's twins, which only draw their noise elsewhere
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}: use one of {', '.join(SOLVERS)}")
    sigmas = [float(sigma) for sigma in sigmas]
    space.check(sigmas)
    solver = SOLVERS[name]

    def run(D: Callable, x: Any, steps: Any, W: Callable, U: Callable) -> Any:
        return solver(D, x, steps, space, W, U, **knobs)

    return trace(run, sigmas, name, space.name)
