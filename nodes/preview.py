"""Small pictures of what a denoiser believes, while it runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from ..models.denoising import pixels

if TYPE_CHECKING:
    from torch import Tensor

MOST_PICTURES = 16
SIDE = 384


def preview(x0: Tensor, channels: str) -> Image.Image:
    """The first pictures of a batch x0 [B, C, H, W] in one grid, pixels kept sharp."""
    rgb, _ = pixels.decode(x0[:MOST_PICTURES], channels)
    count, height, width, _ = rgb.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = rgb.new_zeros(rows * columns, height, width, 3)
    grid[:count] = rgb
    grid = grid.view(rows, columns, height, width, 3).permute(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    picture = Image.fromarray((grid * 255).round().byte().numpy())
    scale = SIDE // max(picture.size)
    return picture.resize((picture.width * scale, picture.height * scale), Image.NEAREST) if scale > 1 else picture
