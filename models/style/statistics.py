"""Style by statistics: while a picture is drawn again from noise, the means and covariances of its channels are pulled
to those of the style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoising.guidance import guided
from ..denoising.space import Space
from ..sampling.noise import Noise
from ..sampling.plan import Plan
from ..sampling.sample import run
from ..sampling.solver import plan as make_plan
from ..sampling.watch import Observer
from .regions import Regions, regions
from .transport import mkl

NO_CHANNELS = slice(0)
FADE = 0.5  # the share of noise below which the pull fades out
LEAST_DETAIL = 1e-2  # of x0: less is rounding, and not to be made seen
FINE = 1.5  # pixels or latents: the radius below which structure is the content's


def moments(x: Tensor, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Means and standard deviations [B, C, 1, 1] of x [B, C, H, W], of the places where `where` [B, 1, H, W] is 1."""
    weight = torch.ones_like(x[:, :1]) if where is None else where.to(x).expand(len(x), -1, -1, -1)
    weight = weight / weight.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (x * weight).sum((2, 3), keepdim=True)
    return mean, ((x - mean).square() * weight).sum((2, 3), keepdim=True).sqrt()


def adain(x: Tensor, style: Tensor, where: Tensor | None = None, style_where: Tensor | None = None) -> Tensor:
    """x [B, C, H, W] with the means and standard deviations of a style [B or 1, C, h, w], channel by channel.

    Huang & Belongie 2017, arXiv:1703.06868, equation 8. Channels of one value everywhere are only shifted.
    """
    (mean, spread), (wanted, width) = moments(x, where), moments(style, style_where)
    gain = torch.where(spread > 0, width / spread.clamp(min=torch.finfo(x.dtype).tiny), 1.0)
    return (x - mean) * gain + wanted


