"""What a run starts from: a picture, a LATENT, given noise; and the mask that keeps a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import wires
from .resize import cover

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.denoiser import Denoiser


def start_of(
    denoiser: Denoiser, image: Any, latent: Any, mask: Any, batch: int, width: int, height: int
) -> tuple[Tensor | None, list[int] | None, Tensor | None]:
    """What to start from as x0 [B, C, H, W] or None, the numbers of its noise streams, and the mask [B, 1, H, W]."""
    from ..models import pixels

    indices = None
    if latent is not None:
        if image is not None:
            raise ValueError("image and latent are both wired: a run starts from one of them")
        start = wires.latent_in(latent)
        indices = wires.indices_in(latent)
        mask = latent.get("noise_mask") if mask is None else mask
    elif image is not None:
        size = (height or denoiser.shape[1], width or denoiser.shape[2])
        rgb, alpha = (repeated(part, batch) for part in wires.image_in(image))
        alpha = alpha[..., None]
        # Colours are averaged by their alpha, or what is transparent would bleed into the rim.
        rgb, alpha = (cover(part.movedim(-1, 1), size).movedim(1, -1) for part in (rgb * alpha, alpha))
        start = pixels.encode(rgb / alpha.clamp_min(1e-6), alpha[..., 0], denoiser.channels)
    else:
        refuse_a_lonely(mask)
        return None, None, None
    return start, indices, mask_for(start.shape[0], start.shape[-2:], mask)


def mask_for(batch: int, size: tuple[int, int], mask: Tensor | None) -> Tensor | None:
    """A MASK as [B, 1, height, width]; None where it is none. Raises ValueError for another number of masks."""
    masks = masks_of(batch, mask)
    return None if masks is None else cover(masks, size)


def masks_of(batch: int, mask: Tensor | None) -> Tensor | None:
    """The same in the mask's own size."""
    if wires.is_no_mask(mask):
        return None
    mask = wires.mask_in(mask)
    if mask.shape[0] not in (1, batch):
        raise ValueError(f"there are {mask.shape[0]} masks for {batch} pictures: one for all, or one each")
    return mask.expand(batch, -1, -1)[:, None]


def refuse_a_lonely(mask: Tensor | None) -> None:
    """Raises ValueError for a mask where there is nothing to keep."""
    if mask is not None and wires.mask_in(mask).any():
        raise ValueError("a mask needs a picture to keep: wire image or latent as well")


def repeated(pictures: Tensor, batch: int) -> Tensor:
    """One picture for all, or as many as there are; several pictures make a batch of 1 theirs."""
    count = pictures.shape[0]
    if count == 1:
        return pictures.expand(batch, *pictures.shape[1:])
    if batch in (1, count):
        return pictures
    raise ValueError(f"image has {count} pictures and batch is {batch}: make them equal, or one of them 1")


def start_noise(noise: Any, batch: int, shape: tuple[int, ...], indices: list[int] | None) -> Tensor:
    import torch

    latent = {"samples": torch.zeros(batch, *shape)}
    generated = noise.generate_noise(latent if indices is None else {**latent, "batch_index": indices})
    if generated.shape != latent["samples"].shape:
        raise ValueError(
            f"this NOISE made {tuple(generated.shape)} where {tuple(latent['samples'].shape)} was asked for: "
            "unplug it, or wire another"
        )
    return generated
