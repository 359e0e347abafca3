"""diffusers' schedulers, given σ's as they are and walked in float64."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import torch
from exact import no_noise

MODULES = {
    "Euler": ("scheduling_euler_discrete", "EulerDiscreteScheduler"),
    "Heun": ("scheduling_heun_discrete", "HeunDiscreteScheduler"),
    "KDPM2": ("scheduling_k_dpm_2_discrete", "KDPM2DiscreteScheduler"),
    "LMS": ("scheduling_lms_discrete", "LMSDiscreteScheduler"),
    "IPNDM": ("scheduling_ipndm", "IPNDMScheduler"),
    "DPM": ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler"),
    "DPMSDE": ("scheduling_dpmsolver_sde", "DPMSolverSDEScheduler"),
    "UniPC": ("scheduling_unipc_multistep", "UniPCMultistepScheduler"),
    "DEIS": ("scheduling_deis_multistep", "DEISMultistepScheduler"),
    "EulerAncestral": ("scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler"),
    "Singlestep": ("scheduling_dpmsolver_singlestep", "DPMSolverSinglestepScheduler"),
    "PNDM": ("scheduling_pndm", "PNDMScheduler"),
    "TCD": ("scheduling_tcd", "TCDScheduler"),
    "DDPM": ("scheduling_ddpm", "DDPMScheduler"),
    "LCM": ("scheduling_lcm", "LCMScheduler"),
    "FlowEuler": ("scheduling_flow_match_euler_discrete", "FlowMatchEulerDiscreteScheduler"),
    "FlowHeun": ("scheduling_flow_match_heun_discrete", "FlowMatchHeunDiscreteScheduler"),
    "FlowLCM": ("scheduling_flow_match_lcm", "FlowMatchLCMScheduler"),
    "FlowAncestral": ("scheduling_ltx_euler_ancestral_rf", "LTXEulerAncestralRFScheduler"),
}


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


@contextmanager
def adjusted(scheduler, noise):
    """Casts to torch.float32 lead to float64, and unit noises are noise(1), noise(2), ... in turn."""
    numbers = itertools.count(1)
    module = sys.modules[type(scheduler).__module__]
    with (
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(module, "randn_tensor", lambda *_, **__: noise(next(numbers)), create=True),
    ):
        yield


def make(key: str, levels, **config):
    """The scheduler, set to `levels` as they are."""
    module, name = MODULES[key]
    if key == "DPMSDE":  # it imports torchsde for a Brownian tree that the test does not use
        sys.modules.setdefault("torchsde", ModuleType("torchsde"))
    scheduler = getattr(importlib.import_module(f"diffusers.schedulers.{module}"), name)(**config)
    scheduler.num_inference_steps = len(levels) - 1
    scheduler.sigmas = float64(levels)
    scheduler.timesteps = torch.arange(len(levels) - 1, dtype=torch.float64)
    scheduler._begin_index, scheduler._step_index = 0, None
    scheduler.is_scale_input_called = True
    scheduler.sample = scheduler.prev_derivative = scheduler.dt = None
    return scheduler


def epsilon(x, x0, sigma):
    return (x - x0) / sigma


def data(x, x0, sigma):
    return x0


def walk(scheduler, D, x, levels, output, end, vp=False, noise=no_noise):
    """The scheduler's last state, asked at `levels` and brought to σ `end`.

    With `vp` its states are x/√(1+σ²); what D sees and what is returned never are.
    """
    scale = (lambda sigma: math.sqrt(1 + sigma**2)) if vp else (lambda sigma: 1.0)
    x = x / scale(levels[0])
    with adjusted(scheduler, noise):
        for timestep, sigma in zip(scheduler.timesteps, levels, strict=True):
            state = x * scale(sigma)
            x0 = D(state, sigma)
            x = scheduler.step(output(state, x0, sigma), timestep, x, return_dict=False)[0]
    return x * scale(end)


def doubled(sigmas):
    """Every σ but the first twice, 0 once: how two-evaluation schedulers walk."""
    return [sigmas[0], *(sigma for sigma in sigmas[1:] for _ in range(2 if sigma else 1))]
