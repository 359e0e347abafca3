"""Whether a generator gives back what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .checks import checked, together
from .neighbours import nearest_squares, squared_distances

LEAST, MOST = 10, 1000  # samples of each kind that are compared
SHUFFLES = 200
COPY = 0.01  # of held-out samples are as near to a training sample as a copy is


@dataclass(frozen=True)
class Memorisation:
    """closer: the share of synthetic samples that are nearer to a training sample than to any held-out one, of as many
    of each, at most 1000; ½ where nothing is memorised. low, high: where 95 % of such shares lie if nothing is.
    copies: the share that is as near to a training sample as only 1 % of held-out ones are. nearest: the numbers of
    the synthetic samples, those nearest to a training sample first. samples: how many training and held-out samples
    were compared.
    """

    closer: float
    low: float
    high: float
    copies: float
    nearest: tuple[int, ...]
    samples: int


def memorisation(train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray, seed: int = 0) -> Memorisation:
    """Of features [N, D], [M, D] and [S, D].

    The training samples that a generator saw and held-out ones of the same source could change places, had it learnt
    no single one of them; so what is expected is found by letting them (Meehan, Chaudhuri and Dasgupta, "A
    non-parametric test to detect data-copying in generative models", 2020, arXiv:2004.05675, test likewise against
    held-out samples). Raises DatasetError for fewer than 10 training or held-out samples.
    """
    train, held_out, synthetic = together(train=train, held_out=held_out, synthetic=synthetic)
    for name, features in (("train", train), ("held_out", held_out)):
        checked(name, features, LEAST)
    random, count = np.random.default_rng(seed), min(len(train), len(held_out), MOST)
    pool = np.concatenate([each[random.permutation(len(each))[:count]] for each in (train, held_out)])
    drawn = synthetic[random.permutation(len(synthetic))[:MOST]]
    squares = np.concatenate([rows for _, rows in squared_distances(drawn, pool)])
    halves = [random.permutation(2 * count) for _ in range(SHUFFLES)]
    expected = [_closer(squares[:, order[:count]], squares[:, order[count:]]) for order in halves]
    own, usual = nearest_squares(synthetic, train), nearest_squares(held_out, train)
    return Memorisation(
        _closer(squares[:, :count], squares[:, count:]),
        *(float(bound) for bound in np.quantile(expected, (0.025, 0.975))),
        float((own <= np.quantile(usual, COPY)).mean()),
        tuple(np.argsort(own, kind="stable").tolist()),
        count,
    )


def _closer(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first.min(1), second.min(1)
    return float((first < second).mean() + (first == second).mean() / 2)
