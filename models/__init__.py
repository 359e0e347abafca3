"""The diffusion engine: knows no node and no host.

>>> from varifold.models import load_denoiser, sample, schedule
>>> denoiser = load_denoiser()
>>> sigmas = schedule.karras(12, denoiser.sigma_min, denoiser.sigma_max)
>>> x0 = sample(denoiser, sigmas, seed=7, batch=4, cond=denoiser.prompt("hero robe"), guidance=1.5)
"""

from .checkpoint import CheckpointError, load_denoiser
from .denoising import pixels
from .denoising.denoiser import Denoiser
from .denoising.guidance import Guidance
from .denoising.space import FLOW, VE, Space
from .sampling import schedule, solver
from .sampling.plan import Plan
from .sampling.sample import run, sample
from .sampling.trace import Recorder, Trace
from .sampling.watch import NonFinite

__all__ = [
    "FLOW",
    "VE",
    "CheckpointError",
    "Denoiser",
    "Guidance",
    "NonFinite",
    "Plan",
    "Recorder",
    "Space",
    "Trace",
    "load_denoiser",
    "pixels",
    "run",
    "sample",
    "schedule",
    "solver",
]
