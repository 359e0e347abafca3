"""Small pictures of what a denoiser believes, while it runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from PIL import Image

from .host import current

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.sampling.trace import Decode

MOST_PICTURES = 16
SIDE = 384


def watch(evaluations: int, decode: Decode) -> dict[str, Any]:
    """What `run` and `sample` want to know for the node's bar, its preview and its cancel button."""
    host = current()
    progress = host.progress(evaluations)

    def observe(done: int, total: int, x0: Tensor | None) -> None:
        host.check_cancelled()
        progress.update(done, None if x0 is None else preview(decode(x0[:MOST_PICTURES])[0]))

    return {"observe": observe, "pictures": progress.wants_preview}


def preview(rgb: Tensor) -> Image.Image:
    """Pictures [B, H, W, 3] in 0..1 in one grid, pixels kept sharp."""
    count, height, width, _ = rgb.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = rgb.new_zeros(rows * columns, height, width, 3)
    grid[:count] = rgb
    grid = grid.view(rows, columns, height, width, 3).permute(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    picture = Image.fromarray((grid * 255).round().byte().numpy())
    scale = SIDE // max(picture.size)
    return picture.resize((picture.width * scale, picture.height * scale), Image.NEAREST) if scale > 1 else picture
