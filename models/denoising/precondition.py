"""Preconditioning: four scalars make a net a denoiser, D(x, σ) = c_skip·x + c_out·F(c_in·x, c_noise).

The form is that of Karras et al. 2022 (arXiv:2206.00364), equation 7; with it the usual training losses of
all parametrisations are one: the mean square of the net's own output against `target`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .space import FLOW, VE, Space


class Scalars(NamedTuple):
    """What multiplies what at one noise level; floats, or tensors of σ's shape."""

    skip: Any
    out: Any
    input: Any
    noise: Any


@dataclass(frozen=True)
class Precondition:
    """How one kind of net output becomes x0. `scalars` takes σ > 0 as a float or a tensor."""

    name: str
    space: Space
    scalars: Callable[[Any], Scalars]

    def target(self, x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """What the net should say, F* = (x0 − c_skip·x) / c_out, for broadcastable `sigma`."""
        c = self.scalars(sigma)
        return (x0 - c.skip * x) / c.out


def _log(sigma: Any) -> Any:
    return sigma.log() if isinstance(sigma, Tensor) else math.log(sigma)


def quarter_log(sigma: Any) -> Any:
    """EDM's noise label, ln(σ)/4."""
    return _log(sigma) / 4


def edm(sigma_data: float = 0.5, label: Callable = quarter_log) -> Precondition:
    """Karras et al. 2022, table 1: unit-variance input and target for data of spread `sigma_data`."""

    def scalars(sigma: Any) -> Scalars:
        total = sigma**2 + sigma_data**2
        return Scalars(sigma_data**2 / total, sigma * sigma_data / total**0.5, total**-0.5, label(sigma))

    return Precondition("edm", VE, scalars)


def eps(label: Callable = quarter_log) -> Precondition:
    """The net predicts ε and sees x/√(1+σ²) (Ho et al. 2020, arXiv:2006.11239)."""
    return Precondition("eps", VE, lambda sigma: Scalars(1.0, -sigma, (1 + sigma**2) ** -0.5, label(sigma)))


def v(label: Callable = quarter_log) -> Precondition:
    """The net predicts v = α̂·ε − σ̂·x0 of the variance-preserving state (Salimans & Ho 2022, arXiv:2202.00512)."""

    def scalars(sigma: Any) -> Scalars:
        total = 1 + sigma**2
        return Scalars(1 / total, -sigma * total**-0.5, total**-0.5, label(sigma))

    return Precondition("v", VE, scalars)


def x0(label: Callable = quarter_log) -> Precondition:
    """The net predicts x0 itself and sees x/√(1+σ²)."""
    return Precondition("x0", VE, lambda sigma: Scalars(0.0, 1.0, (1 + sigma**2) ** -0.5, label(sigma)))


def flow(label: Callable = lambda sigma: sigma) -> Precondition:
    """The net predicts the velocity ε − x0 of x = (1−σ)·x0 + σ·ε (Liu et al. 2022, arXiv:2209.03003)."""
    return Precondition("flow", FLOW, lambda sigma: Scalars(1.0, -sigma, 1.0, label(sigma)))


PRECONDITIONS: dict[str, Callable[..., Precondition]] = {
    "edm": edm,
    "eps": eps,
    "v": v,
    "x0": x0,
    "flow": flow,
}


def loss(precondition: Precondition, net: Callable, x0: Tensor, noise: Tensor, sigma: Tensor, cond: Any) -> Tensor:
    """The mean square of each sample's output error, [B].

    `x0`, `noise` [B, C, H, W]; `sigma` [B]. For EDM this is its weighted loss (λ = 1/c_out², equation 8), for the
    others the plain loss of their papers, ‖ε̂ − ε‖², ‖v̂ − v‖² and so on.
    """
    s = sigma.view(-1, *[1] * (x0.ndim - 1))
    x = precondition.space.alpha(s) * x0 + s * noise
    c = precondition.scalars(s)
    output = net(c.input * x, net.embed(torch.as_tensor(c.noise).flatten(), cond), net.context(cond))
    return (output - precondition.target(x0, x, s)).square().flatten(1).mean(1)
