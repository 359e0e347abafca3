"""ComfyUI's own samplers on a Gaussian mixture, in float64: `python oracle_samplers.py SPEC.json RESULT.npz`.

Runs with ComfyUI's Python, with ComfyUI's source importable (the `comfy_samplers` fixture calls it).

SPEC: {"space": "ve" | "flow", "sigmas": [N+1 numbers], "x": [B][d], "seed": int,
       "mixture": {"means": [K][d], "variances": [K], "log_weights": [K]},
       "unprompted": the same, what CFG++ samplers hear that the denoiser says without the prompt,
       "samplers": {KEY: {option: value}}}
KEY is a name of ComfyUI's, and may go on after a colon: "dpmpp_2m_sde:heun". Options are its own keywords.

RESULT holds, for each KEY:
    KEY/x            [B,d]      the last state
    KEY/evaluations  [E]        sigma of each call of the denoiser
    KEY/requests     [R,2]      (sigma, sigma_next) of each call of the noise sampler
    KEY/noises       [R,B,d]    the answers: a Brownian path's increment / sqrt(sigma - sigma_next)
    KEY/breakpoints  [P]        all sigmas that were asked for, descending
    KEY/increments   [P-1,B,d]  the path's unit normals between neighbouring breakpoints
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import torch
from comfy.cli_args import args

args.cpu = True  # ComfyUI looks for a device as it is imported

import comfy.extra_samplers.uni_pc  # noqa: E402
import comfy.k_diffusion.sampling  # noqa: E402
import comfy.model_sampling  # noqa: E402


class VESampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    pass


class FlowSampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    pass


SAMPLING = {"ve": VESampling, "flow": FlowSampling}


class Mixture:
    """E[x0 | x, sigma] of a mixture of isotropic Gaussians."""

    def __init__(self, space: str, means: list, variances: list, log_weights: list):
        self.means, self.variances, self.log_weights = map(tensor, (means, variances, log_weights))
        self.space = space

    def __call__(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        alpha = 1 - s if self.space == "flow" else torch.ones_like(s)
        variances = alpha**2 * self.variances + s**2
        away = x[:, None] - alpha * self.means
        log_likelihood = -0.5 * (x.shape[1] * variances.log() + away.square().sum(-1) / variances)
        share = (self.log_weights + log_likelihood).softmax(-1)
        posterior_means = self.means + (alpha * self.variances / variances)[:, None] * away
        return (share[..., None] * posterior_means).sum(1)


class MixtureModel:
    """A mixture, and another without the prompt, behind the attributes that samplers look at."""

    def __init__(self, space: str, mixture: dict, unprompted: dict):
        self.prompted, self.unprompted = Mixture(space, **mixture), Mixture(space, **unprompted)
        self.evaluations: list[float] = []
        sampling = SAMPLING[space]()
        self.inner_model = SimpleNamespace(
            inner_model=SimpleNamespace(model_sampling=sampling),
            model_patcher=SimpleNamespace(get_model_object={"model_sampling": sampling}.__getitem__),
        )

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict | None = None) -> torch.Tensor:
        self.evaluations.append(float(sigma[0]))
        denoised = self.prompted(x, sigma[0])
        for hear in (model_options or {}).get("sampler_post_cfg_function", []):
            hear({"denoised": denoised, "uncond_denoised": self.unprompted(x, sigma[0])})
        return denoised


class BrownianPath:
    """A noise sampler: one Brownian path in sigma, so that overlapping requests agree."""

    def __init__(self, requests: list[tuple[float, float]], shape: torch.Size, seed: int):
        self.breakpoints: list[float] = []
        for sigma in sorted({sigma for pair in requests for sigma in pair}, reverse=True):
            if not self.breakpoints or self.breakpoints[-1] - sigma > 1e-9 * sigma:  # not twice but for rounding
                self.breakpoints.append(sigma)
        generator = torch.Generator().manual_seed(seed)
        pieces = max(0, len(self.breakpoints) - 1)
        self.increments = torch.randn(pieces, *shape, generator=generator, dtype=torch.float64)
        self.noises: list[torch.Tensor] = []

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        ends = [
            min(range(len(self.breakpoints)), key=lambda i: abs(self.breakpoints[i] - s)) for s in (sigma, sigma_next)
        ]
        first, last = sorted(ends)
        lengths = -tensor(self.breakpoints[first : last + 1]).diff()
        increment = torch.tensordot(lengths.sqrt(), self.increments[first:last], 1)
        sign = 1 if ends == [first, last] else -1
        self.noises.append(sign * increment / math.sqrt(lengths.sum() or 1.0))
        return self.noises[-1].clone()


def tensor(values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def dpm_fast(model, x: torch.Tensor, sigmas: torch.Tensor, **options: object) -> torch.Tensor:
    """As ComfyUI's menu calls it: from the first sigma to the last above 0, in as many evaluations as steps."""
    end = sigmas[-1] if sigmas[-1] > 0 else sigmas[-2]
    return comfy.k_diffusion.sampling.sample_dpm_fast(model, x, end, sigmas[0], len(sigmas) - 1, **options)


def dpm_adaptive(model, x: torch.Tensor, sigmas: torch.Tensor, **options: object) -> torch.Tensor:
    """As ComfyUI's menu calls it: from the first sigma to the last above 0."""
    end = sigmas[-1] if sigmas[-1] > 0 else sigmas[-2]
    return comfy.k_diffusion.sampling.sample_dpm_adaptive(model, x, end, sigmas[0], **options)


SPELLED_OUT = {"dpm_fast": dpm_fast, "dpm_adaptive": dpm_adaptive, "ddim": comfy.k_diffusion.sampling.sample_euler}


def find_sampler(key: str):
    name = key.partition(":")[0]
    if name in SPELLED_OUT:
        return SPELLED_OUT[name]
    if name.startswith("uni_pc"):
        return getattr(comfy.extra_samplers.uni_pc, name.replace("uni_pc", "sample_unipc"))
    return getattr(comfy.k_diffusion.sampling, f"sample_{name}")


def run(key: str, options: dict, spec: dict) -> dict[str, object]:
    """One sampler's arrays: once to learn what noise it asks for, and once with a path through all of it."""
    sampler, x = find_sampler(key), tensor(spec["x"])
    requests: list[tuple[float, float]] = []

    def listen(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        requests.append((float(sigma), float(sigma_next)))
        return torch.zeros_like(x)

    def sample(noise_sampler) -> tuple[torch.Tensor, list[float]]:
        model = MixtureModel(spec["space"], spec["mixture"], spec["unprompted"])
        takes_noise = "noise_sampler" in inspect.signature(sampler).parameters
        noise = {"noise_sampler": noise_sampler} if takes_noise else {}
        last = sampler(model, x.clone(), tensor(spec["sigmas"]), extra_args={}, disable=True, **noise, **options)
        return last, model.evaluations

    last, evaluations = sample(listen)
    path = BrownianPath(requests, x.shape, spec["seed"])
    if requests:
        last, evaluations = sample(path)
    return {
        "x": last,
        "evaluations": evaluations,
        "requests": np.reshape(requests, (-1, 2)),
        "noises": np.reshape(path.noises, (-1, *x.shape)),
        "breakpoints": path.breakpoints,
        "increments": path.increments,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # for the coefficients that ComfyUI makes without naming a type
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    results = {key: run(key, options, spec) for key, options in spec["samplers"].items()}
    arrays = {f"{key}/{name}": value for key, found in results.items() for name, value in found.items()}
    np.savez(sys.argv[2], **arrays)
