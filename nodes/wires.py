"""What travels on ComfyUI's wires, taken as it comes and handed on as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def sigmas_in(sigmas: Tensor) -> list[float]:
    """SIGMAS, on any device, as floats."""
    return [float(sigma) for sigma in sigmas.cpu().double().reshape(-1)]


def sigmas_out(sigmas: list[float]) -> Tensor:
    import torch

    return torch.tensor(sigmas, dtype=torch.float32)


def image_in(image: Tensor) -> tuple[Tensor, Tensor]:
    """IMAGE [B, H, W, 3 or 4] of any dtype and device -> colours [B, H, W, 3] and alpha [B, H, W], float32, CPU."""
    import torch

    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(f"this is not an IMAGE of 3 or 4 channels: its shape is {tuple(image.shape)}")
    image = image.detach().to("cpu", torch.float32, copy=True)
    if not image.isfinite().all():
        raise ValueError("this IMAGE has NaN or infinity in it: look at the node that made it")
    alpha = image[..., 3] if image.shape[-1] == 4 else torch.ones_like(image[..., 0])
    return image[..., :3].expand(-1, -1, -1, 3), alpha


def mask_in(mask: Tensor) -> Tensor:
    """MASK [H, W] or [B, H, W], or a LATENT's noise_mask [B, 1, H, W] -> [B, H, W], float32, CPU, 0..1."""
    import torch

    if mask.ndim not in (2, 3) and not (mask.ndim == 4 and mask.shape[1] == 1):
        raise ValueError(f"this is not a MASK: its shape is {tuple(mask.shape)}")
    return mask.detach().to("cpu", torch.float32, copy=True).reshape(-1, *mask.shape[-2:]).clamp(0, 1)


def is_no_mask(mask: Tensor | None) -> bool:
    """Whether there is no mask: none wired, or the 64×64 zeros that LoadImage gives for pictures without alpha."""
    return mask is None or (tuple(mask.shape[-2:]) == (64, 64) and not mask.any())


def latent_in(latent: dict[str, Any]) -> Tensor:
    """The samples of a LATENT, [B, C, H, W]. Raises ValueError for video and nested latents."""
    samples = latent["samples"]
    if getattr(samples, "is_nested", False) or samples.ndim != 4:
        shape = "nested" if getattr(samples, "is_nested", False) else f"{samples.ndim}-dimensional"
        raise ValueError(f"this LATENT is {shape}; Varifold draws pictures, and their latents have 4 dimensions")
    return samples.detach().clone()


def indices_in(latent: dict[str, Any]) -> list[int] | None:
    """The numbers of a LATENT's pictures, for their noise streams, or None. Raises ValueError if not one each."""
    indices, batch = latent.get("batch_index"), len(latent["samples"])
    if indices is None:
        return None
    if len(indices) != batch:
        raise ValueError(f"this LATENT has {batch} pictures and {len(indices)} numbers in batch_index: one each")
    return [int(index) for index in indices]
