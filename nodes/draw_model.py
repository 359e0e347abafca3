"""Drawing with a MODEL of the host's: the host guides it, and our loop walks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from . import wires
from .conditions import check_prompts
from .host import current
from .model import ModelDenoiser
from .order import Drawn, Order
from .preview import watch
from .start import start_noise
from .start_latent import Canvas, latent_start

if TYPE_CHECKING:
    from torch import Tensor


def draw_with_model(denoiser: ModelDenoiser, order: Order) -> Drawn:
    """Raises ValueError for inputs that do not fit the MODEL."""
    from ..models import Recorder, run
    from ..models.sampling.noise import Noise
    from ..models.sampling.sample import warn_of_an_unusual_start

    if order.vae is not None:
        denoiser = replace(denoiser, vae=order.vae)
    check_prompts(order.positive, order.negative, order.guidance != 1 or order.plan.asks_for_negatives)
    models, plan = current().models, order.plan
    start = latent_start(order, _canvas(denoiser))
    latent, indices = start.latent, start.indices
    batch, shape = latent.shape[0], tuple(latent.shape[1:])
    streams = indices or range(batch)
    given = None if order.noise is None else start_noise(order.noise, batch, shape, indices)
    warn_of_an_unusual_start(denoiser, plan.sigmas[0], latent if latent.any() else None)

    recorder = Recorder(plan, denoiser.pictures)
    watching = watch(plan.evaluations, denoiser.glimpse)

    def walk(D, x: Tensor) -> Tensor:
        noise, scale = Noise(order.seed, streams, x.shape[1:], x.device, x.dtype), denoiser.facts.noise_scale
        return run(plan, D, x, lambda number: noise(number) * scale, recorder=recorder, **watching)

    samples = models.draw(
        denoiser.model,
        walk,
        positive=order.positive,
        negative=order.positive if order.negative is None else order.negative,
        guidance=denoiser.guidance,
        scale=order.guidance,
        sigmas=wires.sigmas_out(plan.sigmas),
        seed=order.seed,
        noise=Noise(order.seed, streams, shape)(0) if given is None else given,
        latent=latent,
        mask=start.mask,
        pairs=plan.asks_for_negatives,
    )
    kept = {name: value for name, value in (order.latent or {}).items() if name == "noise_mask"}
    wire = {**kept, "samples": samples.cpu(), **({} if indices is None else {"batch_index": indices})}
    rgb, alpha = denoiser.finished(samples)
    return Drawn(start.keeping(rgb, plan.sigmas[-1]), alpha, wire, recorder.trace(), _notes(denoiser))


def _notes(denoiser: ModelDenoiser) -> list[str]:
    return [] if denoiser.vae else ["image: a rough view of the latent; wire a vae for the picture itself"]


def _canvas(denoiser: ModelDenoiser) -> Canvas:
    facts, models = denoiser.facts, current().models
    return Canvas(
        facts.channels,
        facts.downscale,
        facts.downscale,
        (facts.side, facts.side),
        partial(models.fitted, denoiser.model),
        None if denoiser.vae is None else partial(models.encode, denoiser.vae),
    )
