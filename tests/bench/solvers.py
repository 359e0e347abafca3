"""The page of all solvers, with their measured errors: `python tests/bench/solvers.py > docs/solvers.md`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from bench.mixture import EVALUATIONS, figures, problem, sigmas_of  # noqa: E402
from exact import answering, no_noise  # noqa: E402

from varifold.models.denoising.analytic import GaussianMixture  # noqa: E402
from varifold.models.denoising.space import FLOW  # noqa: E402
from varifold.models.sampling import schedule, solver  # noqa: E402
from varifold.models.sampling.plan import Plan  # noqa: E402
from varifold.models.sampling.sample import run, sample  # noqa: E402
from varifold.models.sampling.solver import SOLVERS  # noqa: E402

REFERENCE_STEPS = 800

INTRODUCTION = """\
# Solvers

Made by `python tests/bench/solvers.py > docs/solvers.md`.

A name that ComfyUI uses means ComfyUI's algorithm and defaults. *Order* is how fast the error of the result falls on
smooth schedules, measured, of solvers that add noise without it (`eta` 0): at 2, half the step leaves a quarter.
Schedules whose first or last step does not shrink, as Karras's, leave order 2 of higher ones that look back.
*Evaluations* are those of a step; the last step to σ 0 takes one. `plms` takes one more at its start, `heunpp2` fewer
in its last two steps, `sa_solver_pece` one fewer at its start.
"""

ERRORS = """\
## Measured errors

What is left of the exact result after 5, 8, 10, 15 and 20 evaluations, on a mixture of 60 Gaussians in 192 dimensions
against 800 steps of Heun: the root of the mean square over 64 starts, then the median of the errors of each. A solver
that asks several times a step walks as many steps as fit; a dash: not one does. Solvers that add noise have no exact
result to be held to, and those that end in `cfg_pp` are, without guidance, what their name says without it.
"""

NOTES = """\
## The same under other names

| diffusers | here |
|---|---|
| EulerDiscrete, FlowMatchEulerDiscrete, DDIM without η | `euler`, `ddim` |
| EulerAncestralDiscrete, LTXEulerAncestralRF | `euler_ancestral` in VE, in flow space |
| HeunDiscrete, FlowMatchHeunDiscrete | `heun` |
| KDPM2Discrete | `dpm_2` |
| LMSDiscrete | `lms` |
| IPNDM | `ipndm` |
| PNDM with `skip_prk_steps` | `plms` |
| DEISMultistep | `deis_log` |
| DPMSolverMultistep, dpmsolver, order 2, heun | `deis_log`, `order` 2 |
| DPMSolverMultistep, dpmsolver++, order 2, VE | `dpmpp_2m`; with heun `res_multistep` |
| DPMSolverMultistep, dpmsolver++, order 2, flow | `dpmpp_2m_sde`, `eta` 0 |
| DPMSolverMultistep, dpmsolver++, order 3 | `dpmpp_3m_sde`, `eta` 0 |
| DPMSolverMultistep, sde-dpmsolver++, order 2 | `dpmpp_2m_sde` |
| DPMSolverSinglestep, dpmsolver++, order 2, midpoints as levels | `dpmpp_2s`; with heun `res_2s` |
| DPMSolverSDE | `dpmpp_sde` |
| UniPCMultistep | `uni_pc`, by `order` and `variant` |
| DDPM | `ddpm` |
| LCM, FlowMatchLCM | `lcm` |
| TCD | `tcd` |

Names of ComfyUI's that end in `_gpu` are those without; in Python they work too.

## Where these deviate

- `ddpm`, `res_multistep_ancestral`, and the ancestral ones with `cfg_pp` but Euler's: in flow space ComfyUI adds the
  noise that VE needs. Here the states have the spread that the denoiser expects.
- `deis`, `er_sde`: integrals where ComfyUI sums 10,000 and 200 points.
- Flow models start at σ = 1, where log-SNR is −∞. ComfyUI starts a little lower there; these take the limit.
- `sa_solver`: noise between the times 0.2 and 0.8 of Stable Diffusion's levels (in flow space, of σ), not of the
  MODEL's.
- `uni_pc`: stops at σ 0.001 where a schedule ends in 0, as ComfyUI's; diffusers gives the last output.

## What to know

- `heunpp2` weighs its slopes by σ over the schedule's first σ, and so is of order 1.
- `dpmpp_3m_sde` weighs the bend of its parabola with half, as in k-diffusion: without noise it is of order 2.
  `dpmpp_3m` has the whole weight, and order 3.
- `ipndm` and `plms` have the weights of an even grid: on grids that change abruptly they are of order 1. `ipndm_v` does
  not converge there at all.
- `dpmpp_2s_ancestral_cfg_pp` subtracts, as ComfyUI's does, what its second look says without the prompt from what its
  first says with it: it comes to no exact result, however many its steps.
- With noise no solver is of more than order 2 in the spread of its results.
- dpm_adaptive chooses its steps from what it sees: it is no table, has no number of steps to show the progress of, and
  asks for steps again. So it is in Python only: `varifold.models.dpm_adaptive`.
"""


def table(head: str, rows: list[tuple]) -> str:
    columns = head.split(", ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def static_table() -> str:
    """What the code says of each solver."""
    rows = [
        (
            f"`{name}`",
            str(entry.order or "–"),
            str(entry.evaluations),
            "VE, flow",
            "yes" if entry.stochastic else "no",
            ", ".join(f"`{knob}`" for knob in entry.knobs) or "–",
            entry.paper,
        )
        for name, entry in SOLVERS.items()
    ]
    return table("solver, order, evaluations, space, adds noise, knobs, paper", rows)


def longest(name: str, evaluations: int, make, space) -> Plan | None:
    """The plan of the most steps that takes no more than so many evaluations."""
    plans = (solver.plan(name, make(steps), space) for steps in range(evaluations, 0, -1))
    return next((plan for plan in plans if plan.evaluations <= evaluations and plan.steps > 1), None)


def error_table(D: GaussianMixture, x: Tensor, make) -> str:
    reference = sample(D, make(REFERENCE_STEPS), solver="heun", x=x)
    rows = []
    for name, entry in SOLVERS.items():
        if entry.stochastic or entry.asks_for_negatives:
            continue
        plans = [longest(name, evaluations, make, D.space) for evaluations in EVALUATIONS]
        lasts = [plan and run(plan, answering(plan, D), x, no_noise) for plan in plans]
        rows.append((f"`{name}`", *("–" if last is None else figures(last, reference) for last in lasts)))
    return table(f"solver, {', '.join(map(str, EVALUATIONS))}", rows)


def main() -> None:
    torch.set_num_threads(1)
    D, x = problem()
    flow = GaussianMixture(D.means, D.variances, D.log_weights, FLOW)
    print(INTRODUCTION, static_table(), ERRORS, sep="\n")
    print("VE, Karras' curve from 80 to 0.002 and 0:\n", error_table(D, x, sigmas_of), sep="\n")
    print(
        "Flow, even steps from 1 to 0:\n",
        error_table(flow, x / 80, lambda steps: schedule.linear(steps, 0.0, 1.0)),
        sep="\n",
    )
    print(NOTES, end="")


if __name__ == "__main__":
    main()
