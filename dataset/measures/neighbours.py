"""Distances between samples, and what nearest neighbours tell: precision, recall, density and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .checks import checked, together

ROWS = 1024  # of distances at a time
SAME = 1e-12  # of the squared lengths; what is nearer is rounding


@dataclass(frozen=True)
class Neighbours:
    """precision: the share of synthetic samples within reach of a real one. recall: the share of real samples within
    reach of a synthetic one. density: how many real samples reach a synthetic one, over k; 1 is as dense as real, more
    is denser. coverage: the share of real samples that reach a synthetic one."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(real: np.ndarray, synthetic: np.ndarray, k: int = 5) -> Neighbours:
    """Of features [N, D] and [M, D], where a sample reaches as far as its k-th nearest neighbour in its own set.

    Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
    arXiv:2002.09797. What is just in reach counts. Raises DatasetError for sets of at most k samples.
    """
    real, synthetic = together(real=real, synthetic=synthetic)
    reach, other_reach = _reach("real", real, k), _reach("synthetic", synthetic, k)
    reached, nearest, recalled = np.zeros(len(synthetic)), np.full(len(real), np.inf), np.zeros(len(real), bool)
    for rows, squares in squared_distances(real, synthetic):
        reached += (squares <= reach[rows, None]).sum(0)
        nearest[rows] = squares.min(1)
        recalled[rows] = (squares <= other_reach).any(1)
    return Neighbours(
        float((reached > 0).mean()),
        float(recalled.mean()),
        float(reached.mean() / k),
        float((nearest <= reach).mean()),
    )


def squared_distances(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The squared Euclidean distances of [N, D] from [M, D], some rows at a time: (which, [n, M])."""
    centre = first.mean(0)  # rounding grows with the distance from the origin
    first, second = first - centre, second - centre
    lengths, other_lengths = np.square(first).sum(1), np.square(second).sum(1)
    for start in range(0, len(first), ROWS):
        rows = slice(start, min(start + ROWS, len(first)))
        both = lengths[rows, None] + other_lengths
        squares = both - 2 * first[rows] @ second.T
        squares[squares < SAME * both] = 0
        yield rows, squares


def nearest_squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The squared distance of each of [N, D] from the nearest of [M, D]: [N]."""
    return np.concatenate([squares.min(1) for _, squares in squared_distances(first, second)])


def _reach(name: str, features: np.ndarray, k: int) -> np.ndarray:
    checked(name, features, k + 1)
    # A sample is its own nearest; its k-th neighbour is the one after k.
    return np.concatenate([np.partition(squares, k, 1)[:, k] for _, squares in squared_distances(features, features)])
