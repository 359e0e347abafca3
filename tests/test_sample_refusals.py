"""What does not fit together is refused in words, before anything is computed."""

from __future__ import annotations

import math

import pytest
import torch
from stubs import Plain, small_denoiser, words

from varifold.models.denoising.precondition import flow
from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.sample import sample

torch.set_num_threads(1)

SIGMAS = schedule.karras(6, 0.002, 80.0)
OTHER = solver.plan("euler", [2.0, 1.0])
IN_FLOW = solver.plan("euler", [0.9, 0.0], FLOW)
REFUSED = {
    "no batch": ({"x": torch.zeros(4, 8, 8)}, r"\[B, C, H, W\]"),
    "too many indices": ({"batch": 2, "indices": [1, 2, 3]}, "3 indices for a batch of 2"),
    "an empty batch": ({"batch": 0}, "at least one picture, not 0"),
    "a mask of another size": (
        {"image": torch.zeros(1, 4, 8, 8), "mask": torch.ones(1, 1, 4, 4)},
        r"mask.*\(1, 1, 4, 4\).*\(1, 1, 8, 8\)",
    ),
    "a mask without channels": (
        {"image": torch.zeros(2, 4, 8, 8), "mask": torch.ones(2, 8, 8)},
        r"mask.*\(2, 8, 8\).*\(2, 1, 8, 8\)",
    ),
    "noise of another size": (
        {"image": torch.zeros(1, 4, 8, 8), "noise": torch.zeros(1, 4, 4, 4)},
        r"noise has the shape \(1, 4, 4, 4\)",
    ),
    "no condition in a list": ({"cond": [], "guidance": 2.0}, "condition"),
    "three channels": ({"x": torch.zeros(1, 3, 8, 8)}, "works on 4 channels, and the state has 3"),
    "odd size": ({"shape": (4, 9, 8)}, "multiples of 4, not 8×9: try 8×8"),
    "odd size of an image": ({"image": torch.zeros(1, 4, 8, 10)}, "multiples of 4, not 10×8"),
    "no schedule": ({"sigmas": []}, "0 σ's.*denoise 0"),
    "one level": ({"sigmas": [1.0]}, "at least two"),
    "rising": ({"sigmas": [1.0, 2.0]}, "does not descend"),
    "NaN": ({"sigmas": [math.nan, 1.0]}, "σ number 0.*nan"),
    "negative": ({"sigmas": [1.0, -1.0]}, "σ number 1"),
    "no such solver": ({"solver": "eular"}, "unknown solver 'eular'"),
    "the plan of another schedule": ({"solver": OTHER}, "another schedule.*2 σ's from 2 to 1"),
    "the plan of another space": ({"sigmas": [0.9, 0.0], "solver": IN_FLOW}, "flow space, and the denoiser's is ve"),
    "a mask alone": ({"mask": torch.ones(1, 1, 8, 8)}, "mask needs the image"),
    "conditions for others": ({"cond": words(1, batch=3), "batch": 2}, "3 samples met a batch of 2"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_does_not_fit_is_refused(label):
    options, says = REFUSED[label]
    with pytest.raises(ValueError, match=says):
        sample(small_denoiser(), **{"sigmas": SIGMAS} | options)


def test_flow_ends_at_one():
    denoiser = small_denoiser(flow())
    with pytest.raises(ValueError, match=r"starts at σ = 14.6, but in flow space σ ends at 1.*denoiser"):
        sample(denoiser, [14.6, 0.0])


def test_a_plain_function_must_be_told_space_and_shape():
    with pytest.raises(ValueError, match="space=VE or space=FLOW"):
        sample(Plain(), SIGMAS, shape=(3, 4, 4))
    with pytest.raises(ValueError, match="pass x= or shape="):
        sample(Plain(), SIGMAS, space=VE)
