"""How many tensor operations ComfyUI's own sampling issues a step, outside the net: JSON on standard output.

Runs with ComfyUI's Python, with ComfyUI's source importable (the `comfy_operations` fixture calls it).
A stub net that issues none sits in a real BaseModel (EPS, discrete), and `comfy.sample.sample` drives it as KSampler
does, cfg 7, both prompts of one shape. A count is the difference between a longer and a shorter run, a step:

    {SAMPLER: {"operations": not views, "views": ..., "waits": reads by the CPU, "names": {operation: number},
               "microseconds": the median of rounds, uncounted}}
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections import Counter

import torch
from comfy.cli_args import args
from torch.utils._python_dispatch import TorchDispatchMode

args.cpu = True  # ComfyUI looks for a device as it is imported

import comfy.model_base  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.supported_models  # noqa: E402

SAMPLERS = ("euler", "dpmpp_2m", "uni_pc", "dpmpp_2m_sde")
SHORT, LONG = 8, 16
ROUNDS, TIMED = 9, 60
aten = torch.ops.aten
WAITS = {aten.item.default, aten._local_scalar_dense.default, aten.is_nonzero.default}


class StubNet(torch.nn.Module):
    dtype = torch.float32

    def __init__(self, **_config: object):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.ones(2, 4, 8, 8))

    def forward(self, *_inputs: object, **_conditions: object) -> torch.Tensor:
        return self.answer


class OperationCounter(TorchDispatchMode):
    """Counts what reaches the backend, by name and by kind."""

    def __init__(self):
        super().__init__()
        self.kinds: Counter = Counter()
        self.names: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kind = "views" if func.is_view else "waits" if func in WAITS else "operations"
        self.kinds[kind] += 1
        self.names[str(func)] += kind == "operations"
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def sample(model: comfy.model_patcher.ModelPatcher, sampler: str, steps: int) -> None:
    prompt = [[torch.ones(1, 77, 768), {}]]
    latent = torch.zeros(1, 4, 8, 8)
    noise = torch.randn(latent.shape)
    sigmas = torch.cat([torch.linspace(14, 0.1, steps), torch.zeros(1)])
    options = {"sigmas": sigmas, "seed": 1, "disable_pbar": True}
    comfy.sample.sample(model, noise, 1, 7.0, sampler, "simple", prompt, prompt, latent, **options)


def count(model: comfy.model_patcher.ModelPatcher, sampler: str, steps: int) -> OperationCounter:
    with OperationCounter() as counter:
        sample(model, sampler, steps)
    return counter


def microseconds(model: comfy.model_patcher.ModelPatcher, sampler: str) -> float:
    def seconds(steps: int) -> float:
        begin = time.perf_counter()
        sample(model, sampler, steps)
        return time.perf_counter() - begin

    rounds = [(seconds(SHORT + TIMED) - seconds(SHORT)) / TIMED for _ in range(ROUNDS)]
    return statistics.median(rounds) * 1e6


def per_step(model: comfy.model_patcher.ModelPatcher, sampler: str) -> dict[str, object]:
    count(model, sampler, SHORT)
    short, long = (count(model, sampler, steps) for steps in (SHORT, LONG))
    extra = LONG - SHORT
    kinds = {kind: (long.kinds[kind] - short.kinds[kind]) / extra for kind in ("operations", "views", "waits")}
    names = {name: (number - short.names[name]) / extra for name, number in long.names.most_common()}
    names = {name: number for name, number in names.items() if number}
    return {**kinds, "names": names, "microseconds": microseconds(model, sampler)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable()
    config = comfy.supported_models.SD15({"in_channels": 4, "model_channels": 320, "context_dim": 768})
    net = comfy.model_base.BaseModel(config, unet_model=StubNet)
    cpu = torch.device("cpu")
    model = comfy.model_patcher.ModelPatcher(net, load_device=cpu, offload_device=cpu)
    print(json.dumps({sampler: per_step(model, sampler) for sampler in SAMPLERS}))
