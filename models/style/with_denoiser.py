"""Style transfer with a denoiser: pictures to its x0, one of the methods, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoising import pixels
from ..denoising.denoiser import Cond, Denoiser
from ..denoising.space import FLOW
from ..sampling import schedule
from ..sampling.watch import Observer
from . import distil, injection, statistics

STATISTICS, ATTENTION, DISTIL = "statistics", "attention", "distil"
METHODS = [STATISTICS, ATTENTION, DISTIL]
STEPS = {STATISTICS: 20, ATTENTION: 20, DISTIL: 60}


def transfer(
    denoiser: Denoiser,
    content: Tensor,
    styles: Sequence[Tensor],
    *,
    method: str = ATTENTION,
    weights: Sequence[float] | None = None,
    masks: Sequence[Tensor | None] | None = None,
    strength: float = 1.0,
    structure: float = 0.5,
    steps: int = 0,
    cond: Cond = None,
    seed: int = 0,
    observe: Observer | None = None,
    pictures: bool = False,
) -> Tensor:
    """Pictures [B, H, W, 3 or 4] in 0..1 in the style of others [B or 1, h, w, 3 or 4]: content's shape.

    A fourth channel is alpha: the content's is kept, nothing changes where it is 0, and statistics are of what is
    opaque. Sides are filled up to what the net takes, and styles scaled and cropped to that. Each style has its share
    by `weights`, and acts where its mask [B or 1, h, w] is 1. `strength` 0..1 is how far they act, and 0 gives the
    content bit for bit; `structure` 0..1 is how much stays the content's. `steps` 0 is the method's own number. `cond`
    is one condition for all. observe, pictures: see `sample`.

    "statistics" (see there) takes any denoiser and is fast; "attention" (see `injection`) and "distil" take those whose
    net has self-attention. Raises ValueError for another method, for latents without an autoencoder, and for a style of
    which nothing is seen.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a method: it should be one of {', '.join(METHODS)}")
    if denoiser.latents is not None and denoiser.autoencoder is None:
        raise ValueError("this denoiser draws latents: style needs an autoencoder that makes latents of pictures")
    if strength == 0:
        return content.clone()
    weights = [1.0] * len(styles) if weights is None else weights
    masks = [None] * len(styles) if masks is None else masks
    acting = [number for number, weight in enumerate(weights) if weight != 0]

    multiple = denoiser.net.multiple * (denoiser.latents.downscale if denoiser.latents else 1)
    picture, size = _filled(_rgba(content, denoiser), multiple), content.shape[1:3]
    masks = [_filled(_mask(masks[number], picture, size), multiple) * picture[:, 3:] for number in acting]
    looks = [_covering(_rgba(styles[number], denoiser), picture.shape[2:]) for number in acting]
    for number, look in zip(acting, looks, strict=True):
        if not look[:, 3:].any():
            raise ValueError(f"style {number + 1} is transparent everywhere: there is nothing to take from it")
    x0, *of_styles = (_x0(denoiser, each) for each in (picture, *looks))
    options = {
        "weights": [weights[number] for number in acting],
        "masks": [mask[:, 0] for mask in masks],
        "where": _where(picture, x0),
        "styles_where": [_where(each, x0) for each in looks],
        "strength": strength,
        "structure": structure,
        "cond": cond,
        "kept": slice(3, 4) if denoiser.channels == "rgba" else statistics.NO_CHANNELS,
        "observe": observe,
        "pictures": pictures,
    }
    levels = levels_of(denoiser, method, steps or STEPS[method], strength, structure)
    if method == STATISTICS:
        x0 = statistics.styled(denoiser, x0, of_styles, levels, seed=seed, **options)
    elif method == ATTENTION:
        x0 = injection.styled(denoiser, x0, of_styles, levels, **options)
    else:
        x0 = distil.styled(denoiser, x0, of_styles, levels, seed=seed, **options)
    changed = torch.stack(masks).amax(0)[..., : size[0], : size[1]].movedim(1, -1).to(content)
    styled = _colours(denoiser, x0, picture)[:, : size[0], : size[1]].to(content)
    rgb = torch.where(changed > 0, torch.lerp(content[..., :3], styled, changed), content[..., :3])
    return torch.cat([rgb, content[..., 3:]], -1)


