"""Measure Dataset: pictures on wires and in sets, what it tells of them and what it refuses."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch

from varifold.dataset import store
from varifold.dataset.handle import Handle
from varifold.dataset.provenance import Key
from varifold.dataset.rules import Rules
from varifold.nodes.draw_measures import FLOOR, VALUE
from varifold.studio.errors import Cancelled


@pytest.fixture
def measure(call):
    return partial(call, "MeasureDataset")


def blobs(count: int, seed: int = 0, red: float = 0.2, channels: int = 3) -> torch.Tensor:
    """Pictures of 16 x 16 with a bright square somewhere, on a paper of some brightness."""
    random = np.random.default_rng(seed)
    pictures = np.ones((count, 16, 16, channels), np.float32)
    pictures[..., :3] = random.uniform(0.1, 0.5, (count, 1, 1, 1)) + np.array([red, 0, 0])
    for picture, (y, x) in zip(pictures, random.integers(0, 11, (count, 2)), strict=True):
        picture[y : y + 5, x : x + 5, :3] = random.uniform(0.6, 1.0, 3)
    return torch.from_numpy(pictures)


def numbers(report: str) -> dict[str, tuple[float, float]]:
    """Of each measure: its value, and that of real pictures."""
    found = re.findall(r"^  (\S+): (\S+) ± \S+, real (\S+) ±", report, flags=re.MULTILINE)
    return {name: (float(value), float(floor)) for name, value, floor in found}


def test_like_pictures_are_at_the_floor_and_others_are_not(measure):
    real = blobs(240)
    like, other = (numbers(measure(real=real, synthetic=blobs(120, 1, red))[0]) for red in (0.2, 0.6))
    assert list(like) == [
        *("FD-layout-edges", "KD-layout-edges", "precision", "recall", "density", "coverage", "diversity")
    ]
    assert like["precision"][0] == pytest.approx(like["precision"][1], abs=0.1)
    assert like["FD-layout-edges"][0] < 2 * like["FD-layout-edges"][1] < other["FD-layout-edges"][0] / 2
    assert other["precision"][0] < 0.5 and like["coverage"][0] > other["coverage"][0] + 0.3


def test_few_pictures_are_measured_as_far_as_they_go(measure):
    report, _, _ = measure(real=blobs(30), synthetic=blobs(20, 1))
    assert "FD-layout-edges: real: 15 samples, and 102 features need 103" in report
    assert "KD-layout-edges" in numbers(report) and "compared 15 at a time" in report
    report, _, _ = measure(real=blobs(8), synthetic=blobs(3, 1))
    assert "precision: real: it has 3 samples, and this measure needs 6" in report


def test_pictures_that_come_back_are_told_and_shown(measure):
    trained_on, fresh = blobs(60, 2), blobs(60, 1)
    copying, _, nearest = measure(real=blobs(60), synthetic=trained_on[10:40], trained_on=trained_on)
    assert "nearer to a picture trained on than to a real one: 100% of the made" in copying
    assert "as near to one trained on as 1 % of real ones are: 100%" in copying
    above, below = nearest[0, 8:136], nearest[0, 144:272]
    assert torch.equal(above, below) and above.std() > 0.05
    fair, _, nearest = measure(real=blobs(60), synthetic=fresh, trained_on=trained_on)
    share, low, high = map(float, re.search(r"one: (\d+)% of the made, (\d+)% to (\d+)%", fair).groups())
    assert low <= share <= high < 90
    assert not torch.equal(nearest[0, 8:136], nearest[0, 144:272])


def test_the_plot_has_a_bar_and_a_floor_for_each_measure(measure):
    _, plot, _ = measure(real=blobs(240), synthetic=blobs(120, 1))
    levels = (plot[0] * 255).round().byte().numpy()
    assert plot.shape[0] == 1 and plot.dtype == torch.float32
    for colour in (VALUE, FLOOR):
        rows = (levels == np.array(colour, np.uint8)).all(-1).any(1)
        assert np.count_nonzero(np.diff(rows.astype(int)) == 1) >= 7


@pytest.fixture
def handle(tmp_path):
    with store.open(tmp_path / "set", Rules(duplicate=None)) as opened, opened.batch():
        for number, picture in enumerate(blobs(40, 1, channels=4)):
            levels = (picture * 255).round().byte().numpy()
            opened.add(levels, Key("a" * 64, 0, number), label="left" if number % 4 else "right")
        return Handle.of(opened)


def test_a_set_is_measured_as_its_pictures_are_and_its_labels_told(measure, handle):
    report, plot, _ = measure(real=blobs(60), dataset=handle)
    wired, smaller, _ = measure(real=blobs(60), synthetic=blobs(40, 1))
    assert "synthetic 40" in report and numbers(report) == numbers(wired)
    assert report.endswith("labels: 2, as balanced as 1.8 of equal size\n  left: 30\n  right: 10")
    assert plot.shape[1] > smaller.shape[1]


def test_many_pictures_are_drawn_from_by_the_seed(measure, monkeypatch):
    monkeypatch.setattr("varifold.nodes.measure_dataset.MOST", 30)
    given = {"real": blobs(80), "synthetic": blobs(50, 1)}
    report, again, other = (measure(**given, seed=seed)[0] for seed in (1, 1, 2))
    assert "pictures: real 80 (30 taken), synthetic 50 (30 taken)" in report
    assert report == again != other


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_other_kinds_and_sizes_are_taken(channels, measure):
    made = torch.rand(12, 40, 9, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    report, _, nearest = measure(real=blobs(40), synthetic=made)
    assert len(numbers(report)) == 6 and nearest.isfinite().all()


def test_nothing_given_is_modified(measure):
    given = {"real": blobs(30), "synthetic": blobs(20, 1), "trained_on": blobs(20, 2)}
    before = {name: each.clone() for name, each in given.items()}
    outputs = measure(**given)
    with torch.inference_mode():
        for output in outputs[1:]:
            output.fill_(0)
    assert all(torch.equal(given[name], before[name]) for name in given)


def test_what_does_not_fit_is_told(measure, handle):
    bad = blobs(20)
    bad[3, 3, 3] = torch.nan
    for given, message in [
        ({}, "wire the made pictures into synthetic, or a set into dataset"),
        ({"synthetic": blobs(9), "dataset": handle}, "one of the two"),
        ({"synthetic": bad}, "synthetic: this IMAGE has NaN"),
        ({"synthetic": blobs(1)}, "there are 40 real and 1 synthetic samples: 4 and 2"),
        ({"synthetic": blobs(9), "trained_on": blobs(9)}, "trained_on has 9 pictures: with trained_on wired, 10"),
        ({"synthetic": blobs(9), "trained_on": blobs(20), "real": blobs(9)}, "real has 9 pictures"),
    ]:
        with pytest.raises(ValueError, match=message):
            measure(**{"real": blobs(40)} | given)


def test_progress_counts_pictures_to_the_end_and_stops_when_cancelled(measure, events, host):
    measure(real=blobs(70), synthetic=blobs(20, 1))
    assert [data["value"] for event, data in events if event == "progress"] == [0, 64, 70, 90]
    host.listener = lambda event, data: host.cancel.set() if data.get("value") == 64 else None
    with pytest.raises(Cancelled):
        measure(real=blobs(70), synthetic=blobs(20, 1))
