"""Ways to destroy a picture, by noise and by other means: each from the picture itself to nothing of it.

A process takes x0 [B, C, H, W] in -1..1 at time t, a number or [B] in 0..1, with `noise`, unit normals of x0's shape
that tell all its chance. At t = 0 x0 is whole; at t = 1 noise is left, or the mean, or an even grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 1.0  # θ0 of the gamma noise: the larger, the less like Gaussian noise
SHAPES = (1e-4, 1e6)
RANKS = torch.linspace(-6, 6, 385, dtype=torch.float64)  # normal quantiles where those of gamma noise are found
HALVINGS = 48
WIDEST = 2.0  # of a blur, in sides of the picture: of the slowest wave 3e-9 are left
HOLE = 0.25  # its width at t = 1/2, in sides of the picture

Time = float | Tensor
Degrade = Callable[[Tensor, Time, Tensor], Tensor]


def gaussian(x0: Tensor, t: Time, noise: Tensor) -> Tensor:
    """cos(πt/2)·x0 + sin(πt/2)·noise, the usual process of diffusion models."""
    alpha, sigma = _scales(x0, t)
    return alpha * x0 + sigma * noise


def gaussian_noise(x: Tensor, x0: Tensor, t: Time) -> Tensor:
    """The noise that makes `x` of x0 at t > 0."""
    alpha, sigma = _scales(x0, t)
    return (x - alpha * x0) / sigma


def gamma(x0: Tensor, t: Time, noise: Tensor) -> Tensor:
    """As `gaussian`, by noise of the same mean and variance that is gamma distributed, each of the rank of `noise`.

    Its shape is k = (1/ᾱ − 1)/θ0² and its scale √ᾱ·θ0 (Nachmani et al. 2021, arXiv:2106.07582): sparse bright
    grains at first, and nearly Gaussian at last.
    """
    alpha, sigma = _scales(x0, t)
    shape = _shape(alpha, sigma)
    drawn = _along(noise, RANKS.to(x0.device).expand(len(shape), -1), _quantiles(shape))
    return alpha * x0 + sigma * drawn


def gamma_noise(x: Tensor, x0: Tensor, t: Time) -> Tensor:
    """The noise that makes `x` of x0 at t > 0, as nearly as gamma noise can: it has a least value."""
    alpha, sigma = _scales(x0, t)
    shape = _shape(alpha, sigma)
    return _along((x - alpha * x0) / sigma, _quantiles(shape), RANKS.to(x0.device).expand(len(shape), -1))


def blur(x0: Tensor, t: Time, noise: Tensor) -> Tensor:
    """Heat spreads until only the mean is left; the width of the blur grows about exponentially in t.

    As Rissanen et al. 2022, arXiv:2206.13397, without their noise.
    """
    width = (1 + WIDEST * max(x0.shape[-2:])) ** _column(x0, t) - 1
    return dissipate(x0, width**2 / 2)


def dissipate(x: Tensor, time: Tensor) -> Tensor:
    """The heat equation du/dτ = Δu after a `time` [B, 1, 1, 1], in pixels squared, with insulated borders.

    Solved by the cosine transform, whose waves die away each at its own rate (ibid.).
    """
    down, right = (_cosines(side, x) for side in x.shape[-2:])
    rates = _rates(x.shape[-2], x)[:, None] + _rates(x.shape[-1], x)
    return down.mT @ (down @ x @ right.mT * (-rates * time).exp()) @ right


def pixelation(x0: Tensor, t: Time, noise: Tensor) -> Tensor:
    """Means over squares of 1, 2, 4, ... pixels up to the whole picture, evenly in t and linear between two of them.

    As Bansal et al. 2022, arXiv:2208.09392, at the powers of two.
    """
    high, wide = x0.shape[-2:]
    levels = math.ceil(math.log2(max(high, wide)))
    place, seen = _column(x0, t) * levels, torch.zeros_like(x0)
    for level in range(levels + 1):
        side = 2**level
        means = F.avg_pool2d(x0, side, ceil_mode=True, count_include_pad=False) if level else x0
        whole = means.repeat_interleave(side, -2).repeat_interleave(side, -1)[..., :high, :wide]
        seen = seen + (1 - (place - level).abs()).clamp(min=0) * whole
    return seen


def masking(x0: Tensor, t: Time, noise: Tensor) -> Tensor:
    """A grey hole with a Gaussian rim grows from a point, told by the first and the last of the noise (ibid.)."""
    high, wide = x0.shape[-2:]
    t, centre = _column(x0, t), torch.special.ndtr(noise.flatten(1)[:, [0, -1], None, None, None])
    down = torch.arange(high, device=x0.device)[:, None] + 0.5 - centre[:, 0] * high
    right = torch.arange(wide, device=x0.device) + 0.5 - centre[:, 1] * wide
    # A quarter more than the square of the distance, or a hole of no width would still hide a pixel at its centre.
    far = (down.square() + right.square() + 0.25) / (HOLE * max(high, wide)) ** 2
    return x0 * -torch.expm1(-far / 2 * ((1 - t) / t).square())


@dataclass(frozen=True)
class Process:
    """`noise_of(x, x0, t)` is the noise by which x0 looks like x at time t; None where noise is not added."""

    degrade: Degrade
    noise_of: Callable[[Tensor, Tensor, Time], Tensor] | None = None


PROCESSES = {
    "gaussian noise": Process(gaussian, gaussian_noise),
    "gamma noise": Process(gamma, gamma_noise),
    "blur": Process(blur),
    "pixelation": Process(pixelation),
    "masking": Process(masking),
}


def _column(x0: Tensor, t: Time) -> Tensor:
    """t as [B or 1, 1, 1, 1]."""
    return torch.as_tensor(t, dtype=x0.dtype, device=x0.device).reshape(-1, 1, 1, 1)


def _scales(x0: Tensor, t: Time) -> tuple[Tensor, Tensor]:
    """√ᾱ and √(1 − ᾱ) of the cosine schedule."""
    angle = _column(x0, t) * (math.pi / 2)
    return angle.cos(), angle.sin()


def _shape(alpha: Tensor, sigma: Tensor) -> Tensor:
    """k of the gamma noise, [B]."""
    return (sigma / (alpha * SCALE)).square().flatten().double().clamp(*SHAPES)


def _quantiles(shape: Tensor) -> Tensor:
    """Of the gamma distribution with shapes [B], centred and of variance 1, at RANKS: [B, ranks]."""
    shape = shape[:, None]
    share = torch.special.ndtr(RANKS.to(shape.device)).expand(len(shape), -1)
    # Between its logarithms: of small shapes nearly all lie next to nothing.
    low = torch.full_like(share, -30.0)
    high = (shape + 8 * shape.sqrt() + 32).log().expand_as(share)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = torch.special.gammainc(shape.expand_as(share), middle.exp()) < share
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (high.exp() - shape) / shape.sqrt()


def _along(at: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """The line through points xs, ys [B or 1, points], xs ascending, at places `at` [B, ...]; flat beyond its ends."""
    xs, ys = (each.expand(len(at), -1).contiguous() for each in (xs, ys))
    places = at.flatten(1).double().contiguous()
    right = torch.searchsorted(xs, places).clamp(1, xs.shape[1] - 1)
    (x1, x2), (y1, y2) = ((each.gather(1, right - 1), each.gather(1, right)) for each in (xs, ys))
    share = ((places - x1) / (x2 - x1).clamp(min=1e-300)).clamp(0, 1)
    return (y1 + share * (y2 - y1)).to(at.dtype).view_as(at)


def _cosines(side: int, x: Tensor) -> Tensor:
    """The orthonormal cosine transform of so many numbers, [waves, places]."""
    waves, places = torch.arange(side, dtype=x.dtype, device=x.device), torch.arange(side, device=x.device) + 0.5
    basis = (math.pi / side * waves[:, None] * places).cos() * math.sqrt(2 / side)
    basis[0] /= math.sqrt(2)
    return basis.to(x.dtype)


def _rates(side: int, x: Tensor) -> Tensor:
    """How fast each wave of the cosine transform dies away, per pixel squared."""
    return (torch.arange(side, dtype=x.dtype, device=x.device) * (math.pi / side)).square()
