"""ComfyUI's `common_upscale` for pictures: the same filters, the same crop, the same rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]


def resize(image: torch.Tensor, width: int, height: int, method: str, crop: str = "disabled") -> torch.Tensor:
    """[B,H,W,C] -> [B,height,width,C]. crop "center" keeps the aspect ratio; lanczos goes through 8 bits."""
    import torch

    if width < 1 or height < 1:
        raise ValueError(f"cannot scale a picture to {width} x {height} pixels")
    if crop == "center":
        image = _crop(image, width / height)
    if method == "lanczos":
        return _lanczos(image, width, height)
    planes = torch.nn.functional.interpolate(image.movedim(-1, 1), size=(height, width), mode=method)
    return planes.movedim(1, -1)


def _crop(image: torch.Tensor, aspect: float) -> torch.Tensor:
    height, width = image.shape[1:3]
    old = width / height
    x = round((width - width * (aspect / old)) / 2) if old > aspect else 0
    y = round((height - height * (old / aspect)) / 2) if old < aspect else 0
    return image[:, y : height - y, x : width - x]


def _lanczos(image: torch.Tensor, width: int, height: int) -> torch.Tensor:
    import numpy as np
    import torch
    from PIL import Image

    from .image_files import picture_of

    resized = [np.asarray(picture_of(picture).resize((width, height), Image.Resampling.LANCZOS)) for picture in image]
    pixels = torch.from_numpy(np.stack(resized).astype(np.float32) / 255)
    return pixels.reshape(len(image), height, width, image.shape[-1]).to(image.device, image.dtype)
