"""A picture in the colours of another."""

from __future__ import annotations

import torch
from torch import Tensor

from . import guided
from .oklab import oklab, srgb
from .transport import Transport

SAMPLES = 2**16
WIDEST = 0.04  # the radius of full smoothing, of the shorter side
NOISE = 0.03  # in Oklab: about 8 levels of 256


def colours_of(picture: Tensor, weight: Tensor | None = None, seed: int = 0) -> Tensor:
    """Oklab colours [N, 3], float64, of at most 65,536 pixels spread over a picture [H, W, 3] in 0..1.

    Of those with at least half the greatest `weight` [H, W]; none if that is 0. `seed` chooses which.
    """
    colours = picture.reshape(-1, 3)
    if weight is not None:
        weight = weight.reshape(-1)
        colours = colours[(weight > 0) & (weight >= weight.max() / 2)]
    if len(colours) > SAMPLES:
        chance = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        # One of each of as many equal parts: as even as a grid, and in step with no pattern.
        colours = colours[((torch.arange(SAMPLES) + chance) * (len(colours) / SAMPLES)).long()]
    return oklab(colours.double().clamp(0, 1))


def recolour(picture: Tensor, transport: Transport, *, keep_lightness: bool = False, smooth: float = 0.5) -> Tensor:
    """A picture [H, W, 3] in 0..1 with its colours moved as `transport` moves those of Oklab.

    With `keep_lightness` only hue and chroma move. `smooth`, 0..1, lets the move follow the picture's own edges (see
    `guided`) in windows of up to a 25th of the shorter side, where it does not stretch grain; at 0 each pixel is moved
    by its colour alone.
    """
    # In float64: where transport is steep it would make rounding seen.
    lab = torch.empty_like(picture, dtype=torch.float64)
    for rows in guided.strips(picture):
        lab[rows] = oklab(picture[rows].double().clamp(0, 1))

    def moved(colours: Tensor) -> Tensor:
        return torch.cat([colours[..., :kept], transport(colours)[..., kept:]], -1)

    kept = 1 if keep_lightness else 0
    radius = round(smooth * WIDEST * min(picture.shape[:2]))
    recoloured = torch.empty_like(picture)
    if radius == 0:
        for rows in guided.strips(picture):
            recoloured[rows] = srgb(moved(lab[rows]))
        return recoloured
    calm = torch.cat([torch.eye(3, dtype=lab.dtype)[:, :kept], transport.linear.calm()[:, kept:]], 1)
    fitted = guided.fit(lab, lambda colours: moved(colours) - colours @ calm, radius, NOISE)
    for rows in guided.strips(picture):
        recoloured[rows] = srgb(lab[rows] @ calm + guided.change_of(lab, fitted, rows))
    return recoloured


def with_colours_of(picture: Tensor, made: Tensor) -> Tensor:
    """The lightness of `made` with the hue and chroma of a picture, both [H, W, 3] in 0..1."""
    return srgb(torch.cat([oklab(made)[..., :1], oklab(picture.to(made))[..., 1:]], -1))
