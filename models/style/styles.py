"""Style pictures: brought to a size, and their colours together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .recolour import colours_of

MOST_PIXELS = 1024**2  # of all styles together
LONGEST = 1.5  # times the side of a square of its area: pages are squares of the longest side
LEAST_SIDE = 48
COLOURS = 2**14


class Style(NamedTuple):
    """A picture [h, w, 3] in 0..1, what it counts beside others, and where to take from, [h, w], or None for all."""

    picture: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


def of_size(styles: Sequence[Style], side: float) -> list[Style]:
    """The styles, each with about the area of a square of `side` pixels.

    Of large and long ones what is around the mask, or the middle. No side is under 48 pixels: the last rows and columns
    are repeated.
    """
    most = MOST_PIXELS // len(styles)
    square = min(side, math.sqrt(most))
    sized = []
    for style in styles:
        picture = style.picture.movedim(-1, 0).float().clamp(0, 1)
        mask = None if style.mask is None else style.mask[None].float()
        scale = side / math.sqrt(picture[0].numel())
        kept = [min(1.0, square / side, LONGEST * square / (length * scale)) for length in picture.shape[1:]]
        size = [max(1, round(length * scale * part)) for length, part in zip(picture.shape[1:], kept, strict=True)]
        rows, columns = (
            _around(_middle(mask, axis), length, max(1, int(length * part)))
            for axis, length, part in zip((1, 2), picture.shape[1:], kept, strict=True)
        )
        picture, mask = (
            None if part is None else at_least(resized(part[:, rows, columns], size)) for part in (picture, mask)
        )
        sized.append(Style(picture.movedim(0, -1), style.weight, None if mask is None else mask[0]))
    return sized


def _middle(mask: Tensor | None, axis: int) -> float:
    """Where along an axis the middle of a mask [1, H, W] is, 0..1."""
    if mask is None or not mask.sum() > 0:
        return 0.5
    profile = mask.sum(dim=[other for other in (0, 1, 2) if other != axis])
    return float((profile * (torch.arange(len(profile)) + 0.5)).sum() / (profile.sum() * len(profile)))


def _around(middle: float, length: int, kept: int) -> slice:
    start = min(max(0, int(middle * length - kept / 2)), length - kept)
    return slice(start, start + kept)


def mixed_colours(styles: Sequence[Style], seed: int) -> Tensor:
    """Oklab colours [N, 3] of several styles, as many of each as it has a share.

    Raises ValueError for a style without a place to take from.
    """
    colours = [colours_of(style.picture, style.mask, seed) for style in styles]
    if not all(map(len, colours)):
        raise ValueError("there is nothing to take from the style where its mask is 1: enlarge the mask")
    shares = [style.weight / sum(style.weight for style in styles) for style in styles]
    most = min(COLOURS, max(len(each) / share for each, share in zip(colours, shares, strict=True)))
    return torch.cat([some(each, round(share * most), seed) for each, share in zip(colours, shares, strict=True)])


def some(colours: Tensor, count: int, seed: int) -> Tensor:
    """So many of colours [N, 3], at least one; each as often as any other, or once more."""
    count = max(1, count)
    order = torch.randperm(len(colours), generator=torch.Generator().manual_seed(seed))
    return colours[order.repeat(math.ceil(count / len(order)))[:count]]


def resized(picture: Tensor, size: Sequence[int]) -> Tensor:
    """A picture [C, H, W] in 0..1 of another size."""
    if tuple(picture.shape[1:]) == tuple(size):
        return picture
    resized = F.interpolate(picture[None], tuple(size), mode="bicubic", antialias=True, align_corners=False)
    return resized[0].clamp(0, 1)


def at_least(picture: Tensor) -> Tensor:
    """A picture [C, H, W], whose edge goes on below and to the right where it is smaller than patches need."""
    missing = [max(0, LEAST_SIDE - length) for length in picture.shape[1:]]
    return F.pad(picture[None], (0, missing[1], 0, missing[0]), mode="replicate")[0]
