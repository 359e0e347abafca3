"""Guidance: which method, where it acts, and the wrapper that feeds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .combine import METHODS, OTHERS, Combine


@dataclass(frozen=True)
class Guidance:
    """A method of `METHODS` with its knobs, and the σ interval [low, high] in which it acts.

    Outside it the positive alone decides (Kynkäänniemi et al. 2024, arXiv:2404.07724). A `guide` is a weaker denoiser:
    it takes the place of the negative, with the positive's condition (autoguidance, Karras et al. 2024,
    arXiv:2406.02507). `empty` is the empty prompt, for perp_neg, where a denoiser does not take None for it.
    """

    method: str = "cfg"
    knobs: tuple[tuple[str, float], ...] = ()
    low: float = 0.0
    high: float = math.inf
    guide: Any = None
    empty: Any = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown guidance {self.method!r}: use one of {', '.join(METHODS)}")
        if not self.low <= self.high:
            raise ValueError(f"the guidance interval ends at σ {self.high:g}, below its start at {self.low:g}")
        if self.guide is not None and self.method == "perp_neg":
            raise ValueError("perp_neg steers by the negative, and a guide takes its place: choose one of them")

    def combine(self, scale: float) -> Combine:
        """What combines the predictions of one run."""
        return METHODS[self.method](scale, **dict(self.knobs))

    def acts(self, sigma: float) -> bool:
        return self.low <= sigma <= self.high

    def changes(self, scale: float) -> bool:
        """Whether it does anything at this strength: pag does so without a negative."""
        return scale != 1 or (self.method == "pag" and dict(self.knobs).get("strength") != 0)

    @property
    def other(self) -> str | None:
        """The third prediction that it takes, of `OTHERS`, if any."""
        return None if self.method == "pag" and not self.changes(1.0) else OTHERS.get(self.method)


CFG = Guidance()


def guided(
    denoiser: Any,
    sigmas: Sequence[float],
    shape: Sequence[int],
    *,
    positive: Any = None,
    negative: Any = None,
    scale: float = 1.0,
    pairs: bool = False,
) -> Callable[[Tensor, float], Any]:
    """D(x, sigma) -> x0 of a run over `sigmas` with states of `shape`: the denoiser, conditioned and guided.

    `positive` and `negative` are conditions, or lists of conditions whose predictions are averaged. All go through the
    net in one call if the denoiser has `prepare_all`, else through one each; a guide's own go through the guide. With
    `scale` 1 (but for pag), without any condition or guide, and outside the guidance's interval, only the positive is
    computed. With `pairs` D gives x0 and the negative's, always.
    """
    guidance = getattr(denoiser, "guidance", CFG)
    positives, negatives, guide = _as_list(positive), _as_list(negative), guidance.guide
    if not (positives and negatives):
        raise ValueError("an empty list is no condition: pass None for the unconditional denoiser")
    if guide is None and all(cond is None for cond in positives + negatives):
        scale = 1.0
    changes = guidance.changes(scale)
    needs_negative = pairs or scale != 1

    guided_levels = [sigma for sigma in sigmas if pairs or (changes and guidance.acts(sigma))]
    plain_levels = [sigma for sigma in sigmas if sigma not in guided_levels]
    others = _others(guidance, denoiser, positives, negatives) if changes and guided_levels else []
    own = [positives, negatives if needs_negative and guide is None else [], others]
    plain = _outputs(denoiser, plain_levels, positives, shape)
    ask = _grouped(denoiser, guided_levels, own, shape)
    weaker = _weaker(guide, denoiser, guided_levels, positives, shape) if guide is not None and needs_negative else None
    combine = guidance.combine(scale)

    def pair(x: Tensor, sigma: float) -> tuple[Tensor, Tensor | None]:
        positive, negative, *other = ask(x, sigma)
        if weaker is not None:
            negative = weaker(x, sigma)
        acts = changes and guidance.acts(sigma)
        return combine(positive, negative, x, sigma, *other) if acts else positive, negative

    def D(x: Tensor, sigma: float) -> Tensor:
        if not (changes and guidance.acts(sigma)):
            return _mean(plain(x, sigma))
        return pair(x, sigma)[0]

    return pair if pairs else D


def _others(guidance: Guidance, denoiser: Any, positives: list, negatives: list) -> list:
    """The conditions of the third prediction."""
    if guidance.other == "empty":
        return _as_list(guidance.empty) if any(cond is not None for cond in negatives) else []
    if guidance.other == "perturbed":
        if not hasattr(denoiser, "without_attention"):
            raise ValueError("pag needs a denoiser with attention in the middle of its net, and this one has none")
        return [denoiser.without_attention(cond) for cond in positives]
    return []


def _grouped(
    denoiser: Any, sigmas: Sequence[float], groups: list[list], shape: Sequence[int]
) -> Callable[[Tensor, float], list[Tensor | None]]:
    """The mean prediction of each group of conditions; None for an empty one, and nothing for an empty last one."""
    ask = _outputs(denoiser, sigmas, [cond for group in groups for cond in group], shape)

    def means(x: Tensor, sigma: float) -> list[Tensor | None]:
        outputs = iter(ask(x, sigma))
        found = [[next(outputs) for _ in group] for group in groups]
        return [_mean(group) if group else None for group in (found if found[-1] else found[:-1])]

    return means


def _weaker(
    guide: Any, denoiser: Any, sigmas: Sequence[float], positives: list, shape: Sequence[int]
) -> Callable[[Tensor, float], Tensor]:
    """The guide's prediction for the positives."""
    spaces = [getattr(each, "space", None) for each in (guide, denoiser)]
    if None not in spaces and spaces[0] != spaces[1]:
        raise ValueError(f"a denoiser in {spaces[1].name} space cannot be guided by one in {spaces[0].name} space")
    kinds = [getattr(each, "channels", None) for each in (guide, denoiser)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise ValueError(f"a denoiser of {kinds[1]} cannot be guided by one of {kinds[0]}: take one of the same family")
    read = getattr(guide, "reading", None)
    conds = positives if read is None else [read(cond, denoiser) for cond in positives]
    ask = _outputs(guide, sigmas, conds, shape)
    return lambda x, sigma: _mean(ask(x, sigma))


def _as_list(cond: Any) -> list:
    return cond if isinstance(cond, list) else [cond]


def _mean(outputs: Sequence[Tensor]) -> Tensor:
    return outputs[0] if len(outputs) == 1 else torch.stack(list(outputs)).mean(0)


def _outputs(
    denoiser: Any, sigmas: Sequence[float], conds: list, shape: Sequence[int]
) -> Callable[[Tensor, float], Sequence[Tensor]]:
    if hasattr(denoiser, "prepare_all") and sigmas:
        return denoiser.prepare_all(sigmas, conds, shape)
    return lambda x, sigma: [denoiser(x, sigma, cond) for cond in conds]
