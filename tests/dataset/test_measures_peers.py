"""Measures beside the packages of those who published them."""

from __future__ import annotations

import numpy as np
import pytest

from varifold.dataset.measures.diversity import vendi
from varifold.dataset.measures.neighbours import neighbours


def sets(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(150, 8)), random.normal(0.2 * seed, 1 - 0.1 * seed, (110, 8))


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_density_and_coverage_are_those_of_prdc(seed, k):
    prdc = pytest.importorskip("prdc")
    real, synthetic = sets(seed)
    for name, value in prdc.compute_prdc(real, synthetic, k).items():
        assert getattr(neighbours(real, synthetic, k), name) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_diversity_is_that_of_vendi_score(seed):
    """By the kernel that it has a function for, the cosine."""
    peer = pytest.importorskip("vendi_score.vendi")
    features = sets(seed)[1]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert vendi(unit @ unit.T) == pytest.approx(peer.score_dual(features), rel=1e-10)
