"""Moving one cloud of colours onto another: the linear map of Monge and Kantorovich, and sliced optimal transport."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MKL, SLICED = "mkl", "optimal transport"
METHODS = [SLICED, MKL]
ROUNDS = 16
KNOTS = 256
LEAST_SPREAD = 1e-3  # standard deviation below which a direction of the source is rounding, not colour
SAME = 1e-3  # distance at which knots count as one


class Linear(NamedTuple):
    """x -> target + (x - source) T for rows x, with T symmetric and positive."""

    source: Tensor
    matrix: Tensor
    target: Tensor

    def __call__(self, colours: Tensor) -> Tensor:
        return (colours - self.source) @ self.matrix + self.target

    def calm(self) -> Tensor:
        """T [3, 3] with all that it would stretch left as long as it is."""
        gains, axes = torch.linalg.eigh(self.matrix)
        return (axes * gains.clamp(0, 1)) @ axes.T


class Monotone(NamedTuple):
    """The increasing map through (knots, values), linear between them and shifting what lies outside."""

    knots: Tensor
    values: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        inside = x.clamp(self.knots[0], self.knots[-1])
        right = torch.bucketize(inside, self.knots).clamp(1, max(1, len(self.knots) - 1))
        slope = self.values.diff() / self.knots.diff()
        slope = torch.cat([slope, slope.new_zeros(1)])  # a single knot has no slope
        left = right - 1
        return self.values[left] + (inside - self.knots[left]) * slope[left] + (x - inside)


class Slices(NamedTuple):
    """A monotone map along each of the axes that the columns of `rotation` are."""

    rotation: Tensor
    maps: list[Monotone]

    def __call__(self, colours: Tensor) -> Tensor:
        turned = colours @ self.rotation
        moved = torch.stack([along(turned[..., axis]) for axis, along in enumerate(self.maps)], -1)
        return moved @ self.rotation.T


class Transport(NamedTuple):
    """A map of colours [..., 3]: the linear one, then slices."""

    linear: Linear
    slices: list[Slices]

    def __call__(self, colours: Tensor) -> Tensor:
        for step in (self.linear, *self.slices):
            colours = step(colours)
        return colours


def fit(source: Tensor, target: Tensor, method: str = SLICED, seed: int = 0, rounds: int = ROUNDS) -> Transport:
    """The map that gives colours [N, 3] the distribution of others [M, 3].

    MKL gives them the mean and the covariance; SLICED goes on from there to the whole distribution, along axes that
    `seed` turns. Raises ValueError for another method.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a method: it should be one of {', '.join(METHODS)}")
    linear = mkl(source, target)
    return Transport(linear, [] if method == MKL else sliced(linear(source), target, seed, rounds))


def mkl(source: Tensor, target: Tensor) -> Linear:
    """The linear map of least movement that gives colours [N, 3] the mean and covariance of others [M, 3].

    T = Σc^-½ (Σc^½ Σs Σc^½)^½ Σc^-½ (Pitié & Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for
    example-based colour transfer"). Directions in which the source hardly varies are not stretched without bound.
    """
    spread, axes = _spread(_covariance(source))
    spread = spread.clamp(min=LEAST_SPREAD)
    root, inverse = (axes * spread) @ axes.T, (axes / spread) @ axes.T
    spread, axes = _spread(root @ _covariance(target) @ root)
    matrix = (inverse @ (axes * spread) @ axes.T @ inverse).to(source.dtype)
    return Linear(source.mean(0), matrix, target.mean(0))


def sliced(source: Tensor, target: Tensor, seed: int, rounds: int = ROUNDS) -> list[Slices]:
    """Rounds of one-dimensional transport along random axes, which together move colours [N, 3] onto others [M, 3].

    Iterative distribution transfer (Pitié, Kokaram & Dahyot 2007, "Automated colour grading using colour distribution
    transfer"); Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".
    """
    generator = torch.Generator().manual_seed(seed)
    slices = []
    for _ in range(rounds):
        axes = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0].to(source.dtype)
        turned, wanted = source @ axes, target @ axes
        slices.append(Slices(axes, [monotone(turned[:, axis], wanted[:, axis]) for axis in range(3)]))
        source = slices[-1](source)
    return slices


def monotone(source: Tensor, target: Tensor) -> Monotone:
    """The increasing map between the quantiles of numbers [N] and of others [M]: optimal transport on a line.

    Where many of the source are the same, it goes to the mean of where they should.
    """
    levels = torch.linspace(0, 1, KNOTS, dtype=source.dtype)
    knots, values = source.quantile(levels), target.quantile(levels)
    _, place, times = (knots / SAME).round().unique_consecutive(return_inverse=True, return_counts=True)
    merged = [
        torch.zeros(len(times), dtype=source.dtype).index_add_(0, place, each) / times for each in (knots, values)
    ]
    return Monotone(*merged)


def _covariance(colours: Tensor) -> Tensor:
    centred = (colours - colours.mean(0)).double()
    return centred.T @ centred / len(colours)


def _spread(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations [3] along the principal axes, and these as columns [3, 3]."""
    variances, axes = torch.linalg.eigh(covariance)
    return variances.clamp(min=0).sqrt(), axes
