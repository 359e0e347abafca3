"""Usefulness: what each point trains on, and that it tells good synthetic samples from bad ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from varifold.dataset.errors import DatasetError
from varifold.dataset.measures.usefulness import Labelled, accuracy, augment, usefulness

torch.set_num_threads(1)


def bars(count: int, seed: int = 0, noise: float = 60.0) -> Labelled:
    """A bright bar in a row (class 0), a column (1) or none (2), in noise."""
    random = np.random.default_rng(seed)
    pictures, labels = random.normal(90, noise, (count, 8, 8, 1)), np.arange(count) % 3
    for picture, label, place in zip(pictures, labels, random.integers(1, 7, count), strict=True):
        if label < 2:
            picture[(place, slice(None)) if label == 0 else (slice(None), place)] += 110
    return Labelled(pictures.clip(0, 255).astype(np.uint8), labels)


def wrong(samples: Labelled) -> Labelled:
    return Labelled(samples.pictures, (samples.labels + 1) % 3)


def points(real, synthetic, **options):
    found = usefulness(real, synthetic, bars(300, 9), seeds=options.pop("seeds", (0,)), **options)
    return {(point.share, point.multiple, point.augmented): point for point in found}


def test_each_point_has_the_share_and_the_multiple_it_says():
    found = points(bars(200), bars(100, 1), unit=10, steps=1, seeds=(0, 1))
    assert len(found) == 2 * (16 - 1) and (0.0, 0.0, False) not in found
    for (share, multiple, _), point in found.items():
        assert (point.real, point.synthetic) == (round(200 * share), 10 * multiple)
        assert len(point.accuracies) == 2 and min(point.accuracies) >= 0
        assert point.mean == pytest.approx(np.mean(point.accuracies))
        assert point.spread == pytest.approx(np.std(point.accuracies))


def test_good_synthetic_samples_help_where_real_ones_are_few_and_wrong_labels_do_not():
    options = {"shares": (0.0, 0.05), "multiples": (1.0,), "steps": 60}
    good, bad = (points(bars(120), samples, **options) for samples in (bars(120, 1), wrong(bars(120, 1))))
    few = accuracy(bars(6), bars(300, 9), 3, augmented=False, seed=0, steps=60)
    assert good[0.05, 1.0, False].mean > few + 0.1 and good[0.0, 1.0, False].mean > few + 0.1
    assert bad[0.0, 1.0, False].mean < 0.2 and bad[0.05, 1.0, False].mean < few


def test_a_seed_decides_and_the_caller_keeps_its_own_chance():
    given = bars(60), bars(300, 9), 3
    before = torch.random.get_rng_state()
    first, again, other = (accuracy(*given, augmented=True, seed=seed, steps=30) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_trains_where_inference_mode_is_on():
    with torch.inference_mode():
        assert accuracy(bars(300), bars(300, 9), 3, augmented=False, seed=0, steps=120) > 0.8


def test_augmented_pictures_are_moved_a_little_and_keep_their_range():
    pictures = torch.zeros(64, 1, 20, 20)
    pictures[:, :, 9:11, 9:11] = 0.8
    moved = augment(pictures, torch.Generator().manual_seed(0))
    assert moved.shape == pictures.shape and moved.min() >= 0 and moved.max() <= 1
    rows = (moved.sum(3)[:, 0] * torch.arange(20)).sum(1) / moved.sum((1, 2, 3))
    assert (rows - 9.5).abs().max() < 3 and rows.std() > 0.5
    assert not torch.allclose(moved[0], moved[1])


def test_pictures_of_any_size_and_channels_are_taken():
    for shape in [(50, 70, 3), (1, 1, 1), (64, 8, 4), (5, 3, 3)]:
        samples = Labelled(np.random.default_rng(0).integers(0, 255, (6, *shape), np.uint8), np.arange(6))
        assert 0 <= accuracy(samples, samples, 6, augmented=True, seed=0, steps=2) <= 1


def test_what_does_not_fit_is_told():
    with pytest.raises(DatasetError, match="there are 20 synthetic samples, and 10x are 300"):
        usefulness(bars(30), bars(20), bars(9))
    with pytest.raises(DatasetError, match="should all be of one size"):
        usefulness(bars(30), Labelled(np.zeros((300, 9, 9, 1), np.uint8), np.zeros(300, int)), bars(9))
    with pytest.raises(DatasetError, match="no real samples to test on"):
        usefulness(bars(30), bars(300), bars(0))
    with pytest.raises(DatasetError, match="of uint8"):
        Labelled(np.zeros((3, 8, 8, 1)), np.zeros(3, int))
    with pytest.raises(DatasetError, match="3 pictures and labels of shape"):
        Labelled(np.zeros((3, 8, 8, 1), np.uint8), np.zeros(4, int))
