"""Trace: the way that a picture took."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from varifold.models.sampling import solver
from varifold.models.sampling.trace import Recorder, Trace
from varifold.nodes import trace as module
from varifold.nodes.drawing import cells

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


@pytest.fixture
def shown():
    """What the browser gets to step through, and the frames of its strip."""

    def show(trace):
        (told,) = module.VarifoldTrace().show(trace, "frames", 0)["ui"]["varifold_trajectory"]
        strip = Image.open(io.BytesIO(base64.b64decode(told["strip"].split(",")[1])))
        width = strip.width // len(told["sigmas"])
        frames = [strip.crop((i * width, 0, (i + 1) * width, strip.height)) for i in range(len(told["sigmas"]))]
        return json.loads(json.dumps(told, allow_nan=False)), frames

    return show


def test_the_browser_gets_every_frame_with_its_weight_and_error(trace, shown):
    seen = trace(solver="heun")
    told, frames = shown(seen)
    assert told["sigmas"] == list(seen.sigmas)
    assert told["evaluations"] == list(range(1, 10)) and told["of"] == 9
    assert told["steps"] == [1, 1, 2, 2, 3, 3, 4, 4, 5]
    *weights, last = told["weights"]
    assert sum(weights) == pytest.approx(1 - seen.sigmas[-1] / seen.sigmas[0]) and last is None
    assert told["errors"][0] == told["errors"][1] == seen.errors[0] > 0 and told["errors"][-1] is None
    assert {frame.size for frame in frames} == {(32, 32)}
    assert np.array_equal(np.asarray(frames[-1]), np.asarray(cells(*transparent(seen), 1)[-1]))


def transparent(seen):
    rgb, alpha = seen.decode(seen.frames)
    return rgb, 1 - alpha


def test_the_strip_of_big_pictures_is_small(shown):
    plan = solver.plan("euler", [2.0, 1.0, 0.0])
    big = Trace(torch.zeros(2, 3, 600, 900, dtype=torch.float16), (0, 1), plan, Recorder(plan).decode, (0.1, None))
    told, frames = shown(big)
    assert told["strip"].startswith("data:image/jpeg") and len(told["strip"]) < 20_000
    assert {frame.size for frame in frames} == {(256, 171)}
