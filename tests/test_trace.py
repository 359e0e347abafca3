"""Traces: what the denoiser believed on the way, in little memory."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from varifold.models.denoising import pixels
from varifold.models.denoising.space import VE
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.sample import sample
from varifold.models.sampling.trace import MOST_BYTES, MOST_FRAMES, Recorder

torch.set_num_threads(1)


def record(steps, shape=(3, 4, 4), name="euler", batch=2, answer=None):
    sigmas = schedule.karras(steps, 0.002, 80.0)
    plan = solver.plan(name, sigmas)
    recorder, outputs = Recorder(plan), []

    def D(x, sigma, cond):
        outputs.append(x * 0 + len(outputs) + torch.arange(len(x)).view(-1, 1, 1, 1) / 4)
        return outputs[-1]

    sample(D, sigmas, solver=plan, shape=shape, batch=batch, space=VE, recorder=recorder)
    return recorder.trace(), outputs, plan


@pytest.mark.parametrize("steps", [1, 2, 31, 32])
def test_short_runs_are_kept_whole(steps):
    trace, outputs, plan = record(steps)
    assert trace.rows == tuple(range(steps))
    assert trace.sigmas == plan.sigmas[:-1]
    assert trace.plan is plan
    for frame, output in zip(trace.frames, outputs, strict=True):
        assert torch.equal(frame, output[0].half())


@pytest.mark.parametrize("steps", [33, 50, 64, 100, 333])
def test_of_long_runs_evenly_spread_frames_are_kept(steps):
    trace, outputs, _ = record(steps)
    assert len(trace.rows) == len(trace.frames) == MOST_FRAMES == 32
    assert (trace.rows[0], trace.rows[-1]) == (0, steps - 1)
    gaps = {b - a for a, b in zip(trace.rows, trace.rows[1:], strict=False)}
    assert max(gaps) - min(gaps) <= 1
    for frame, row in zip(trace.frames, trace.rows, strict=True):
        assert torch.equal(frame, outputs[row][0].half())


def test_frames_are_small():
    trace, _, _ = record(3)
    assert trace.frames.dtype == torch.float16
    assert trace.frames.device.type == "cpu"
    assert trace.frames.shape == (3, 3, 4, 4)


def test_big_pictures_are_fewer():
    """64 MB in all: 21 frames of a megapixel and a half."""
    side = 724
    trace, _, _ = record(40, shape=(3, side, side), batch=1)
    size = 2 * 3 * side**2
    assert len(trace.frames) == MOST_BYTES // size == 21
    assert trace.frames.nbytes <= MOST_BYTES == 64 * 2**20
    assert (trace.rows[0], trace.rows[-1]) == (0, 39)


def test_of_a_huge_picture_the_last_frame_is_kept():
    plan = solver.plan("euler", schedule.karras(5, 0.002, 80.0))
    recorder = Recorder(plan)
    huge = torch.zeros(1).expand(1, 3, 4096, 4096)
    for row in range(4):
        recorder.record(row, huge)
        assert not recorder.frames
    recorder.record(4, torch.ones(1, 3, 8, 8))
    assert recorder.trace().rows == (4,)


def test_solvers_of_two_evaluations_have_both_traced():
    trace, _, plan = record(5, name="heun")
    assert len(trace.rows) == plan.evaluations == 9


def test_frames_are_copies():
    """What the net answers with may be its own buffer, written anew at each call."""
    sigmas = schedule.karras(3, 0.002, 80.0)
    plan = solver.plan("euler", sigmas)
    recorder, buffer = Recorder(plan), torch.zeros(1, 3, 4, 4, dtype=torch.float16)
    for row in range(3):
        buffer.fill_(row)
        recorder.record(row, buffer)
    assert recorder.trace().frames[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_trace_says_what_its_tensors_are():
    plan = solver.plan("euler", [2.0, 1.0])
    recorder = Recorder(plan, partial(pixels.decode, channels="rgba"))
    recorder.record(0, torch.zeros(1, 4, 2, 2))
    trace = recorder.trace()
    rgb, alpha = trace.decode(trace.frames)
    assert rgb.shape == (1, 2, 2, 3) and not alpha.any()