def levels_of(denoiser: Any, method: str, steps: int, strength: float, structure: float) -> list[float]:
    """The noise levels of a method, `steps` + 1 of them."""
    space, lowest, highest = denoiser.space, denoiser.sigma_min, denoiser.sigma_max
    if method == DISTIL:
        return distil.levels(steps, space)
    if method == STATISTICS:
        highest = min(highest, statistics.start(space, strength, structure))
        lowest = min(lowest, highest / 10)
    if space is FLOW:
        return schedule.linear(steps, 0.0, highest)
    return schedule.karras(steps, lowest, highest)


def _rgba(pictures: Tensor, denoiser: Denoiser) -> Tensor:
    """[B, H, W, 3 or 4] -> [B, 4, H, W] in float32, where the denoiser is; what can be seen is opaque."""
    pictures = pictures.movedim(-1, 1).to(denoiser.device, torch.float32).clamp(0, 1)
    rgb, alpha = pictures.tensor_split([3], 1)
    seen = alpha > 0 if alpha.shape[1] else torch.ones_like(rgb[:, :1])
    return torch.cat([rgb, seen.to(rgb)], 1)


def _filled(x: Tensor, multiple: int) -> Tensor:
    """[B, C, H, W] with the last row and column repeated until both sides are multiples."""
    height, width = x.shape[2:]
    return F.pad(x, [0, -width % multiple, 0, -height % multiple], "replicate")


def _covering(style: Tensor, size: Sequence[int]) -> Tensor:
    """A style [B, C, h, w] scaled to cover so many rows and columns, and cropped around the middle."""
    scale = max(wanted / own for wanted, own in zip(size, style.shape[2:], strict=True))
    if scale != 1:
        covering = [max(wanted, round(scale * own)) for wanted, own in zip(size, style.shape[2:], strict=True)]
        style = F.interpolate(style, covering, mode="bilinear", antialias=True)
    top, left = ((own - wanted) // 2 for wanted, own in zip(size, style.shape[2:], strict=True))
    return style[..., top : top + size[0], left : left + size[1]]


def _mask(mask: Tensor | None, picture: Tensor, size: Sequence[int]) -> Tensor:
    """A mask [B or 1, h, w] as [B, 1, H, W] of such a size; ones for none."""
    if mask is None:
        return picture.new_ones(len(picture), 1, *size)
    return F.interpolate(mask[:, None].to(picture), size, mode="area").clamp(0, 1).expand(len(picture), -1, -1, -1)


def _x0(denoiser: Denoiser, rgba: Tensor) -> Tensor:
    rgb, alpha = rgba[:, :3].movedim(1, -1), rgba[:, 3]
    if denoiser.latents is None:
        return pixels.encode(rgb, alpha, denoiser.channels)
    return denoiser.latents.from_wire(denoiser.autoencoder.encode(rgb).to(rgb))


def _colours(denoiser: Denoiser, x0: Tensor, picture: Tensor) -> Tensor:
    """Colours [B, H, W, 3] of x0, where the picture [B, 4, H, W] is opaque."""
    if denoiser.channels == "rgba":
        x0 = torch.cat([x0[:, :3], 2 * picture[:, 3:] - 1], 1)
    return denoiser.pictures(x0)[0]


def _where(picture: Tensor, x0: Tensor) -> Tensor | None:
    """Which places of x0 are opaque in a picture [B, 4, H, W]: [B, 1, h, w], 0 or 1; None if all are."""
    opaque = F.interpolate(picture[:, 3:], x0.shape[2:], mode="area") > 0.5
    return None if opaque.all() or not opaque.any() else opaque.to(x0)
