"""The Fréchet distance of two sets of features, each taken for a Gaussian."""

from __future__ import annotations

import numpy as np

from ..errors import DatasetError
from .checks import checked, together


def frechet_distance(real: np.ndarray, synthetic: np.ndarray) -> float:
    """The squared Fréchet distance of features [N, D] and [M, D]: |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½).

    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982; of features of pictures
    Heusel et al. 2017, arXiv:1706.08500. Finite samples overstate it, fewer more so: compare only at the same size.
    Raises DatasetError for sets of at most D samples, whose covariances do not have full rank.
    """
    sets = together(real=real, synthetic=synthetic)
    width = sets[0].shape[1]
    for name, features in zip(("real", "synthetic"), sets, strict=True):
        if len(features) <= width:
            raise DatasetError(
                f"{name}: {len(features)} samples, and {width} features need {width + 1}; "
                "the kernel distance does with few"
            )
    means = [features.mean(0) for features in sets]
    covariances = [np.cov(features, rowvar=False).reshape(width, width) for features in sets]
    return frechet_distance_of_moments(*means, *covariances)


def frechet_distance_of_moments(
    mean1: np.ndarray, mean2: np.ndarray, covariance1: np.ndarray, covariance2: np.ndarray
) -> float:
    """The same of two Gaussians: means [D], covariances [D, D]."""
    first, second = _root(covariance1), _root(covariance2)
    # tr (Σ₁Σ₂)^½ is the sum of the singular values of Σ₁^½ Σ₂^½, which needs no root of a matrix that is not symmetric.
    shared = np.linalg.svd(first @ second, compute_uv=False).sum()
    spread = np.trace(covariance1) + np.trace(covariance2) - 2 * shared
    return max(0.0, float(np.sum(np.square(np.subtract(mean1, mean2))) + spread))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(checked("covariance", covariance))
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
