"""Noise Schedule."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from varifold.models import FLOW, schedule
from varifold.nodes.schedule import CURVES, USED

USUAL_KNOBS = {curve: {"rho": 1.0} if curve == "polyexponential" else {} for curve in CURVES}
MOST = {"sd_turbo": 10, "beta": 138, "ddim_uniform": 999}


@pytest.fixture
def levels(call):
    return lambda curve="karras", **given: call("Schedule", curve=curve, **given)[0]


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("steps", [1, 2, 18, 1000])
def test_every_curve_descends_to_zero(curve, steps, levels):
    if steps > MOST.get(curve, 1000):
        with pytest.raises(ValueError, match=f"{steps}.* steps"):
            levels(curve, steps=steps)
        return
    sigmas = levels(curve, steps=steps, **USUAL_KNOBS[curve])
    assert sigmas.dtype == torch.float32 and sigmas.device.type == "cpu" and sigmas.shape == (steps + 1,)
    assert (sigmas[:-1] > sigmas[1:]).all() and sigmas[-1] == 0


@pytest.mark.parametrize("curve", [curve for curve in CURVES if curve != "sd_turbo"])
def test_denoise_takes_the_last_steps_of_a_longer_schedule(curve, levels):
    part, whole = (
        levels(curve, **given, **USUAL_KNOBS[curve]) for given in ({"steps": 7, "denoise": 0.3}, {"steps": 23})
    )
    assert torch.equal(part, whole[-8:])


def test_denoise_of_sd_turbo_leaves_out_the_first_of_its_ten_levels(levels):
    table = schedule.discrete()
    half = levels("sd_turbo", steps=2, denoise=0.5).tolist()
    assert half == pytest.approx([table[499], table[399], 0.0], rel=1e-6)
    with pytest.raises(ValueError, match=r"3 levels at denoise 0\.3, and 4 steps"):
        levels("sd_turbo", steps=4, denoise=0.3)


@pytest.mark.parametrize("curve", CURVES)
def test_denoise_zero_is_an_empty_schedule(curve, levels):
    assert levels(curve, denoise=0.0).shape == (0,)


def test_an_empty_schedule_is_explained_by_the_sampler(draw, levels):
    with pytest.raises(ValueError, match="denoise 0 gives an empty one"):
        draw(sigmas=levels(denoise=0.0))


def test_the_range_is_the_widgets_else_the_denoisers_else_the_usual(levels, models_folder, save_small):
    from varifold.models import load_denoiser

    save_small(models_folder / "small.safetensors")
    small = load_denoiser(models_folder / "small.safetensors")

    def ends(**given):
        sigmas = levels(steps=5, **given)
        return [round(float(sigma), 6) for sigma in (sigmas[0], sigmas[-2])]

    assert ends() == [80, 0.002]
    assert ends(denoiser=small) == [20, 0.01]
    assert ends(denoiser=small, sigma_max=9.0) == [9, 0.01]
    assert ends(denoiser=small, sigma_max=9.0, sigma_min=0.5) == [9, 0.5]


@pytest.mark.parametrize("curve", [curve for curve, used in USED.items() if "sigma_min" in used])
def test_a_range_upside_down_is_explained(curve, levels):
    with pytest.raises(ValueError, match="sigma_min < sigma_max, not 5 and 2"):
        levels(curve, sigma_min=5.0, sigma_max=2.0)


def test_exponential_keeps_its_ratio_from_the_given_minimum(levels):
    sigmas = levels("exponential", steps=4, sigma_min=0.01, sigma_max=10.0)
    assert torch.allclose(sigmas, torch.tensor([10.0, 1.0, 0.1, 0.01, 0.0]), rtol=1e-5)


def test_rho_bends_karras(levels):
    assert torch.allclose(levels(rho=1.0, steps=9), levels("linear", steps=9), rtol=1e-4)
    assert levels(rho=3.0)[9] > levels(rho=7.0)[9]


def test_levels_that_float32_cannot_tell_apart_are_an_error(levels):
    with pytest.raises(ValueError, match="lower rho"):
        levels("polyexponential", steps=18, rho=7.0)


def test_shift_is_flows(levels):
    plain = levels("linear", steps=4, sigma_max=1.0, sigma_min=0.25)
    shifted = levels("linear", steps=4, sigma_max=1.0, sigma_min=0.25, shift=3.0)
    assert torch.allclose(shifted, 3 * plain / (1 + 2 * plain))
    FLOW.check(shifted.tolist())
    with pytest.raises(ValueError, match="flow shift needs σ ≤ 1"):
        levels(shift=3.0)


def test_betas_and_terminal_snr_choose_the_table(levels):
    for curve in ("simple", "normal"):
        stable, linear, zero = (
            levels(curve, **given) for given in ({}, {"betas": "linear"}, {"zero_terminal_snr": True})
        )
        assert stable[0].item() == pytest.approx(14.6146, abs=1e-3)
        assert linear[0].item() == pytest.approx(schedule.discrete("linear")[-1])
        assert zero[0].item() == schedule.LARGEST_DISCRETE_SIGMA


def test_a_model_gives_range_and_table(levels, monkeypatch, host):
    table = [0.1 * (index + 1) for index in range(100)]
    monkeypatch.setattr(type(host), "models", SimpleNamespace(sigma_table=lambda model: table))
    assert levels(steps=5, model="m")[[0, -2]].tolist() == pytest.approx([10.0, 0.1])
    assert levels("simple", steps=5, model="m").tolist() == pytest.approx([10, 8, 6, 4, 2, 0])
    assert levels(steps=5, model="m", sigma_max=3.0)[0] == 3


def test_a_model_in_the_studio_is_explained(levels):
    with pytest.raises(ValueError, match="ComfyUI"):
        levels(model=object())


def test_a_drawn_curve_goes_through_its_points(levels):
    points = [[0, 60], [0.25, 10], [0.75, 0.5], [1, 0.03]]
    assert torch.allclose(
        levels("drawn", steps=5, points=json.dumps(points)),
        torch.tensor([60, 10, levels("drawn", steps=5, points=json.dumps(points))[2], 0.5, 0.03, 0]),
    )
    assert torch.equal(
        levels("drawn", steps=9, points=json.dumps(points)), levels("drawn", steps=9, points=json.dumps(points[::-1]))
    )


@pytest.mark.parametrize(
    "points",
    ["", "80, 5, 1", "5", "null", '"ab"', '{"a": 1}', "[[0, 80], [1]]", '[[0, "x"], [1, 2]]', "[" * 100000],
)
def test_points_that_are_no_list_of_pairs_show_how_it_is_done(points, levels):
    with pytest.raises(ValueError, match=r"points should be a list like \[\[0, 80\]"):
        levels("drawn", points=points)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ("[]", "at least two points"),
        ("[[0, 80]]", "at least two points"),
        ("[[0.1, 80], [1, 1]]", "the first at position 0"),
        ("[[0, 80], [0.9, 1]]", "the last at 1"),
        ("[[0, 1], [1, 80]]", "must fall"),
        ("[[0, 80], [0.5, 80], [1, 1]]", "must fall"),
        ("[[0, 80], [0, 40], [1, 1]]", "must fall"),
        ("[[0, 80], [1, 0]]", "must fall"),
        ("[[0, 80], [1, -1]]", "must fall"),
        ("[[0, NaN], [1, 1]]", "must fall"),
        ("[[0, 1e999], [1, 1]]", "must fall"),
    ],
)
def test_points_that_make_no_schedule_say_why(points, reason, levels):
    with pytest.raises(ValueError, match=reason):
        levels("drawn", points=points)


def test_the_knobs_at_zero_are_the_usual_ones(levels):
    for curve, usual in {"beta": (0.6, 0.6), "beta_sigmas": (0.6, 0.6), "laplace": (0.0, 0.5)}.items():
        assert torch.equal(levels(curve), levels(curve, alpha=usual[0], beta=usual[1])), curve


def test_a_family_without_levels_is_explained(levels):
    with pytest.raises(ValueError, match="align_your_steps has no levels for 'wan': choose sd1, sdxl, svd"):
        levels("align_your_steps", family="wan")
    with pytest.raises(ValueError, match="choose flux, wan, chroma"):
        levels("optimal_steps", family="sd1")


def test_the_size_of_a_picture_shifts_flow_curves(levels):
    for curve, pixels in {"flux": 256, "flux2": 256, "ltxv": 1024}.items():
        make = getattr(schedule, curve)
        found = levels(curve, steps=7, width=768, height=512).tolist()
        assert found == pytest.approx(make(7, 768 * 512 / pixels), rel=1e-6)
        FLOW.check(found)


def test_points_do_not_matter_to_other_curves(levels):
    assert torch.equal(levels(points="no json"), levels())


def test_the_longest_schedule_takes_little_time(levels):
    began = time.perf_counter()
    sigmas = levels(steps=1000, denoise=0.01)
    assert sigmas.shape == (1001,) and time.perf_counter() - began < 3


def test_more_steps_than_a_table_has_are_explained(levels):
    with pytest.raises(ValueError, match="1000 σ's has no 2000"):
        levels("simple", steps=1000, denoise=0.5)
