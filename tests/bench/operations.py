"""What a step costs beside the net: `python tests/bench/operations.py [--no-comfyui]`.

Operations that are not views, views, waits for a number, and microseconds (the median of rounds), a step, with cfg and
a net of ε that issues none; ours beside ComfyUI's KSampler and a pipeline of diffusers, as far as they are installed.
Ours include the check for NaN. Solvers are timed in turn, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from comfyui.install import Install, default_folder  # noqa: E402
from counting import LONG, SHAPE, SHORT, OperationCounter, StubNet, per_step  # noqa: E402

from varifold.models.denoising.denoiser import Denoiser  # noqa: E402
from varifold.models.denoising.precondition import eps  # noqa: E402
from varifold.models.sampling import schedule  # noqa: E402
from varifold.models.sampling.sample import sample  # noqa: E402
from varifold.models.sampling.solver import SOLVERS, plan  # noqa: E402

STEPS, ROUNDS = 60, 9

DIFFUSERS = {
    "euler": ("EulerDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "uni_pc": ("UniPCMultistepScheduler", {"solver_order": 3, "solver_type": "bh1"}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
}


def comfyui() -> dict:
    install = Install(default_folder())
    if not install.complete:
        return {}
    command = [install.python, TESTS / "comfyui" / "oracle_operations.py"]
    done = subprocess.run(command, env=install.environment(install.source), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@torch.no_grad()
def pipeline(name: str, steps: int) -> None:
    """Diffusers' scheduler in the loop of its Stable Diffusion pipeline."""
    import diffusers

    key, config = DIFFUSERS[name]
    scheduler = getattr(diffusers, key)(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **config)
    scheduler.set_timesteps(steps)
    net, x = StubNet(), torch.zeros(1, *SHAPE)
    for timestep in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([x, x]), timestep)
        negative, positive = net(both, None).chunk(2)
        x = scheduler.step(negative + 7.0 * (positive - negative), timestep, x, return_dict=False)[0]


def pipeline_counts(name: str) -> dict[str, float]:
    def kinds(steps: int) -> dict[str, int]:
        with OperationCounter() as counter:
            pipeline(name, steps)
        return counter.kinds

    kinds(SHORT)
    short, long = kinds(SHORT), kinds(LONG)
    return {kind: (long[kind] - short[kind]) / (LONG - SHORT) for kind in ("operations", "views", "waits")}


def microseconds(run: Callable[[int], None]) -> float:
    """Of a step: what a longer run takes more than a short one."""

    def seconds(steps: int) -> float:
        begin = time.perf_counter()
        run(steps)
        return time.perf_counter() - begin

    return (seconds(SHORT + STEPS) - seconds(SHORT)) / STEPS * 1e6


def ours(name: str, guidance: float = 7.0) -> Callable[[int], None]:
    net = StubNet(batch=1 if guidance == 1 else 2)
    denoiser = Denoiser(net, eps(), shape=SHAPE, sigma_min=0.002, sigma_max=80.0)
    plans = {steps: plan(name, schedule.karras(steps, 0.002, 80.0)) for steps in (SHORT, SHORT + STEPS)}

    def run(steps: int) -> None:
        cond = {"words": torch.zeros(1, 1, 4)}
        sample(denoiser, plans[steps].sigmas, solver=plans[steps], cond=cond, guidance=guidance)

    return run


def in_turn(runs: dict[str, Callable[[int], None]]) -> dict[str, float]:
    rounds = [{name: microseconds(run) for name, run in runs.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(found[name] for found in rounds) for name in runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--no-comfyui", action="store_true", help="leave ComfyUI out")
    theirs = {} if parser.parse_args().no_comfyui else comfyui()
    torch.set_num_threads(1)
    times = in_turn({name: ours(name) for name in SOLVERS})
    peers = list(DIFFUSERS) if find_spec("diffusers") else []
    pipeline_times = in_turn({name: lambda steps, name=name: pipeline(name, steps) for name in peers})
    print(f"{'a step':36} operations   views   waits   microseconds")
    for name in SOLVERS:
        rows = {"ours": {**per_step(name, precondition=eps), "microseconds": times[name]}}
        if name in peers:
            rows["diffusers"] = {**pipeline_counts(name), "microseconds": pipeline_times[name]}
        if name in theirs:
            rows["ComfyUI"] = theirs[name]
        for who, found in rows.items():
            counts = f"{found['operations']:10.1f} {found['views']:7.1f} {found['waits']:7.1f}"
            print(f"{name:30} {who:10} {counts} {found['microseconds']:9.0f}")


if __name__ == "__main__":
    main()
