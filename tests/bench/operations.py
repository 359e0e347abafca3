"""What a step costs beside the net: `python tests/bench/operations.py [--no-comfyui]`.

Operations that are not views and waits for a number, a step, with cfg and a net that issues none; ours beside
ComfyUI's KSampler, as far as it is installed. Then microseconds a step of ours, with guidance and without, solvers in
turn so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from comfyui.install import Install, default_folder  # noqa: E402
from counting import SHAPE, StubNet, per_step  # noqa: E402

from varifold.models.denoising.denoiser import Denoiser  # noqa: E402
from varifold.models.denoising.precondition import edm  # noqa: E402
from varifold.models.sampling import schedule, solver  # noqa: E402
from varifold.models.sampling.sample import sample  # noqa: E402
from varifold.models.sampling.solver import SOLVERS  # noqa: E402

STEPS, ROUNDS = 100, 9


def comfyui_counts() -> dict:
    install = Install(default_folder())
    if not install.complete:
        return {}
    command = [install.python, TESTS / "comfyui" / "oracle_operations.py"]
    done = subprocess.run(command, env=install.environment(install.source), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def print_counts(theirs: dict) -> None:
    print("a step             operations   views   waits")
    for name in SOLVERS:
        for who, found in (("ours", per_step(name)), ("ComfyUI", theirs.get(name))):
            if found:
                print(f"{name:16} {who:8} {found['operations']:4.1f} {found['views']:7.1f} {found['waits']:7.1f}")


def microseconds(name: str, guidance: float, plan: solver.Plan) -> float:
    net = StubNet(batch=1 if guidance == 1 else 2)
    denoiser = Denoiser(net, edm(), shape=SHAPE, sigma_min=0.002, sigma_max=80.0)
    begin = time.perf_counter()
    sample(denoiser, plan.sigmas, solver=plan, cond={"words": torch.zeros(1, 1, 4)}, guidance=guidance)
    return (time.perf_counter() - begin) / STEPS * 1e6


def print_times() -> None:
    sigmas = schedule.karras(STEPS, 0.002, 80.0)
    plans = {name: solver.plan(name, sigmas) for name in SOLVERS}
    cases = [(name, guidance) for name in SOLVERS for guidance in (1.0, 7.0)]
    rounds = [{case: microseconds(*case, plans[case[0]]) for case in cases} for _ in range(ROUNDS)]
    print("\nmicroseconds a step (median)   alone   guided")
    for name in SOLVERS:
        alone, guided = (statistics.median(found[name, guidance] for found in rounds) for guidance in (1.0, 7.0))
        print(f"{name:28} {alone:7.0f} {guided:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--no-comfyui", action="store_true", help="leave ComfyUI's counts out")
    wants_comfyui = not parser.parse_args().no_comfyui
    torch.set_num_threads(1)
    print_counts(comfyui_counts() if wants_comfyui else {})
    print_times()


if __name__ == "__main__":
    main()
