"""Drawing with a denoiser of our own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from . import wires
from .host import current
from .order import Drawn, Order
from .preview import watch
from .start import start_noise, start_of

if TYPE_CHECKING:
    from ..models.denoising.denoiser import Denoiser


def draw_with_net(denoiser: Denoiser, order: Order) -> Drawn:
    """Raises ValueError for inputs that do not fit the denoiser."""
    from ..models import Recorder, pixels, sample

    plan, batch = order.plan, order.batch
    positive, notes = wires.conditioning_in(order.positive, denoiser)
    negative, more = wires.conditioning_in(order.negative, denoiser)
    notes += more
    if order.vae is not None:
        notes.append("vae: not used, this denoiser draws pixels")

    start, indices, mask = start_of(denoiser, order.image, order.latent, order.mask, batch, order.width, order.height)
    batch = batch if start is None else start.shape[0]
    shape = (denoiser.shape[0], order.height or denoiser.shape[1], order.width or denoiser.shape[2])
    shape = shape if start is None else tuple(start.shape[1:])
    denoiser.check_shape((batch, *shape))
    noise = None if order.noise is None else start_noise(order.noise, batch, shape, indices)

    guide = denoiser.guidance.guide
    current().load(*([denoiser] if guide is None else [denoiser, guide]))
    decode = partial(pixels.decode, channels=denoiser.channels)
    recorder = Recorder(plan, decode)
    state = sample(
        denoiser,
        plan.sigmas,
        solver=plan,
        seed=order.seed,
        batch=batch,
        indices=indices,
        shape=shape,
        cond=positive,
        negative=negative,
        guidance=order.guidance,
        noise=noise,
        image=start,
        mask=mask,
        recorder=recorder,
        **watch(plan.evaluations, decode),
    )
    x0 = (state / denoiser.space.alpha(plan.sigmas[-1])).cpu()
    latent = {"samples": x0, **({} if indices is None else {"batch_index": indices})}
    return Drawn(*decode(x0), latent, recorder.trace(), notes)
