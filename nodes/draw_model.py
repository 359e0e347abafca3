"""Drawing with a MODEL of the host's: the host guides it, and our loop walks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from . import wires
from .host import current
from .model import ModelDenoiser, check_prompts
from .order import Drawn, Order
from .preview import watch
from .resize import cover
from .start import mask_for, masks_of, refuse_a_lonely, repeated, start_noise

if TYPE_CHECKING:
    from torch import Tensor


class Start(NamedTuple):
    """Where a run starts: the latent, zeros for nothing, the numbers of its noise streams, and the mask.

    `picture` [B, H, W, 3] is what the latent was made of, if it was.
    """

    latent: Tensor
    indices: list[int] | None = None
    mask: Tensor | None = None
    picture: Tensor | None = None


def draw_with_model(denoiser: ModelDenoiser, order: Order) -> Drawn:
    """Raises ValueError for inputs that do not fit the MODEL."""
    from ..models import Recorder, run
    from ..models.sampling.noise import Noise
    from ..models.sampling.sample import warn_of_an_unusual_start

    if order.vae is not None:
        denoiser = replace(denoiser, vae=order.vae)
    check_prompts(order.positive, order.negative, order.guidance != 1 or order.plan.asks_for_negatives)
    models, plan = current().models, order.plan
    start = _start_of(denoiser, order)
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
    return Drawn(_keeping(start, rgb, plan.sigmas[-1]), alpha, wire, recorder.trace(), _notes(denoiser))


def _keeping(start: Start, rgb: Tensor, sigma: float) -> Tensor:
    """The picture that was made, with the one that it started from where the mask keeps that."""
    if start.picture is None or start.mask is None or sigma > 0:
        return rgb
    return start.picture.where(start.mask.movedim(1, -1) == 0, rgb)


def _notes(denoiser: ModelDenoiser) -> list[str]:
    return [] if denoiser.vae else ["image: a rough view of the latent; wire a vae for the picture itself"]


def _start_of(denoiser: ModelDenoiser, order: Order) -> Start:
    import torch

    facts, models = denoiser.facts, current().models
    if order.latent is not None:
        if order.image is not None:
            raise ValueError("image and latent are both wired: a run starts from one of them")
        samples = models.fitted(denoiser.model, {**order.latent, "samples": wires.latent_in(order.latent)})
        if samples.shape[1] != facts.channels:
            raise ValueError(f"this MODEL works on {facts.channels} channels, and the LATENT has {samples.shape[1]}")
        indices, batch = wires.indices_in(order.latent), samples.shape[0]
        if order.mask is None:
            return Start(samples, indices, masks_of(batch, order.latent.get("noise_mask")))
        size = tuple(side * facts.downscale for side in samples.shape[-2:])
        return Start(samples, indices, mask_for(batch, size, order.mask))
    if order.image is not None:
        if denoiser.vae is None:
            raise ValueError("to rework a picture with a MODEL wire a vae, here or into From Model")
        rgb = repeated(wires.image_in(order.image)[0], order.batch)
        size = _size(order, facts.downscale, *(side - side % facts.downscale for side in rgb.shape[1:3]))
        rgb = cover(rgb.movedim(-1, 1), size, enlarge="bicubic").movedim(1, -1).clamp(0, 1)
        samples = models.encode(denoiser.vae, rgb)
        if samples.shape[1] != facts.channels:
            made = samples.shape[1]
            raise ValueError(f"this MODEL works on {facts.channels} channels, and this VAE makes {made}: wire its own")
        return Start(samples, mask=mask_for(len(rgb), size, order.mask), picture=rgb)
    refuse_a_lonely(order.mask)
    height, width = _size(order, facts.downscale, facts.side, facts.side)
    return Start(torch.zeros(order.batch, facts.channels, height // facts.downscale, width // facts.downscale))


def _size(order: Order, multiple: int, own_height: int, own_width: int) -> tuple[int, int]:
    height, width = order.height or own_height, order.width or own_width
    if height % multiple or width % multiple or not (height and width):
        raise ValueError(f"this MODEL takes sizes that are multiples of {multiple}, not {width}×{height}")
    return height, width
