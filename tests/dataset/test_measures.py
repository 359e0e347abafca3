"""Measures of features: closed forms, what real sets get beside themselves, and what each is there to tell."""

from __future__ import annotations

import numpy as np
import pytest

from varifold.dataset.errors import DatasetError
from varifold.dataset.measures.balance import balance, label_distance
from varifold.dataset.measures.diversity import diversity, typical_distance, vendi
from varifold.dataset.measures.frechet import frechet_distance, frechet_distance_of_moments
from varifold.dataset.measures.kernel import kernel_distance
from varifold.dataset.measures.memorisation import memorisation
from varifold.dataset.measures.neighbours import Neighbours, neighbours, squared_distances
from varifold.dataset.measures.report import compare

MEASURES = [frechet_distance, kernel_distance, neighbours]


def normal(count: int, width: int = 6, seed: int = 0, spread: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return shift + spread * np.random.default_rng(seed).normal(size=(count, width))


def rotation(width: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(normal(width, width, seed))[0]


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int = 50) -> np.ndarray:
    """Samples whose mean and covariance are exactly these."""
    white = normal(count, len(mean))
    white -= white.mean(0)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(white, rowvar=False)), white.T)
    return (np.linalg.cholesky(covariance) @ white).T + mean


def test_frechet_distance_of_gaussians_that_commute_is_a_sum_over_axes():
    turn, first, second = rotation(6), np.array([1, 2, 3, 4, 5, 6.0]), np.array([2, 0.5, 9, 0.1, 5, 1])
    means = normal(2)
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((first**0.5 - second**0.5) ** 2)
    covariances = [(turn * values) @ turn.T for values in (first, second)]
    assert frechet_distance_of_moments(*means, *covariances) == pytest.approx(expected, rel=1e-13)
    samples = [with_moments(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    assert frechet_distance(*samples) == pytest.approx(expected, rel=1e-11)


def test_frechet_distance_of_two_dimensions_has_a_closed_form():
    """tr (AB)^½ = √(tr AB + 2√(det A det B)), also where A and B do not commute."""
    first, second = np.array([[2, 0.7], [0.7, 1]]), np.array([[1, -0.9], [-0.9, 3]])
    root = (np.trace(first @ second) + 2 * np.sqrt(np.linalg.det(first) * np.linalg.det(second))) ** 0.5
    expected = np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance_of_moments(np.zeros(2), np.zeros(2), first, second) == pytest.approx(expected, rel=1e-13)


def test_frechet_distance_with_features_that_never_change():
    flat = np.concatenate([normal(40), np.ones((40, 3))], 1)
    moved = flat + np.eye(9)[8] * 2
    assert frechet_distance(flat, moved) == pytest.approx(4, rel=1e-9)
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_symmetric_and_grows_with_what_differs():
    a, b, c = normal(60), normal(60, seed=1, shift=0.3), normal(60, seed=1, shift=0.9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    assert frechet_distance(a, b) < frechet_distance(a, c)


def test_kernel_distance_is_the_unbiased_sum_over_pairs():
    first, second = normal(7), normal(5, seed=1, shift=0.4)

    def kernel(x, y):
        return (x @ y / 6 + 1) ** 3

    def within(samples):
        pairs = [(i, j) for i in range(len(samples)) for j in range(len(samples)) if i != j]
        return sum(kernel(samples[i], samples[j]) for i, j in pairs) / len(pairs)

    between = np.mean([kernel(x, y) for x in first for y in second])
    assert kernel_distance(first, second) == pytest.approx(within(first) + within(second) - 2 * between, rel=1e-12)


def test_kernel_distance_of_gaussians_with_other_means_has_a_closed_form():
    """With features of one number k(x, y) = (xy + 1)³; its means follow from the moments 1, m, m² + s², m³ + 3ms²."""

    def moments(m, s):
        return np.array([1, m, m**2 + s**2, m**3 + 3 * m * s**2])

    difference = moments(0.0, 1.0) - moments(0.5, 1.2)
    expected = np.array([1, 3, 3, 1]) @ difference**2
    draws = [
        kernel_distance(normal(500, 1, seed), normal(500, 1, 1000 + seed, spread=1.2, shift=0.5)) for seed in range(60)
    ]
    assert np.mean(draws) == pytest.approx(expected, abs=3 * np.std(draws) / 60**0.5)
    assert np.std(draws) / 60**0.5 < 0.1 * expected


def test_kernel_distance_of_like_sets_is_0_on_average_however_few_there_are():
    draws = [kernel_distance(normal(5, seed=seed), normal(8, seed=500 + seed)) for seed in range(400)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / 20
    assert min(draws) < 0


def test_kernel_distance_in_parts_is_the_same(monkeypatch):
    whole = kernel_distance(normal(30), normal(20, seed=1))
    monkeypatch.setattr("varifold.dataset.measures.kernel.ROWS", 7)
    assert kernel_distance(normal(30), normal(20, seed=1)) == pytest.approx(whole, rel=1e-10)


def by_definition(real: np.ndarray, synthetic: np.ndarray, k: int) -> Neighbours:
    def distances(first, second):
        return np.array([[np.linalg.norm(a - b) for b in second] for a in first])

    reach, other_reach = (np.sort(distances(each, each), 1)[:, k] for each in (real, synthetic))
    between = distances(real, synthetic)
    return Neighbours(
        (between <= reach[:, None]).any(0).mean(),
        (between <= other_reach).any(1).mean(),
        (between <= reach[:, None]).sum(0).mean() / k,
        (between.min(1) <= reach).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_are_as_defined(k, monkeypatch):
    real, synthetic = normal(40), normal(30, seed=1, shift=0.7, spread=0.7)
    expected = by_definition(real, synthetic, k)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(neighbours(real, synthetic, k), name) == pytest.approx(getattr(expected, name), abs=1e-12)
    monkeypatch.setattr("varifold.dataset.measures.neighbours.ROWS", 7)
    assert neighbours(real, synthetic, k).density == pytest.approx(expected.density, abs=1e-12)
    assert neighbours(real, synthetic, k).recall == pytest.approx(expected.recall, abs=1e-12)


def test_what_is_real_but_of_one_kind_is_precise_and_recalls_little():
    real = np.concatenate([normal(100, seed=kind, shift=20 * kind) for kind in range(4)])
    found = neighbours(real, normal(400, seed=0)[:100])
    assert found.precision == 1 and found.recall == pytest.approx(0.25) and found.coverage == pytest.approx(0.25)


def test_far_off_samples_are_neither_precise_nor_dense():
    found = neighbours(normal(100), normal(100, seed=1, shift=50))
    assert found == Neighbours(0, 0, 0, 0)


def test_copies_are_in_reach_even_where_all_samples_are_the_same():
    same = np.full((20, 4), 0.1) * 3
    assert neighbours(same, same[:9], 3) == Neighbours(1, 1, 20 / 3, 1)
    assert neighbours(normal(30), normal(30)).precision == 1


def test_distances_far_from_the_origin_are_exact_and_of_copies_0():
    first, second = normal(20, shift=1e4), normal(30, seed=1, shift=1e4)
    second[:20] = first
    squares = np.concatenate([rows for _, rows in squared_distances(first, second)])
    expected = np.square(first[:, None] - second[None]).sum(-1)
    assert np.allclose(squares, expected, rtol=1e-10) and np.all(squares.diagonal() == 0)


def test_vendi_scores_of_known_kernels():
    assert vendi(np.eye(7)) == pytest.approx(7)
    assert vendi(np.ones((7, 7))) == pytest.approx(1)
    assert vendi(np.kron(np.eye(3), np.ones((4, 4)))) == pytest.approx(3)
    same = 0.6
    shares = np.array([(1 + same) / 2, (1 - same) / 2])
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert vendi(np.array([[1, same], [same, 1]])) == pytest.approx(expected, rel=1e-13)


def test_diversity_counts_kinds_and_not_copies():
    kinds = 1000 * np.eye(5)
    assert diversity(np.repeat(kinds, 4, 0), 1.0) == pytest.approx(5)
    assert diversity(np.repeat(kinds[:1], 20, 0), 1.0) == pytest.approx(1)
    assert typical_distance(np.array([[0.0], [1.0], [3.0]])) == 2
    assert typical_distance(np.ones((5, 2))) == 1


def test_a_generator_that_copies_is_told_and_one_that_does_not_is_not():
    train, held_out, source = normal(200), normal(200, seed=1), normal(300, seed=2)
    fair = memorisation(train, held_out, source)
    assert fair.low < fair.closer < fair.high and fair.low < 0.5 < fair.high and fair.copies < 0.06
    copied = memorisation(train, held_out, train[:100] + 0.01 * source[:100])
    assert copied.closer == 1 and copied.copies == 1 and copied.high < 0.7


def test_a_few_copies_among_many_come_first():
    train, held_out, made = normal(200), normal(80, seed=1), normal(300, seed=2)
    made[[250, 7, 33]] = train[[0, 1, 2]]
    found = memorisation(train, held_out, made)
    assert set(found.nearest[:3]) == {250, 7, 33} and len(found.nearest) == 300 and found.samples == 80
    assert found.copies >= 3 / 300


def test_memorisation_is_calibrated():
    """Of generators that memorise nothing, one in twenty lies outside where 95 % lie."""
    outside = []
    for seed in range(60):
        sets = [normal(40, 3, 10 * seed + each) for each in range(3)]
        found = memorisation(*sets, seed=seed)
        outside.append(not found.low <= found.closer <= found.high)
    assert sum(outside) <= 9


def test_identical_training_and_held_out_samples_are_a_tie():
    both = normal(30)
    assert memorisation(both, both, normal(50, seed=1)).closer == 0.5


def test_balance_of_labels():
    even = balance(["cat", "dog"] * 10, wanted=["cat", "dog"])
    assert even.effective == pytest.approx(2) and even.counts == {"cat": 10, "dog": 10} and even.missing == ()
    lone = balance(["cat", None, "cat", "bird"], wanted=["dog", "cat"])
    assert lone.counts == {"cat": 2, "bird": 1} and lone.missing == ("dog",)
    assert lone.effective == pytest.approx(3 / 2 ** (2 / 3))
    assert label_distance(even, even) == 0 and label_distance(even, lone) == pytest.approx(0.5)
    with pytest.raises(DatasetError, match="no sample has a label"):
        balance([None, None])


@pytest.fixture(scope="module")
def figures():
    real, shifted = normal(300, 8), normal(200, 8, seed=1, shift=0.5)
    return {figure.name: figure for figure in compare(real, shifted, "test")}


def test_a_report_has_every_measure_with_its_floor_at_the_same_size(figures):
    assert list(figures) == ["FD-test", "KD-test", "precision", "recall", "density", "coverage", "diversity"]
    assert {figure.samples for figure in figures.values()} == {150}
    assert all(np.isfinite([figure.value, figure.floor]).all() and not figure.missing for figure in figures.values())


def test_shifted_samples_are_worse_than_the_floor(figures):
    for name in ("FD-test", "KD-test"):
        assert figures[name].value > figures[name].floor + 3 * figures[name].floor_spread
    for name in ("recall", "density", "coverage"):
        assert figures[name].value < figures[name].floor
    assert figures["FD-test"].floor > 0.1 and abs(figures["KD-test"].floor) < 0.1


def test_samples_of_the_same_source_are_at_the_floor():
    for figure in compare(normal(300, 8), normal(300, 8, seed=1)):
        spread = max(figure.value_spread, figure.floor_spread)
        assert figure.value == pytest.approx(figure.floor, abs=6 * spread)


def test_few_samples_leave_out_what_they_cannot_tell_and_say_so():
    figures = {figure.name: figure for figure in compare(normal(10, 8), normal(9, 8, seed=1), "test")}
    assert "real: 5 samples, and 8 features need 9" in figures["FD-test"].missing
    assert "needs 6" in figures["precision"].missing and np.isnan(figures["precision"].value)
    assert np.isfinite(figures["KD-test"].value) and np.isfinite(figures["diversity"].floor)
    with pytest.raises(DatasetError, match="3 real and 9 synthetic samples: 4 and 2"):
        compare(normal(3), normal(9))


def test_a_report_is_the_same_for_a_seed():
    given = normal(40), normal(40, seed=1)
    assert compare(*given, seed=3) == compare(*given, seed=3) != compare(*given, seed=4)


@pytest.mark.parametrize("measure", MEASURES)
def test_bad_features_are_told(measure):
    good, bad = normal(30), normal(30)
    bad[3, 2] = np.nan
    for given, message in [
        ((good, bad), "synthetic: there is NaN"),
        ((bad, good), "real: there is NaN"),
        ((good, good[:, :5]), "real 6, synthetic 5 numbers"),
        ((good, good[0]), r"not of shape \(6,\)"),
        ((good, good[:0]), "synthetic: (it has )?0 samples"),
        ((good[:1], good), "real: (it has )?1 samples"),
    ]:
        with pytest.raises(DatasetError, match=message):
            measure(*given)


def test_few_samples_to_hold_out_are_told():
    with pytest.raises(DatasetError, match="held_out: it has 9 samples, and this measure needs 10"):
        memorisation(normal(30), normal(9), normal(20))
    with pytest.raises(DatasetError, match="synthetic: it has 0 samples"):
        memorisation(normal(30), normal(19), normal(20)[:0])
