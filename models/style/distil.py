"""Style by distilling attention: a picture is changed until its attention finds in it what it would in the style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..denoising.denoiser import Cond, Denoiser
from ..denoising.space import Space
from ..nets.attention import OwnAttention, usual
from ..sampling.inpaint import noised
from ..sampling.noise import Noise
from ..sampling.watch import Observer, Watch
from .attention import attend
from .injection import LAST, check_styles, first_of
from .regions import Regions, regions
from .statistics import NO_CHANNELS, recast, sigma_of

RATE = 0.05
OF_CONTENT = 0.25  # the weight of the content's queries where structure is 1
BELIEF = 0.2
NOISIEST, CLEAREST = 0.45, 0.1  # the shares of noise at which a picture is looked at


class Seen(NamedTuple):
    """What a self-attention was asked, what there was to see, and what it saw: [N, heads, L, D] each, and the text."""

    query: Tensor
    key: Tensor
    value: Tensor
    beside: Sequence[tuple[Tensor, Tensor]]
    seen: Tensor


def levels(steps: int, space: Space) -> list[float]:
    """The noise levels of so many steps, evenly spaced in the logarithm of the signal-to-noise ratio, and then 0."""
    first, last = (space.log_snr(sigma_of(share, space)) for share in (NOISIEST, CLEAREST))
    return [*(space.sigma(first + (last - first) * step / max(1, steps - 1)) for step in range(steps)), 0.0]


# A node runs in inference mode, where nothing has a gradient.
@torch.inference_mode(False)
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
    last: float = LAST,
    rate: float = RATE,
    belief: float = BELIEF,
    cond: Cond = None,
    kept: slice = NO_CHANNELS,
    where: Tensor | None = None,
    styles_where: Sequence[Tensor | None] | None = None,
    seed: int = 0,
    observe: Observer | None = None,
    pictures: bool = False,
) -> Tensor:
    """The content [B, C, H, W] in the style of others [B or 1, C, H, W], all of them x0: x0.

    Attention Distillation (Zhou et al. 2025, arXiv:2502.20235): x0 starts as the content, `recast` to the styles. Adam,
    at a `rate`, times `strength`, that falls to 0, makes the mean distance smaller between what the `last` part of the
    net's self-attentions see in it and what the same queries see in the styles, and with `structure` 0..1 that between
    its queries and the content's. There is a step for each of `sigmas` but the last, at that noise level, with the same
    noise for all pictures. After each step x0 moves by `belief` towards what the denoiser made of it, less what that
    loses of the content: pixels would get specks that attention does not mind. A content in its own style comes back
    to within `rate`.

    `weights`, `masks` and `strength`: see `regions`. `cond` is one condition for all. `kept` channels stay the
    content's. `where` [B, 1, H, W] and `styles_where` say whose statistics count. observe, pictures: see `sample`.
    """
    check_styles(content, styles)
    space, batch = denoiser.space, len(content)
    content, styles = content.clone(), [style.to(content).clone() for style in styles]
    cond = cond and {name: part.clone() for name, part in cond.items()}
    acting = regions(content, weights or [1.0] * len(styles), masks, strength)
    parts, known = [batch, *map(len, styles)], torch.cat([content, *styles])
    weight, heard, first, seen = OF_CONTENT * structure**2, sigmas[:-1], first_of(denoiser, last), []
    remembering = denoiser.with_attention(_remembering(seen, first))
    with torch.no_grad():
        D = remembering.prepare(heard, cond, content.shape)
        D_known = remembering.prepare(heard, cond, known.shape)
    noise = Noise(seed, range(batch), content.shape[1:], content.device, content.dtype)
    watch = Watch(len(heard), content.device, observe, pictures)
    x0 = recast(content, styles, acting, kept, where, styles_where).requires_grad_()
    adam = torch.optim.Adam([x0], rate)
    for index, sigma in enumerate(heard):
        fresh = noise(index)
        with torch.no_grad():
            of_content = D_known(noised(space, known, sigma, torch.cat([fresh[:part] for part in parts])), sigma)
        theirs = seen.copy()
        seen.clear()
        with torch.enable_grad():
            believed = D(noised(space, x0, sigma, fresh), sigma)
            loss = sum(_distance(*pair, parts, acting, weight) for pair in zip(seen, theirs, strict=True))
        seen.clear()
        # Slopes of means over many numbers are too small for half precision.
        (x0.grad,) = torch.autograd.grad(loss * x0.numel(), x0)
        x0.grad[:, kept] = 0
        adam.param_groups[0]["lr"] = rate * strength * (1 - index / len(heard))
        adam.step()
        believed = believed.detach() - of_content[:batch] + content
        believed[:, kept] = content[:, kept]
        x0.data.lerp_(believed, belief)
        watch.record(index, sigma, x0.detach())
    watch.finish()
    return x0.detach()


def _remembering(memory: list[Seen], first: int) -> OwnAttention:
    """The usual attention, of which is remembered what comes from number `first` on."""

    def attention(query: Tensor, key: Tensor, value: Tensor, layer: int, beside: Sequence) -> Tensor:
        seen = usual(query, key, value, beside)
        if layer >= first:
            memory.append(Seen(query, key, value, beside, seen))
        return seen

    return attention


def _distance(mine: Seen, theirs: Seen, parts: list[int], acting: Regions, weight: float) -> Tensor:
    """How far the picture's attention is from what it would see in content and styles, and its queries from theirs."""
    with torch.no_grad():
        content, *styles = zip(theirs.key.split(parts), theirs.value.split(parts), strict=True)
        share, cover = acting.of_tokens(mine.query.shape[2])
        text = [1.0] * len(mine.beside)
        found = attend(mine.query, [*mine.beside, *styles], [*text, *share])
        wanted = torch.lerp(usual(mine.query, *content, mine.beside), found, cover[:, None, :, None].to(found))
    return _apart(mine.seen, wanted) + weight * _apart(mine.query, theirs.query[: parts[0]])


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """The mean distance of numbers."""
    return (a - b).abs().mean(dtype=torch.promote_types(a.dtype, torch.float32))
