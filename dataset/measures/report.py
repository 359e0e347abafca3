"""All measures of a synthetic set beside a real one, each with what real samples get beside real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import DatasetError
from .checks import together
from .diversity import diversity, typical_distance
from .features import NAME
from .frechet import frechet_distance
from .kernel import kernel_distance
from .neighbours import neighbours

REPEATS = 5
MOST = 1000  # samples of a set in one comparison


@dataclass(frozen=True)
class Figure:
    """value: of synthetic beside real samples. floor: of real beside other real samples, as many; the best to hope for.

    Both are means over repeats, with their standard deviations; NaN where `missing` tells why there are none. samples:
    how many of each set were compared.
    """

    name: str
    value: float
    value_spread: float
    floor: float
    floor_spread: float
    samples: int
    missing: str = ""


def compare(
    real: np.ndarray, synthetic: np.ndarray, kind: str = NAME, *, k: int = 5, seed: int = 0, repeats: int = REPEATS
) -> list[Figure]:
    """FD-kind, KD-kind, precision, recall, density, coverage and diversity of features [N, D] and [M, D].

    In each repeat two disjoint parts of the real samples and one of the synthetic, all of one size, at most 1000, are
    drawn: a figure and its floor then differ in the samples alone and not in their number. Raises DatasetError for
    fewer than 4 real or 2 synthetic samples.
    """
    real, synthetic = together(real=real, synthetic=synthetic)
    count = min(len(real) // 2, len(synthetic), MOST)
    if count < 2:
        raise DatasetError(f"there are {len(real)} real and {len(synthetic)} synthetic samples: 4 and 2 are the least")
    random, draws = np.random.default_rng(seed), []
    for _ in range(repeats):
        order = random.permutation(len(real))
        draws.append((real[order[:count]], real[order[count : 2 * count]], _some(synthetic, count, random)))
    scale = typical_distance(_some(real, MOST, random))

    def near(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        return asdict(neighbours(first, second, k))

    kinds: list[tuple[tuple[str, ...], Callable]] = [
        ((f"FD-{kind}",), lambda first, second: {f"FD-{kind}": frechet_distance(first, second)}),
        ((f"KD-{kind}",), lambda first, second: {f"KD-{kind}": kernel_distance(first, second)}),
        (("precision", "recall", "density", "coverage"), near),
        (("diversity",), lambda _, second: {"diversity": diversity(second, scale)}),
    ]
    figures = []
    for names, measure in kinds:
        try:
            pairs = [(measure(part, drawn), measure(part, other)) for part, other, drawn in draws]
            figures += [_figure(name, [(a[name], b[name]) for a, b in pairs], count) for name in names]
        except DatasetError as error:
            figures += [Figure(name, *4 * [float("nan")], count, str(error)) for name in names]
    return figures


def _some(features: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    return features[np.sort(random.permutation(len(features))[:count])]


def _figure(name: str, pairs: list[tuple[float, float]], count: int) -> Figure:
    means, spreads = np.mean(pairs, 0), np.std(pairs, 0)
    spreads[spreads < 1e-12 * np.abs(means)] = 0  # rounding
    return Figure(name, float(means[0]), float(spreads[0]), float(means[1]), float(spreads[1]), count)
