"""Forward Process: pictures destroyed and undone on one sheet."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_lab import SIDE, pictures

from varifold.models.teaching.processes import PROCESSES
from varifold.nodes.forward_process import NAMES
from varifold.studio.errors import Cancelled


@pytest.fixture
def show(call):
    return partial(call, "ForwardProcess", steps=4, images_seen=128)


def images(count: int = 1, high: int = SIDE, wide: int = SIDE, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, high, wide, channels, generator=torch.Generator().manual_seed(0))


def test_every_process_is_on_the_menu():
    assert list(PROCESSES) == NAMES


def test_a_picture_is_destroyed_from_left_to_right(show):
    for name in NAMES:
        sheet, frames, report = show(images=images(), process=name)
        assert frames.shape == (5, 128, 128, 3) and sheet.shape[0] == 1 and sheet.shape[2] > 5 * 128
        whole = images()[0].repeat_interleave(16, 0).repeat_interleave(16, 1)
        assert (frames[0] - whole).abs().max() < 0.01
        assert (frames[4] - whole).square().mean() > (frames[1] - whole).square().mean() > 0
        assert [line.split(":")[0] for line in report.splitlines()[1:]] == [f"  t {t}" for t in (0, 0.25, 0.5, 0.75, 1)]


def test_the_seed_decides_the_noise_and_nothing_else(show):
    first, again, other = (show(images=images(), seed=seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and torch.equal(first[0], other[0])


def test_what_is_undone_begins_with_what_was_left_and_needs_training(show):
    set_ = pictures(count=4, held=0)
    shown = {"images": set_.rgb([0]), "process": "blur", "until": 0.5, "pictures": set_}
    sheet, frames, report = show(**shown)
    assert len(frames) == 10 and torch.equal(frames[4], frames[5])
    assert sheet.shape[1] > 2 * 128
    assert "saw 128 pictures" in report and report.count("undone") == 5
    longer = show(**{**shown, "images_seen": 1600})[2]
    first, last = (float(text.split("t 0: 0.000, undone ")[1].split("\n")[0]) for text in (report, longer))
    assert last < 0.95 * first
    assert show(**shown)[2] == report


def test_pictures_are_made_as_the_net_needs_them_or_small(show):
    set_ = pictures(channels="rgba")
    many, frames, _ = show(images=images(6, 20, 30, 4), pictures=set_)
    assert frames.shape == (10, 128, 128, 3)
    alone = show(images=images(1, 20, 30, 4), pictures=set_)[0]
    assert many.shape[1] - 8 == 4 * (alone.shape[1] - 8)
    assert show(images=images(1, 300, 600))[1].shape == (5, 128, 256, 3)


def test_bad_pictures_are_refused(show):
    with pytest.raises(ValueError, match="NaN"):
        show(images=images() * float("nan"))


def test_progress_goes_to_the_end_and_stops_when_cancelled(show, events, host):
    asked = {"images": images(), "pictures": pictures(), "images_seen": 256}
    show(**asked)
    told = [data for event, data in events if event == "progress"]
    assert [data["value"] for data in told] == sorted(data["value"] for data in told)
    assert told[-1]["value"] == told[-1]["max"] == 4
    host.listener = lambda event, data: host.cancel.set() if data.get("value") == 2 else None
    with pytest.raises(Cancelled):
        show(**asked)
