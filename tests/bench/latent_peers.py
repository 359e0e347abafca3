"""One peer at one task of latent_nets.py: `python latent_peers.py PEER TASK FOLDER SIDE DTYPE THREADS`.

Prints "ready" once it is, then for each line of its input does the task and prints a JSON of its seconds, and of the
most memory in MB that the process has held. PEER is ours, diffusers or comfyui, TASK one of TASKS; FOLDER holds a model
as diffusers saves it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

SIGMA, GUIDANCE, TOKENS = 3.0, 7.0, 77
NAME = "diffusion_pytorch_model.safetensors"
Task = Callable[[], object]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ours(task: str, folder: Path, side: int, dtype: torch.dtype) -> Task:
    from varifold.models.checkpoint import load_autoencoder, load_denoiser
    from varifold.models.denoising.guidance import guided

    file = folder / NAME
    if task == "load":
        return lambda: touched(load_denoiser(file, dtype=dtype).net)
    if task in ("decode", "strips"):
        autoencoder, latent = load_autoencoder(file, dtype=dtype), normal(1, 4, side // 8, side // 8)
        return lambda: autoencoder.decode(latent, strip=0 if task == "decode" else 64)
    denoiser, x = load_denoiser(file, dtype=dtype), normal(1, 4, side, side)
    if task == "dit":
        positive, negative = {"label": torch.tensor([2])}, None
    else:
        positive, negative = ({"tokens": normal(1, TOKENS, 768, seed=seed)} for seed in (1, 2))
    D = guided(denoiser, [SIGMA], x.shape, positive=positive, negative=negative, scale=GUIDANCE)
    return lambda: D(x, SIGMA)


def diffusers(task: str, folder: Path, side: int, dtype: torch.dtype) -> Task:
    from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel

    kind = {"decode": AutoencoderKL, "dit": DiTTransformer2DModel}.get(task, UNet2DConditionModel)

    def load() -> torch.nn.Module:
        return kind.from_pretrained(folder, torch_dtype=dtype)

    if task == "load":
        return lambda: touched(load())
    net = load()
    if task == "decode":
        latent = normal(1, 4, side // 8, side // 8).to(dtype)
        return lambda: net.decode(latent).sample
    x, timestep, scale = normal(1, 4, side, side), torch.tensor(500), (1 + SIGMA**2) ** -0.5
    if task == "dit":
        conds = {"class_labels": torch.tensor([2, 1000]), "timestep": timestep.expand(2)}
    else:
        tokens = torch.cat([normal(1, TOKENS, 768, seed=seed) for seed in (1, 2)]).to(dtype)
        conds = {"encoder_hidden_states": tokens, "timestep": timestep}

    def step() -> torch.Tensor:
        eps = net((torch.cat([x, x]) * scale).to(dtype), **conds).sample[:, :4].float()
        positive, negative = eps.chunk(2)
        return x - SIGMA * (negative + GUIDANCE * (positive - negative))

    return step


def comfyui(task: str, folder: Path, side: int, dtype: torch.dtype) -> Task:
    from comfy.cli_args import args

    args.cpu = True  # ComfyUI looks for a device as it is imported
    import comfy.samplers
    import comfy.sd
    import comfy.utils

    file = str(folder / NAME)
    if task == "decode":
        vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(file), dtype=dtype)
        latent = normal(1, 4, side // 8, side // 8)
        return lambda: vae.decode(latent)

    def load() -> object:
        return comfy.sd.load_diffusion_model(file, model_options={"dtype": dtype})

    if task == "load":
        return lambda: touched(load().model)
    x = normal(1, 4, side, side)
    guider = comfy.samplers.CFGGuider(load())
    guider.set_conds(*([[normal(1, TOKENS, 768, seed=seed), {}]] for seed in (1, 2)))
    guider.set_cfg(GUIDANCE)

    def step(
        model_k: Callable, x: torch.Tensor, _sigmas: torch.Tensor, extra_args: dict, **_rest: object
    ) -> torch.Tensor:
        sigma = x.new_full([1], SIGMA)
        serve(lambda: model_k(x, sigma, **extra_args))
        return x

    def inside() -> None:
        guider.sample(x, torch.zeros_like(x), comfy.samplers.KSAMPLER(step), torch.tensor([SIGMA, 0.0]), seed=0)

    return inside


def peak() -> float:
    """The most memory that this process has held, in MB; what getrusage tells begins with the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


def touched(net: object) -> float:
    """A sum of all weights: what is mapped and not read is read now."""
    return sum(float(parameter.detach().float().sum()) for parameter in net.parameters())


def serve(task: Task) -> None:
    """Does the task for each line of input."""
    with torch.inference_mode():
        task()
        print("ready", flush=True)
        for _ in sys.stdin:
            began = time.perf_counter()
            result = task()
            seconds = time.perf_counter() - began
            most = peak()
            print(json.dumps({"seconds": seconds, "megabytes": most}), flush=True)
            del result


def serve_loading(task: Task) -> None:
    """The same for what is loaded: nothing beforehand."""
    print("ready", flush=True)
    for _ in sys.stdin:
        before = peak()
        began = time.perf_counter()
        task()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "megabytes": peak() - before}), flush=True)


def main() -> None:
    peer, task, folder, side, dtype, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    made = {"ours": ours, "diffusers": diffusers, "comfyui": comfyui}[peer](
        task, Path(folder), int(side), getattr(torch, dtype)
    )
    if task == "load":
        serve_loading(made)
    elif peer == "comfyui" and task != "decode":
        made()  # ComfyUI guides inside its own sampling, and is served there
    else:
        serve(made)


if __name__ == "__main__":
    main()
