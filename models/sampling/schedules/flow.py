"""Curves of flow models, where σ falls from 1 to 0, and the shift that bends them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from .ranges import linear
from .spacing import Schedule, check_steps, descending


def flow_shift(sigmas: Sequence[float], shift: float) -> Schedule:
    """σ → s·σ / (1 + (s − 1)·σ) in flow space (Esser et al. 2024, arXiv:2403.03206, section 5.3.2)."""
    if shift <= 0:
        raise ValueError(f"a flow shift is a positive factor, not {shift:g}")
    if sigmas and max(sigmas) > 1:
        raise ValueError(f"a flow shift needs σ ≤ 1, and this schedule starts at {max(sigmas):g}")
    return [shift * sigma / (1 + (shift - 1) * sigma) for sigma in sigmas]


def flux(steps: int, tokens: float, base: float = 0.5, most: float = 1.15) -> Schedule:
    """`linear`, shifted by e^μ; μ grows from `base` at 256 tokens to `most` at 4096, diffusers' "dynamic shifting".

    A picture has (width/16)·(height/16) tokens. As in its authors' sampler, github.com/black-forest-labs/flux.
    """
    return flow_shift(linear(steps, 0.0, 1.0), math.exp(_between(tokens, 256, 4096, base, most)))


def flux2(steps: int, tokens: float) -> Schedule:
    """`linear`, shifted by e^μ; μ falls with the steps and grows with the tokens, (width/16)·(height/16).

    The fit is that of its authors' sampler, github.com/black-forest-labs/flux2.
    """
    at_10, at_200 = 8.73809524e-05 * tokens + 1.89833333, 0.00016927 * tokens + 0.45666666
    mu = at_200 if tokens > 4300 else _between(steps, 10, 200, at_10, at_200)
    return flow_shift(linear(steps, 0.0, 1.0), math.exp(mu))


def ltxv(steps: int, tokens: float, base: float = 0.95, most: float = 2.05, terminal: float = 0.1) -> Schedule:
    """`flux` for LTX-Video, μ from `base` at 1024 tokens to `most` at 4096, stretched so that its last step starts at
    `terminal`.

    A picture has (width/32)·(height/32) tokens. As in its authors' sampler, github.com/Lightricks/LTX-Video.
    """
    shifted = flow_shift(linear(steps, 0.0, 1.0), math.exp(_between(tokens, 1024, 4096, base, most)))
    if steps == 1:
        return shifted
    stretch = (1 - terminal) / (1 - shifted[-2])
    return [*(1 - stretch * (1 - sigma) for sigma in shifted[:-1]), 0.0]


def ideogram4(steps: int, pixels: float, mu: float = 0.0, std: float = 1.75) -> Schedule:
    """Quantiles of a normal distribution of log(σ/(1−σ)), centre `mu` + ½·log(pixels/512²), spread `std`.

    The logarithm keeps within −7.5 and 9. As ComfyUI samples Ideogram 4.
    """
    check_steps(steps)
    mean, normal = mu + math.log(pixels / 512**2) / 2, NormalDist()
    lowest, highest = -7.5, 9.0
    between = [mean + std * normal.inv_cdf(1 - index / steps) for index in range(1, steps)]
    levels = [1 / (1 + math.exp(-min(max(logit, lowest), highest))) for logit in (highest, *between)]
    return descending([*levels, 0.0], "take fewer steps, or a mu nearer 0")


def _between(place: float, first: float, last: float, at_first: float, at_last: float) -> float:
    return at_first + (place - first) * (at_last - at_first) / (last - first)
