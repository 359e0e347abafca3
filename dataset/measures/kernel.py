"""The kernel distance of two sets of features."""

from __future__ import annotations

import numpy as np

from .checks import checked, together

ROWS = 1024  # of a kernel at a time


def kernel_distance(real: np.ndarray, synthetic: np.ndarray) -> float:
    """The squared maximum mean discrepancy of features [N, D] and [M, D] by the kernel (x·y/D + 1)³, unbiased.

    Bińkowski et al., "Demystifying MMD GANs", 2018, arXiv:1801.01401. Its mean does not depend on the size of the
    sets, and for two of the same kind is 0, so it may come out below 0. Raises DatasetError for fewer than 2 samples.
    """
    real, synthetic = together(real=real, synthetic=synthetic)
    count, other = (len(checked(name, each, 2)) for name, each in (("real", real), ("synthetic", synthetic)))
    within = _sum(real, real) - _kernel(np.square(real).sum(1), real.shape[1]).sum()
    within_other = _sum(synthetic, synthetic) - _kernel(np.square(synthetic).sum(1), real.shape[1]).sum()
    between = _sum(real, synthetic) / (count * other)
    return float(within / (count * (count - 1)) + within_other / (other * (other - 1)) - 2 * between)


def _kernel(products: np.ndarray, width: int) -> np.ndarray:
    return (products / width + 1) ** 3


def _sum(first: np.ndarray, second: np.ndarray) -> float:
    starts = range(0, len(first), ROWS)
    return sum(_kernel(first[start : start + ROWS] @ second.T, first.shape[1]).sum() for start in starts)
