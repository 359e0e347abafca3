"""What the browser is told while a graph is being edited."""

import math

import pytest
import torch

from varifold.models.checkpoint import Spec, save_denoiser
from varifold.models.nets.unet import UNet, UNetConfig
from varifold.nodes.answers import answer
from varifold.nodes.denoiser import EMBEDDED
from varifold.nodes.guidance import KNOBS
from varifold.nodes.schedule import CURVES, USED, VarifoldSchedule


@pytest.mark.parametrize("curve", CURVES)
def test_a_schedule_is_what_the_node_makes(curve, call):
    told = answer("schedule", {"widgets": {"curve": curve, "steps": 9}})
    assert told["sigmas"] == call("Schedule", curve=curve, steps=9)[0].tolist()
    assert told["used"] == USED[curve]


@pytest.mark.parametrize("curve", CURVES)
def test_just_the_knobs_that_are_named_make_a_difference(curve, call):
    changed = {
        "sigma_max": 20.0,
        "sigma_min": 0.1,
        "rho": 3.0,
        "betas": "linear",
        "zero_terminal_snr": True,
        "points": "[[0, 9], [1, 1]]",
        "alpha": 0.8,
        "beta": 0.9,
        "mu": 0.5,
        "family": {"align_your_steps": "sdxl", "optimal_steps": "wan"}.get(curve, "svd"),
        "coefficient": 1.4,
        "width": 512,
        "height": 512,
    }
    usual = call("Schedule", curve=curve, steps=6)[0]
    told = {
        name: torch.equal(call("Schedule", curve=curve, steps=6, **{name: v})[0], usual) for name, v in changed.items()
    }
    assert {name for name, same in told.items() if not same} == set(USED[curve])


def test_log_snr_is_that_of_the_space(models_folder, save_small):
    told = answer("schedule", {"widgets": {"curve": "karras", "steps": 4}, "file": EMBEDDED})
    assert told["log_snr"][:-1] == pytest.approx([-2 * math.log(sigma) for sigma in told["sigmas"][:-1]])
    assert told["log_snr"][-1] is None

    config = UNetConfig(width=16, multipliers=(1,), attention_levels=(), embedding=32)
    named = {"in_channels": 4, "width": 16, "multipliers": [1], "attention_levels": [], "embedding": 32}
    spec = Spec("unet", named, "flow", (4, 8, 8), 0.001, 1.0, space="flow")
    save_denoiser(models_folder / "flow.safetensors", UNet(config), spec)
    flow = answer("schedule", {"widgets": {"curve": "linear", "steps": 2}, "file": "flow.safetensors"})
    assert flow["sigmas"][0] == 1 and flow["log_snr"][0] is None
    middle = flow["sigmas"][1]
    assert flow["log_snr"][1] == pytest.approx(2 * math.log((1 - middle) / middle))


def test_the_range_is_that_of_the_file(models_folder, save_small):
    save_small(models_folder / "small.safetensors")
    facts = answer("denoiser", {"file": "small.safetensors"})
    sigmas = answer("schedule", {"widgets": {}, "file": "small.safetensors"})["sigmas"]
    assert sigmas[0] == pytest.approx(facts["sigma_max"]) and sigmas[-2] == pytest.approx(facts["sigma_min"])


def test_facts_of_the_embedded_denoiser(embedded):
    facts = answer("denoiser", {"file": EMBEDDED})
    assert facts["words"] == list(embedded.vocabulary.words[1:])
    assert facts["shape"] == [4, 32, 32] and facts["title"] == embedded.spec.title


def test_words_are_read_as_the_prompt_node_reads_them():
    told = answer("prompt", {"file": EMBEDDED, "text": "The Hero's ROBES of xyzzy"})
    assert told["words"] == [("Hero's", "hero"), ("ROBES", "robe"), ("xyzzy", None)]


@pytest.mark.parametrize(
    ("name", "question", "said"),
    [
        ("schedule", {"widgets": {"steps": 0}}, "steps should be a number from 1 to 1000"),
        ("schedule", {"widgets": {"steps": float("nan")}}, "steps"),
        ("schedule", {"widgets": {"steps": True}}, "steps"),
        ("schedule", {"widgets": {"curve": "round"}}, "curve should be one of karras"),
        ("schedule", {"widgets": {"curve": ["karras"]}}, "curve"),
        ("schedule", {"widgets": {"curve": "drawn", "points": "[[0, 1"}}, "points"),
        ("schedule", {"widgets": {"points": 3}}, "points should be a string"),
        ("schedule", {"widgets": {"sigma_max": 0.1, "sigma_min": 5.0}}, "sigma"),
        ("schedule", {"widgets": {"curve": "flux", "width": 0}}, "width should be a number from 16"),
        ("schedule", {"file": "../secret.safetensors"}, "there is no '../secret.safetensors'"),
        ("denoiser", {}, "there is no ''"),
        ("denoiser", {"file": 3}, "file should be a name"),
        ("prompt", {"file": EMBEDDED, "text": None}, "text should be"),
        ("prompt", {"file": EMBEDDED, "text": "x" * 20_000}, "text should be"),
        ("oracle", {}, "there is no question"),
        ("schedule", [], "not an object"),
    ],
)
def test_what_is_wrong_is_told_in_words(name, question, said):
    assert said in answer(name, question)["error"]


def test_the_node_has_no_knob_that_no_curve_uses():
    declared = VarifoldSchedule.INPUT_TYPES()
    knobs = {*declared["required"], *declared["optional"]}
    assert knobs - {"curve", "steps", "denoise", "shift", "denoiser", "model"} == {
        name for names in USED.values() for name in names
    }


def test_a_method_of_guidance_uses_some_knobs():
    knobs = {"rescale", "strength", "eta", "norm_threshold", "momentum", "zero_init"}
    assert answer("guidance", {"widgets": {}}) == {"used": []}
    assert answer("guidance", {"widgets": {"method": "apg"}}) == {"used": ["eta", "norm_threshold", "momentum"]}
    assert {knob for used in KNOBS.values() for knob in used} == knobs
    assert "method should be one of cfg" in answer("guidance", {"widgets": {"method": "magic"}})["error"]
