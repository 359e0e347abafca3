"""Errors of solvers on a mixture of 60 Gaussians in 192 dimensions: `python tests/bench/mixture.py [--no-comfyui]`.

64 starts, Karras' curve from 80 to 0.002 and 0, against 800 steps of Heun; at 5, 8, 10, 15 and 20 evaluations. Each
figure is the root of the mean square over all starts, then the median over starts of the error of each. Ours stand
beside diffusers' and ComfyUI's on the same σ's, if they are installed (tests/comfyui/install.py makes a ComfyUI).
A solver of k evaluations a step walks N/k steps, rounded up: as many evaluations as come closest from below, since
its last step asks once.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from comfyui.install import Install, default_folder  # noqa: E402
from diffusers_oracle import data, doubled, epsilon, float64, make, walk  # noqa: E402

from varifold.models.denoising.analytic import GaussianMixture  # noqa: E402
from varifold.models.denoising.space import VE  # noqa: E402
from varifold.models.sampling import schedule  # noqa: E402
from varifold.models.sampling.sample import sample  # noqa: E402
from varifold.models.sampling.solver import SOLVERS  # noqa: E402

EVALUATIONS = (5, 8, 10, 15, 20)
OURS = [name for name, solver in SOLVERS.items() if not solver.stochastic and not solver.asks_for_negatives]
ONLY_OURS = {"deis_log", "dpm_solver_3", "dpmpp_2s", "dpmpp_3m", "plms", "res_2s", "res_3s"}


def problem() -> tuple[GaussianMixture, Tensor]:
    torch.manual_seed(20261123)
    means = 0.12 * torch.randn(60, 192, dtype=torch.float64)
    variances = 0.004 + 0.08 * torch.rand(60, dtype=torch.float64)
    log_weights = torch.randn(60, dtype=torch.float64).log_softmax(0)
    return GaussianMixture(means, variances, log_weights), 80 * torch.randn(64, 192, dtype=torch.float64)


def steps_of(name: str, evaluations: int) -> int:
    often = SOLVERS[name].evaluations
    return evaluations if often == 1 else (evaluations + often - 1) // often


def sigmas_of(steps: int) -> list[float]:
    return schedule.karras(steps, 0.002, 80.0)


def figures(last: Tensor, reference: Tensor) -> str:
    squares = (last - reference).square().mean(1)
    return f"{squares.mean().sqrt():.4f}/{squares.sqrt().median():.4f}"


def diffusers_euler(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    return walk(make("Euler", sigmas), D, x, sigmas[:-1], epsilon, 0.0)


def diffusers_heun(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    levels = doubled(sigmas)
    return walk(make("Heun", levels), D, x, levels[:-1], epsilon, 0.0)


def diffusers_lms(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    return walk(make("LMS", sigmas), D, x, sigmas[:-1], epsilon, 0.0)


def diffusers_dpmpp_2m(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    return walk(make("DPM", sigmas, prediction_type="sample"), D, x, sigmas[:-1], data, 0.0, vp=True)


def diffusers_uni_pc(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    scheduler = make("UniPC", sigmas, prediction_type="sample", solver_order=3)
    return walk(scheduler, D, x, sigmas[:-1], data, 0.0, vp=True)


def diffusers_deis(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    """Stopped at 10⁻³, since its step to 0 is not a number."""
    levels = [*sigmas[:-1], 1e-3]
    scheduler = make("DEIS", levels, prediction_type="sample", solver_order=3)
    return walk(scheduler, D, x, levels[:-1], data, levels[-1], vp=True)


def diffusers_ipndm(D: Callable, x: Tensor, sigmas: list[float]) -> Tensor:
    """Given our σ's in the place of its trigonometric ones."""
    total = [math.sqrt(1 + sigma**2) for sigma in sigmas]
    scheduler = make("IPNDM", sigmas)
    scheduler.ets = []
    scheduler.alphas = float64([1 / t for t in total])
    scheduler.betas = float64([sigma / t for sigma, t in zip(sigmas, total, strict=True)])

    def v(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
        return (epsilon(x, x0, sigma) - sigma * x0) / math.sqrt(1 + sigma**2)

    return walk(scheduler, D, x, sigmas[:-1], v, 0.0, vp=True)


DIFFUSERS = {
    "euler": diffusers_euler,
    "heun": diffusers_heun,
    "lms": diffusers_lms,
    "dpmpp_2m": diffusers_dpmpp_2m,
    "uni_pc": diffusers_uni_pc,
    "deis_log": diffusers_deis,
    "ipndm": diffusers_ipndm,
}


def comfyui(install: Install, D: GaussianMixture, x: Tensor, steps: int) -> dict[str, Tensor]:
    """ComfyUI's last states on a schedule of so many steps, for all names at once."""
    mixture = {name: getattr(D, name).tolist() for name in ("means", "variances", "log_weights")}
    spec = {"space": "ve", "sigmas": sigmas_of(steps), "x": x.tolist(), "seed": 0}
    spec |= {"mixture": mixture, "unprompted": mixture}
    names = [name for name in OURS if name not in ONLY_OURS]
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "spec.json"), Path(folder, "result.npz")
        question.write_text(json.dumps({**spec, "samplers": {name: {} for name in names}}))
        command = [install.python, TESTS / "comfyui" / "oracle_samplers.py", question, answer]
        subprocess.run(command, env=install.environment(install.source), check=True, capture_output=True)
        found = np.load(answer)
        return {name: torch.from_numpy(found[f"{name}/x"]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--no-comfyui", action="store_true", help="leave ComfyUI's columns out")
    wants_comfyui = not parser.parse_args().no_comfyui
    torch.set_num_threads(1)
    D, x = problem()
    reference = sample(D, sigmas_of(800), solver="heun", x=x)
    install = Install(default_folder())
    theirs = {}
    if wants_comfyui and install.complete:
        counts = {steps_of(name, evaluations) for name in OURS for evaluations in EVALUATIONS}
        theirs = {steps: comfyui(install, D, x, steps) for steps in sorted(counts)}

    print(f"{'':31}" + "".join(f"{evaluations:>16}" for evaluations in EVALUATIONS))
    for name in OURS:
        walks = [sigmas_of(steps_of(name, evaluations)) for evaluations in EVALUATIONS]
        rows = {"ours": [sample(D, sigmas, solver=name, x=x, space=VE) for sigmas in walks]}
        if name in DIFFUSERS and find_spec("diffusers"):
            rows["diffusers"] = [DIFFUSERS[name](D, x, sigmas) for sigmas in walks]
        if theirs and name not in ONLY_OURS:
            rows["ComfyUI"] = [theirs[len(sigmas) - 1][name] for sigmas in walks]
        for who, lasts in rows.items():
            print(f"{name:20}{who:11}" + "".join(f"{figures(last, reference):>16}" for last in lasts), flush=True)


if __name__ == "__main__":
    main()
