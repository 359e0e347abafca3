"""How many different samples a set has in effect."""

from __future__ import annotations

import numpy as np

from .checks import checked
from .neighbours import squared_distances


def vendi(kernel: np.ndarray) -> float:
    """The Vendi score of similarities [N, N], with ones on the diagonal: exp of the entropy of its eigenvalues over N.

    1 for copies of one sample, N for samples that have nothing in common. Friedman and Dieng 2023, arXiv:2210.02410.
    """
    kernel = checked("kernel", kernel)
    shares = np.linalg.eigvalsh(kernel / len(kernel))
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def diversity(features: np.ndarray, scale: float) -> float:
    """The Vendi score of features [N, D] by exp(−d²/2·scale²). More samples have more: compare at the same size.

    Time grows with N³: a second for 1500.
    """
    features = checked("features", features)
    squares = np.concatenate([rows for _, rows in squared_distances(features, features)])
    return vendi(np.exp(-squares / (2 * scale**2)))


def typical_distance(features: np.ndarray) -> float:
    """The median distance between two of [N, D], for a scale; 1 where all are the same."""
    features = checked("features", features, 2)
    squares = np.concatenate([rows for _, rows in squared_distances(features, features)])
    return float(np.sqrt(np.median(squares[np.triu_indices(len(features), 1)]))) or 1.0
