"""What a run on latents starts from: a LATENT, a picture that an autoencoder takes in, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from . import wires
from .order import Order
from .resize import cover
from .start import mask_for, masks_of, refuse_a_lonely, repeated

if TYPE_CHECKING:
    from torch import Tensor


class Canvas(NamedTuple):
    """The latents that a denoiser works on: channels, and pixels of a side.

    `multiple` is what its pictures' sides are multiples of, `size` the height and width that it draws best, in pixels;
    `fitted` gives the samples of a LATENT as it takes them, `encode` those of colours [B, H, W, 3], if it can.
    """

    channels: int
    downscale: int
    multiple: int
    size: tuple[int, int]
    fitted: Callable[[dict[str, Any]], Tensor]
    encode: Callable[[Tensor], Tensor] | None


class Start(NamedTuple):
    """Where a run starts: the latent, zeros for nothing, the numbers of its noise streams, and the mask.

    `picture` [B, H, W, 3] is what the latent was made of, if it was.
    """

    latent: Tensor
    indices: list[int] | None = None
    mask: Tensor | None = None
    picture: Tensor | None = None

    def keeping(self, rgb: Tensor, sigma: float) -> Tensor:
        """The picture that was made, with the one that it started from where the mask keeps that."""
        if self.picture is None or self.mask is None or sigma > 0:
            return rgb
        return self.picture.where(self.mask.movedim(1, -1) == 0, rgb)


def latent_start(order: Order, canvas: Canvas) -> Start:
    """Raises ValueError for inputs that contradict each other, or do not fit the canvas. The mask is in pixels."""
    import torch

    if order.latent is not None:
        if order.image is not None:
            raise ValueError("image and latent are both wired: a run starts from one of them")
        samples = canvas.fitted({**order.latent, "samples": wires.latent_in(order.latent)})
        if samples.shape[1] != canvas.channels:
            raise ValueError(
                f"this denoiser works on {canvas.channels} channels, and the LATENT has {samples.shape[1]}"
            )
        indices, batch = wires.indices_in(order.latent), samples.shape[0]
        if order.mask is None:
            return Start(samples, indices, masks_of(batch, order.latent.get("noise_mask")))
        size = tuple(side * canvas.downscale for side in samples.shape[-2:])
        return Start(samples, indices, mask_for(batch, size, order.mask))
    if order.image is not None:
        if canvas.encode is None:
            raise ValueError("to rework a picture with a denoiser of latents wire a vae, here or where it is loaded")
        rgb = repeated(wires.image_in(order.image)[0], order.batch)
        size = _size(order, canvas.multiple, *(side - side % canvas.multiple for side in rgb.shape[1:3]))
        rgb = cover(rgb.movedim(-1, 1), size, enlarge="bicubic").movedim(1, -1).clamp(0, 1)
        samples = canvas.encode(rgb)
        if samples.shape[1] != canvas.channels:
            made = samples.shape[1]
            raise ValueError(
                f"this denoiser works on {canvas.channels} channels, and this VAE makes {made}: wire its own"
            )
        return Start(samples, mask=mask_for(len(rgb), size, order.mask), picture=rgb)
    refuse_a_lonely(order.mask)
    height, width = _size(order, canvas.multiple, *canvas.size)
    return Start(torch.zeros(order.batch, canvas.channels, height // canvas.downscale, width // canvas.downscale))


def _size(order: Order, multiple: int, own_height: int, own_width: int) -> tuple[int, int]:
    height, width = order.height or own_height, order.width or own_width
    if height % multiple or width % multiple or not (height and width):
        raise ValueError(f"this denoiser takes sizes that are multiples of {multiple}, not {width}×{height}")
    return height, width
