"""Trace: the way that a picture took."""

import pytest
import torch

from varifold.nodes import trace as module

LEVELS = torch.linspace(80, 0, 6)


@pytest.fixture
def trace(draw):
    return lambda **given: draw(**{"sigmas": LEVELS, "seed": 2, **given})[3]


def test_a_frame_for_each_evaluation(trace, call):
    (frames,) = call("Trace", trace=trace(solver="heun"))
    assert frames.shape == (9, 128, 128, 3) and frames.dtype == torch.float32
    assert frames.min() >= 0 and frames.max() <= 1


def test_levels_are_those_of_the_evaluations(trace):
    seen = trace()
    assert seen.sigmas == pytest.approx(LEVELS[:-1].tolist()) and seen.rows == (0, 1, 2, 3, 4)


def test_the_last_frame_is_the_picture(draw, call):
    image, mask, _, trace, _ = draw(sigmas=LEVELS, seed=2)
    (frames,) = call("Trace", trace=trace, scale=1)
    opaque = mask[0] == 0
    assert opaque.any()
    assert (frames[-1] - image[0])[opaque].abs().max() < 3 / 255
    assert len(frames[-1][~opaque].unique(dim=0)) <= 2  # the two greys of a checkerboard


def test_it_is_picture_0_of_a_batch(trace):
    alone, together = trace(), trace(batch=3)
    assert together.frames.shape == alone.frames.shape
    assert torch.allclose(together.frames, alone.frames, atol=2e-3)


def test_long_runs_keep_the_first_and_the_last_of_32_frames(trace):
    seen = trace(sigmas=torch.linspace(80, 0, 41), width=8, height=8)
    assert len(seen.rows) == 32 and seen.rows[0] == 0 and seen.rows[-1] == 39


def test_a_single_evaluation(trace, call):
    seen = trace(sigmas=torch.tensor([80.0, 0.0]))
    assert call("Trace", trace=seen)[0].shape[0] == 1
    assert call("Trace", trace=seen, layout="strip")[0].shape[0] == 1


def test_the_strip_is_one_sheet_with_every_level_under_its_frame(trace, call, monkeypatch):
    laid_out, draw_sheet = [], module.draw_sheet
    monkeypatch.setattr(module, "draw_sheet", lambda *args: laid_out.append(args) or draw_sheet(*args))
    (strip,) = call("Trace", trace=trace(), layout="strip")
    ((cells, labels),) = laid_out
    assert labels == ["sigma 80", "sigma 64", "sigma 48", "sigma 32", "sigma 16"] and len(cells) == 5
    assert strip.shape[0] == 1 and strip.shape[2] == 3 * (128 + 8) + 8


@pytest.mark.parametrize(("scale", "side"), [(0, 128), (1, 32), (7, 224)])
def test_scale(scale, side, trace, call):
    assert call("Trace", trace=trace(), scale=scale)[0].shape[1:3] == (side, side)


def test_wide_pictures(trace, call):
    seen = trace(width=64, height=32)
    assert call("Trace", trace=seen)[0].shape == (5, 64, 128, 3)
    assert call("Trace", trace=seen, layout="strip")[0].shape[0] == 1


def test_the_trace_is_not_modified(trace, call):
    seen = trace()
    before = seen.frames.clone()
    for layout in ("frames", "strip"):
        with torch.inference_mode():
            call("Trace", trace=seen, layout=layout)[0].fill_(0)
    assert torch.equal(seen.frames, before)
