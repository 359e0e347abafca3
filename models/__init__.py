"""The diffusion engine: knows no node and no host.

>>> from varifold.models import load_denoiser, sample, schedule
>>> denoiser = load_denoiser()
>>> sigmas = schedule.karras(12, denoiser.sigma_min, denoiser.sigma_max)
>>> x0 = sample(denoiser, sigmas, seed=7, batch=4, cond=denoiser.prompt("hero robe"), guidance=1.5)
"""

from importlib import import_module
from typing import Any

_HOME = {
    "FLOW": ".denoising.space",
    "VE": ".denoising.space",
    "Autoencoder": ".train.scripting",
    "CheckpointError": ".checkpoint",
    "Denoiser": ".denoising.denoiser",
    "DiffusionModel": ".train.scripting",
    "GAN": ".train.scripting",
    "Generator": ".generating",
    "Guidance": ".denoising.guidance",
    "NonFinite": ".sampling.watch",
    "Plan": ".sampling.plan",
    "Recorder": ".sampling.trace",
    "Space": ".denoising.space",
    "Trace": ".sampling.trace",
    "VariationalAutoencoder": ".train.scripting",
    "bound_bits": ".likelihood.bits",
    "data_parallel": ".train.scripting",
    "dpm_adaptive": ".sampling.adaptive",
    "evaluate": ".train.scripting",
    "exact_bits": ".likelihood.bits",
    "load_autoencoder": ".checkpoint",
    "load_denoiser": ".checkpoint",
    "load_generator": ".generating",
    "run": ".sampling.sample",
    "sample": ".sampling.sample",
    "train_epoch": ".train.scripting",
}
_MODULES = {
    "fit": ".sampling.fit",
    "pixels": ".denoising.pixels",
    "schedule": ".sampling.schedule",
    "solver": ".sampling.solver",
    "style": ".style",
}

__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    # Imported on first use, so that ComfyUI's start does not wait for the engine.
    if name in _MODULES:
        return import_module(_MODULES[name], __name__)
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
