"""ComfyUI's own schedulers: `python oracle_schedules.py SPEC.json RESULT.json`.

Runs with ComfyUI's Python, with ComfyUI's source importable.

SPEC: a list of cases. {"scheduler": NAME, "model": MODEL, "steps": N} asks what KSampler's list has under that name;
{"module": "nodes_custom_sampler", "node": CLASS, "model": MODEL or absent, "options": {...}} asks a scheduler node.
MODEL: {"space": "ve"}, {"space": "flow", "shift": s} or {"space": "flux", "shift": mu}.

RESULT: for each case its sigmas.
"""

from __future__ import annotations

import importlib
import json
import sys
from types import SimpleNamespace

import torch
from comfy.cli_args import args

args.cpu = True  # ComfyUI looks for a device as it is imported

import comfy.model_sampling  # noqa: E402
import comfy.samplers  # noqa: E402


def sampling_of(space: str, shift: float | None = None):
    if space == "ve":
        return comfy.model_sampling.ModelSamplingDiscrete()
    kind = {"flow": comfy.model_sampling.ModelSamplingDiscreteFlow, "flux": comfy.model_sampling.ModelSamplingFlux}
    sampling = kind[space]()
    sampling.set_parameters(shift=shift)
    return sampling


def sigmas_of(case: dict) -> torch.Tensor:
    sampling = sampling_of(**case["model"]) if "model" in case else None
    if "scheduler" in case:
        return comfy.samplers.calculate_sigmas(sampling, case["scheduler"], case["steps"])
    node = getattr(importlib.import_module(f"comfy_extras.{case['module']}"), case["node"])
    options = dict(case["options"])
    if sampling is not None:
        options["model"] = SimpleNamespace(get_model_object={"model_sampling": sampling}.__getitem__)
    return node.execute(**options).result[0]


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    with open(sys.argv[2], "w") as file:
        json.dump([sigmas_of(case).tolist() for case in cases], file)
