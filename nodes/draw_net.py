"""Drawing with a denoiser of our own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .conditions import check_prompts, conditioning_in, with_empty_prompt
from .host import current
from .order import Drawn, Order
from .preview import watch
from .start import start_noise, start_of
from .start_latent import Canvas, latent_start

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.denoiser import Denoiser


def draw_with_net(denoiser: Denoiser, order: Order) -> Drawn:
    """Raises ValueError for inputs that do not fit the denoiser."""
    return _draw_pixels(denoiser, order) if denoiser.latents is None else _draw_latents(denoiser, order)


def _draw_pixels(denoiser: Denoiser, order: Order) -> Drawn:
    start, indices, mask = start_of(
        denoiser, order.image, order.latent, order.mask, order.batch, order.width, order.height
    )
    shape = (denoiser.shape[0], order.height or denoiser.shape[1], order.width or denoiser.shape[2])
    batch, shape = (order.batch, shape) if start is None else (start.shape[0], tuple(start.shape[1:]))
    state, trace, notes = _walk(denoiser, order, batch, shape, start, indices, mask)
    if order.vae is not None:
        notes.append("vae: not used, this denoiser draws pixels")
    x0 = (state / denoiser.space.alpha(order.plan.sigmas[-1])).cpu()
    latent = {"samples": x0, **({} if indices is None else {"batch_index": indices})}
    return Drawn(*denoiser.pictures(x0), latent, trace, notes)


def _draw_latents(denoiser: Denoiser, order: Order) -> Drawn:
    from torch.nn.functional import interpolate

    if order.vae is not None:
        denoiser = denoiser.with_autoencoder(HostAutoencoder(order.vae))
    latents, plan = denoiser.latents, order.plan
    start = latent_start(order, _canvas(denoiser))
    batch, shape = start.latent.shape[0], tuple(start.latent.shape[1:])
    from_nothing = start.mask is None and not start.latent.any()
    image = None if from_nothing else latents.from_wire(start.latent.float())
    mask = None if start.mask is None else interpolate(start.mask, shape[1:], mode="bilinear")
    state, trace, notes = _walk(denoiser, order, batch, shape, image, start.indices, mask)
    x0 = (state / denoiser.space.alpha(plan.sigmas[-1])).cpu()
    kept = {name: value for name, value in (order.latent or {}).items() if name == "noise_mask"}
    wire = {**kept, "samples": latents.to_wire(x0)}
    wire |= {} if start.indices is None else {"batch_index": start.indices}
    rgb, alpha = _pictures(denoiser, x0)
    if denoiser.autoencoder is None:
        rgb = interpolate(rgb.movedim(-1, 1), scale_factor=latents.downscale, mode="bilinear").movedim(1, -1)
        alpha = rgb.new_ones(rgb.shape[:-1])
        notes.append("image: a rough view of the latent; wire a vae, or load the denoiser with an autoencoder")
    return Drawn(start.keeping(rgb, plan.sigmas[-1]), alpha, wire, trace, notes)


def _walk(
    denoiser: Denoiser,
    order: Order,
    batch: int,
    shape: tuple[int, ...],
    start: Tensor | None,
    indices: list[int] | None,
    mask: Tensor | None,
) -> tuple[Tensor, Any, list[str]]:
    """The state at the end of the plan, the trace, and notes for the report."""
    from ..models import Recorder, sample

    plan = order.plan
    denoiser.check_shape((batch, *shape))
    if "tokens" in denoiser.conditions:
        needs_negative = denoiser.guidance.guide is None and (order.guidance != 1 or plan.asks_for_negatives)
        check_prompts(order.positive, order.negative, needs_negative)
    positive, notes = conditioning_in(order.positive, denoiser, shape[1:])
    negative, more = conditioning_in(order.negative, denoiser, shape[1:])
    noise = None if order.noise is None else start_noise(order.noise, batch, shape, indices)
    denoiser, guide = with_empty_prompt(denoiser, shape[1:]), denoiser.guidance.guide
    current().load(*([denoiser] if guide is None else [denoiser, guide]))
    recorder = Recorder(plan, denoiser.pictures if denoiser.latents is None else partial(_pictures, denoiser))
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
        **watch(plan.evaluations, denoiser.glimpse),
    )
    return state, recorder.trace(), [*notes, *more]


def _pictures(denoiser: Denoiser, x0: Tensor) -> tuple[Tensor, Tensor]:
    """x0 of latents as colours and alpha on the CPU, whatever has become of the autoencoder's weights meanwhile."""
    _bring_autoencoder(denoiser)
    rgb, alpha = denoiser.pictures(x0)
    return rgb.cpu(), alpha.cpu()


def _bring_autoencoder(denoiser: Denoiser) -> None:
    if denoiser.autoencoder is not None and not isinstance(denoiser.autoencoder, HostAutoencoder):
        current().load(denoiser.autoencoder)


class HostAutoencoder(NamedTuple):
    """A VAE of the host's, as an autoencoder of ours."""

    vae: Any

    def encode(self, rgb: Tensor) -> Tensor:
        return current().models.encode(self.vae, rgb)

    def decode(self, latent: Tensor) -> Tensor:
        return current().models.decode(self.vae, latent)


def _canvas(denoiser: Denoiser) -> Canvas:
    channels, downscale = denoiser.shape[0], denoiser.latents.downscale

    def fitted(latent: dict[str, Any]) -> Tensor:
        samples = latent["samples"]
        wrong = samples.shape[1] != channels and not samples.any()
        return samples.new_zeros(len(samples), channels, *samples.shape[2:]) if wrong else samples

    def encode(rgb: Tensor) -> Tensor:
        _bring_autoencoder(denoiser)
        return denoiser.autoencoder.encode(rgb).cpu()

    return Canvas(
        channels,
        downscale,
        downscale * denoiser.net.multiple,
        (denoiser.shape[1] * downscale, denoiser.shape[2] * downscale),
        fitted,
        None if denoiser.autoencoder is None else encode,
    )
