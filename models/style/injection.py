"""Style by attention: the picture is drawn again from its own noise, and in the net it looks at the style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..denoising.denoiser import Cond, Denoiser
from ..nets.attention import usual
from ..sampling.sample import run
from ..sampling.solver import plan as make_plan
from ..sampling.watch import Observer
from .attention import attend
from .invert import ROUNDS, Step, evaluations, invert
from .regions import Regions, regions
from .statistics import NO_CHANNELS, recast

TEMPERATURE = 1.5
LAST = 6 / 16  # of a net's self-attentions: those nearest to the picture, six of Stable Diffusion's sixteen


def first_of(denoiser: Denoiser, last: float) -> int:
    """With which self-attention the `last` part of them begins. Raises ValueError for a net without any."""
    if not getattr(denoiser.net, "attentions", 0):
        raise ValueError("this denoiser's net has no self-attention to style with: the method statistics does without")
    return denoiser.net.attentions - math.ceil(last * denoiser.net.attentions)


def styled(
    denoiser: Denoiser,
    content: Tensor,
    styles: Sequence[Tensor],
    sigmas: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    masks: Sequence[Tensor | None] | None = None,
    strength: float = 1.0,
    structure: float = 0.5,
    temperature: float = TEMPERATURE,
    last: float = LAST,
    rounds: int = ROUNDS,
    cond: Cond = None,
    kept: slice = NO_CHANNELS,
    where: Tensor | None = None,
    styles_where: Sequence[Tensor | None] | None = None,
    observe: Observer | None = None,
    pictures: bool = False,
) -> Tensor:
    """The content [B, C, H, W] in the style of others [B or 1, C, H, W], all of them x0: x0.

    StyleID (Chung et al. 2024, arXiv:2312.09008): content and styles are inverted along `sigmas`; the picture is drawn
    from the content's noise with the style's statistics; and the `last` part of the net's self-attentions asks with
    queries that are the content's but for (1 − `structure`)², sharpened by `temperature`, what the styles' keys and
    values say. Picture, content and styles go through the net in one call, so that nothing is stored. What inverting
    loses of the content is given back (Ju et al. 2023, arXiv:2310.01506): in its own style, at a temperature of 1, it
    comes back exactly.

    `weights`, `masks` and `strength`: see `regions`. `cond` is one condition for all. `kept` channels stay the
    content's. `where` [B, 1, H, W] and `styles_where` say whose statistics count. `rounds`: see `invert`; observe,
    pictures: see `sample`, but that inverting is part of it. There is no chance in it.
    """
    check_styles(content, styles)
    space, batch = denoiser.space, len(content)
    acting = regions(content, weights or [1.0] * len(styles), masks, strength)
    known = torch.cat([content, *(style.to(content) for style in styles)])
    parts = [batch, *map(len, styles)]
    inverting, drawing = evaluations(sigmas, rounds), len(sigmas) - 1
    watching = counted(observe, 0, inverting + drawing)
    D = denoiser.prepare(sigmas, cond, known.shape)
    states = dict(zip(sigmas, invert(D, known, sigmas, space, rounds=rounds, observe=watching), strict=True))
    # What D would have to say of the content for Euler's steps to lead along its states.
    wanted = {
        high: (states[low][:batch] - step.keep * states[high][:batch]) / step.take
        for high, low in pairwise(sigmas)
        for step in [Step.between(high, low, space)]
    }

    attention = _looking(parts, acting, 1 - (1 - structure) ** 2, temperature, first_of(denoiser, last))
    looking = denoiser.with_attention(attention)
    together = looking.prepare(sigmas, cond, (batch + len(known), *content.shape[1:]))

    def D_looking(x: Tensor, sigma: float) -> Tensor:
        drawn, of_content, *_ = together(torch.cat([x, states[sigma]]), sigma).split([batch, *parts])
        drawn = drawn + (wanted[sigma] - of_content)
        drawn[:, kept] = wanted[sigma][:, kept]
        return drawn

    noise, *others = states[sigmas[0]].split(parts)
    x = recast(noise, others, acting, kept, where, styles_where)
    plan = make_plan("euler", sigmas, space)
    watching = counted(observe, inverting, inverting + drawing)
    return run(plan, D_looking, x, _no_noise, observe=watching, pictures=pictures)


def check_styles(content: Tensor, styles: Sequence[Tensor]) -> None:
    """Raise ValueError for styles that cannot share a call of the net with the content."""
    for number, style in enumerate(styles, 1):
        if style.shape[1:] != content.shape[1:] or len(style) not in (1, len(content)):
            raise ValueError(
                f"style {number} has the shape {list(style.shape)} and the content {list(content.shape)}: "
                "attention needs styles of the content's size, one for all pictures or one each"
            )


def counted(observe: Observer | None, before: int, total: int) -> Observer | None:
    """`observe` for a part of a run, `before` evaluations of `total` after its start."""
    if observe is None:
        return None
    return lambda done, _, x0: observe(before + done, total, x0)


def _looking(parts: list[int], acting: Regions, blend: float, temperature: float, first: int) -> Callable:
    """Attention on rows of picture, content and styles, in which from number `first` on the picture looks at styles."""
    batch = parts[0]

    def attention(query: Tensor, key: Tensor, value: Tensor, layer: int, beside: Sequence) -> Tensor:
        if layer < first:
            return usual(query, key, value, beside)
        own, *rest = (part.tensor_split([batch]) for part in (query, key, value))
        others = usual(own[1], *(part[1] for part in rest), [(k[batch:], v[batch:]) for k, v in beside])
        asked = torch.lerp(own[0], own[1][:batch], blend)
        _, *seen = zip(*(part[1].split(parts) for part in rest), strict=True)
        text = [(k[:batch], v[:batch]) for k, v in beside]
        share, cover = acting.of_tokens(query.shape[2])
        found = attend(asked, [*text, *seen], [1.0] * len(text) + list(share), temperature)
        return torch.cat([torch.lerp(others[:batch], found, cover[:, None, :, None].to(found)), others])

    return attention


def _no_noise(_: int) -> Tensor:
    raise AssertionError("Euler's steps take no noise")
