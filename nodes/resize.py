"""Pictures brought to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cover(pictures: Tensor, size: tuple[int, int], enlarge: str = "nearest-exact") -> Tensor:
    """[B, C, H, W] scaled by averaging to cover (height, width), and cropped around the middle; as is if it fits.

    `enlarge` is the interpolation of smaller ones.
    """
    from torch.nn.functional import interpolate

    height, width = size
    if pictures.shape[-2:] == (height, width):
        return pictures
    scale = max(height / pictures.shape[-2], width / pictures.shape[-1])
    covering = [max(height, round(pictures.shape[-2] * scale)), max(width, round(pictures.shape[-1] * scale))]
    mode = {"mode": "area"} if scale < 1 else {"mode": enlarge}
    pictures = interpolate(pictures, covering, **mode)
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    return pictures[..., top : top + height, left : left + width]