def recast(
    content: Tensor,
    styles: Sequence[Tensor],
    acting: Regions,
    kept: slice = NO_CHANNELS,
    where: Tensor | None = None,
    styles_where: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """`adain` to several styles, as far as each of them acts, but for channels that are `kept`."""
    styles_where = [None] * len(styles) if styles_where is None else styles_where
    each = [adain(content, style, where, there) for style, there in zip(styles, styles_where, strict=True)]
    moved = acting.mixed(content, each)
    moved[:, kept] = content[:, kept]
    return moved


def whitened_coloured(
    x: Tensor, style: Tensor, where: Tensor | None = None, style_where: Tensor | None = None
) -> Tensor:
    """The same with the covariances of the channels too, by the map of least movement: see `transport.mkl`."""
    moved = []
    for index, one in enumerate(x):
        target = style[index % len(style)]
        own, wanted = _places(one, where, index), _places(target, style_where, index)
        moved.append(mkl(own, wanted)(one.flatten(1).T).T.view_as(one) if len(own) and len(wanted) else one)
    return torch.stack(moved)


def _places(x: Tensor, where: Tensor | None, index: int) -> Tensor:
    """The values of x [C, H, W] as rows [N, C]."""
    values = x.flatten(1).T
    return values if where is None else values[where[index % len(where)].flatten() > 0.5]


def pulled(
    D: Callable[[Tensor, float], Tensor],
    content: Tensor,
    styles: Sequence[Tensor],
    space: Space,
    acting: Regions,
    *,
    structure: float,
    kept: slice = NO_CHANNELS,
    where: Tensor | None = None,
    styles_where: Sequence[Tensor | None] | None = None,
) -> Callable[[Tensor, float], Tensor]:
    """D(x, sigma) -> x0 whose x0 is pulled to the statistics of the styles, and keeps fine detail of the content.

    content [B, C, H, W] and styles [B or 1, C, h, w] of any size are x0 as D says it, on its device. The pull is as
    strong as `acting` says, and fades out where noise is less than `FADE` of a state. `structure` 0..1 is how much of
    what is finer than `FINE` is the content's own, in the colours of the style and as strong as in the content. `kept`
    channels are the content's. `where` [B, 1, H, W] and `styles_where` say which places count, 1 or 0: those that are
    not transparent.
    """
    styles_where = [None] * len(styles) if styles_where is None else styles_where

    def in_style(x0: Tensor) -> Tensor:
        each = [
            whitened_coloured(x0, style.to(x0), where, style_where)
            for style, style_where in zip(styles, styles_where, strict=True)
        ]
        return acting.mixed(x0, each)

    fine = structure * _as_strong(*(_detail(each, where) for each in (in_style(content), content)))

    def D_pulled(x: Tensor, sigma: float) -> Tensor:
        x0 = D(x, sigma).to(x)
        x0 = torch.lerp(x0, in_style(x0), min(1.0, noise_share(sigma, space) / FADE))
        x0 = x0 + fine - structure * _detail(x0, where)
        x0[:, kept] = content[:, kept]
        return x0

    return D_pulled


def noise_share(sigma: float, space: Space) -> float:
    """How much of a state of data of unit spread is noise, 0..1."""
    return sigma / math.hypot(space.alpha(sigma), sigma)


def sigma_of(share: float, space: Space) -> float:
    """The σ at which noise is so much of a state of data of unit spread, `share` above 0 and up to 1."""
    return space.sigma_limit if share == 1 else space.sigma_of_snr(math.sqrt(1 / share**2 - 1))


def start(space: Space, strength: float, structure: float) -> float:
    """The σ from which a picture is drawn again: pure noise where the styles' strength is 1 and structure is 0."""
    return sigma_of(strength * (1 - structure / 2), space)


def _detail(x: Tensor, where: Tensor | None) -> Tensor:
    """What is finer than `FINE` in x [B, C, H, W], of the places that count."""
    weight = torch.ones_like(x[:, :1]) if where is None else where.to(x)
    return weight * (x - _blurred(x * weight) / _blurred(weight).clamp(min=torch.finfo(x.dtype).tiny))


def _as_strong(detail: Tensor, other: Tensor) -> Tensor:
    """Detail [B, C, H, W] with the mean square of another's, unless it is hardly any."""
    own, wanted = (each.square().mean((1, 2, 3), keepdim=True).sqrt() for each in (detail, other))
    return detail * (wanted / own.clamp(min=LEAST_DETAIL))


def _blurred(x: Tensor) -> Tensor:
    reach = math.ceil(3 * FINE)
    kernel = torch.exp(-torch.arange(-reach, reach + 1).to(x).square() / (2 * FINE**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, [0, 0, reach, reach]), kernel.mT, groups=x.shape[1])
    return F.conv2d(F.pad(x, [reach, reach]), kernel, groups=x.shape[1])


def styled(
    denoiser: Any,
    content: Tensor,
    styles: Sequence[Tensor],
    sigmas: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    masks: Sequence[Tensor | None] | None = None,
    strength: float = 1.0,
    structure: float = 0.5,
    cond: Any = None,
    seed: int = 0,
    solver: str | Plan = "dpmpp_2m",
    kept: slice = NO_CHANNELS,
    where: Tensor | None = None,
    styles_where: Sequence[Tensor | None] | None = None,
    observe: Observer | None = None,
    pictures: bool = False,
) -> Tensor:
    """The content [B, C, H, W] drawn again from its noised state at sigmas[0], `pulled` to the styles: x0 of its shape.

    Any denoiser will do. `weights` and `masks`: see `regions`. observe, pictures: see `sample`.
    """
    space, acting = denoiser.space, regions(content, weights or [1.0] * len(styles), masks, strength)
    plan = solver if isinstance(solver, Plan) else make_plan(solver, sigmas, space)
    D = guided(denoiser, [row.sigma for row in plan.rows[:-1]], content.shape, positive=cond)
    D = pulled(
        D, content, styles, space, acting, structure=structure, kept=kept, where=where, styles_where=styles_where
    )
    noise = Noise(seed, range(len(content)), content.shape[1:], content.device, content.dtype)
    scale = getattr(denoiser, "pure_noise", float)(sigmas[0])
    x = content * space.alpha(sigmas[0]) + noise(0) * scale
    return run(plan, D, x, noise, observe=observe, pictures=pictures)
