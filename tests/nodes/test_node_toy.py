"""Toy Denoiser: the node, in the graphs it is made for, and what its view is told."""

import json
import math

import pytest
import torch

from varifold.models.sampling.solver import SOLVERS
from varifold.nodes.answers import answer
from varifold.nodes.denoiser import EMBEDDED
from varifold.nodes.solver import choice_of

WIDGETS = {"shape": "rings", "modes": 3, "spread": 0.08}
KARRAS = {"curve": "karras", "steps": 12}


@pytest.fixture(params=["ve", "flow"])
def space(request):
    return request.param


@pytest.fixture
def toy(call, space):
    return call("Toy", **WIDGETS, space=space)[0]


@pytest.fixture
def run(call, toy):
    """The outputs of Sampler for a toy and twelve Karras steps of its own range."""
    (sigmas,) = call("Schedule", **KARRAS, denoiser=toy)
    return lambda **given: call("Sampler", **{"denoiser": toy, "sigmas": sigmas, "guidance": 1.5} | given)


def ask(**question):
    told = answer("toy", question)
    assert "error" not in told, told
    return told


def test_the_sampler_draws_it(run, space):
    image, mask, latent, trace, report = run(batch=3)
    assert image.shape == (3, 320, 320, 3) and mask.shape == (3, 320, 320) and not mask.any()
    assert latent["samples"].shape == (3, 2, 32, 32)
    assert trace.frames.shape == (12, 2, 32, 32)
    assert f"σ {10 if space == 've' else 1} → 0 ({space})" in report
    assert "expect" not in report


def test_its_points_lie_on_the_rings(run, toy):
    x0 = run()[2]["samples"]
    apart = torch.cdist(x0.flatten(2)[0].T, toy.net.centres.cpu()).min(1).values
    assert apart.median() < 0.08 and apart.mean() < 0.12


def test_another_size_is_another_number_of_points(run):
    assert run(width=7, height=5)[2]["samples"].shape == (1, 2, 5, 7)


def test_previews_and_the_trace_show_the_plane(run, call, host, events):
    host.wants_preview = True
    trace = run(batch=5)[3]
    previews = [data["image"] for event, data in events if event == "preview"]
    assert len(previews) == 12 and previews[0].size == (3 * 320, 2 * 320)
    assert call("Trace", trace=trace)[0].shape == (12, 320, 320, 3)


def test_it_passes_through_guidance(call, toy, run):
    (guided,) = call("Guidance", denoiser=toy, method="rescale")
    assert torch.equal(run(denoiser=guided)[2]["samples"], run()[2]["samples"])


def test_a_latent_of_it_can_be_reworked(call, toy, run):
    latent = run()[2]
    (sigmas,) = call("Schedule", **KARRAS, denoise=0.3, denoiser=toy)
    moved = (run(latent=latent, sigmas=sigmas)[2]["samples"] - latent["samples"]).square().mean().sqrt()
    assert 0 < moved < 0.4


def test_prompts_pictures_and_wrong_levels_are_refused(call, toy, run, prompt, space):
    with pytest.raises(ValueError, match="knows no words"):
        call("Prompt", denoiser=toy, text="hero")
    with pytest.raises(ValueError, match="takes no prompt"):
        run(positive=prompt("hero"))
    with pytest.raises(ValueError, match="a picture is no set of points"):
        run(image=torch.zeros(1, 8, 8, 3))
    if space == "flow":
        with pytest.raises(ValueError, match="in flow space σ ends at 1"):
            run(sigmas=call("Schedule")[0])


@pytest.mark.parametrize("solver", ["dpmpp_2m", "euler_ancestral", "heun"])
def test_the_view_shows_the_points_that_the_sampler_draws(run, solver, space):
    told = ask(widgets={**WIDGETS, "space": space}, solver={"solver": solver}, seed=11)
    drawn = run(solver=solver, seed=11)[2]["samples"].flatten(2)[0, :, :400].T
    assert torch.allclose(torch.tensor(told["frames"][-1]).view(-1, 2), drawn, atol=1e-3)
    assert told["solver"] == solver


def test_a_frame_for_each_state_that_is_asked_about_and_the_result():
    told = ask(widgets={}, solver={"solver": "heun"}, schedule={"widgets": {**KARRAS, "steps": 4}, "toy": {}})
    assert told["steps"] == [0, 0, 1, 1, 2, 2, 3, 4]
    assert told["sigmas"][0] == pytest.approx(10) and told["sigmas"][-1] == 0
    assert told["sigmas"][1] == told["sigmas"][2]
    assert all(len(frame) == 800 for frame in told["frames"]) and len(told["frames"]) == 8
    assert len(told["data"]) == 800


def test_scales_make_every_frame_as_large_as_the_data(space):
    told = ask(widgets={"space": space}, solver={"solver": "ipndm"}, schedule=None)
    assert len(told["frames"]) == 13
    for frame, scale, sigma in zip(told["frames"], told["scales"], told["sigmas"], strict=True):
        assert scale == pytest.approx(math.hypot(1 - sigma if space == "flow" else 1, sigma))
        assert torch.tensor(frame).square().mean().sqrt().item() / scale == pytest.approx(1, abs=0.1)


def test_long_runs_are_thinned_out():
    told = ask(widgets={}, schedule={"widgets": {"steps": 200}, "toy": {}})
    assert len(told["frames"]) == 65 and told["steps"][0] == 0 and told["steps"][-1] == 200


def test_it_says_little_and_is_json():
    text = json.dumps(answer("toy", {"widgets": {}, "points": 7}), allow_nan=False)
    assert len(json.loads(text)["frames"][0]) == 14
    assert len(json.dumps(ask(widgets={}, schedule={"widgets": {"steps": 200}, "toy": {}}))) < 600_000


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_node_left_alone_is_what_the_samplers_menu_says(name, call):
    knobs = dict(choice_of(call("Solver", solver=name)[0]).knobs)
    usual = SOLVERS[name].knobs
    assert {knob: usual[knob] for knob in knobs} == knobs


def test_a_schedule_that_hangs_on_a_toy_has_its_range(space, call, toy):
    told = answer("schedule", {"widgets": {**KARRAS}, "file": None, "toy": {"space": space}})
    assert told["sigmas"] == call("Schedule", **KARRAS, denoiser=toy)[0].tolist()
    assert (told["log_snr"][0] is None) == (space == "flow")


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"widgets": {"space": "flow"}, "schedule": {"widgets": {}}}, "take the schedule's σ range from this denoiser"),
        ({"widgets": {}, "schedule": {"widgets": {"denoise": 0.0}}}, "the schedule has 0 σ's"),
        ({"widgets": {}, "schedule": {"widgets": {"steps": 501}, "toy": {}}}, "up to 500 are shown"),
        ({"widgets": {}, "schedule": {"widgets": {}, "file": "none.safetensors"}}, "there is no 'none.safetensors'"),
        ({"widgets": {}, "schedule": {"widgets": {}, "toy": {"modes": 99}}}, "modes should be a number from 1 to 12"),
        ({"widgets": {"shape": "cube"}}, "shape should be one of moons"),
        ({"widgets": {"spread": float("nan")}}, "spread should be a number from 0.02 to 0.5"),
        ({"widgets": {}, "solver": {"solver": "magic"}}, "solver should be one of"),
        ({"widgets": {}, "solver": {"solver": "euler", "variant": "bh1"}}, "euler has no variant bh1"),
        ({"widgets": {}, "seed": -1}, "seed should be a number"),
        ({"widgets": {}, "seed": 10**400}, "seed should be a number"),
        ({"widgets": {}, "points": 401}, "points should be a number from 1 to 400"),
    ],
)
def test_what_is_wrong_is_told_in_words(question, said):
    assert said in answer("toy", question)["error"]


@pytest.mark.parametrize("part", ["widgets", "schedule", "solver"])
@pytest.mark.parametrize("nonsense", [None, [], "x", 3])
def test_a_part_that_is_no_object_counts_as_not_given(part, nonsense):
    assert answer("toy", {part: nonsense}) == answer("toy", {})


def test_of_an_embedded_denoiser_a_schedule_is_still_that_of_its_file():
    told = answer("schedule", {"widgets": KARRAS, "file": EMBEDDED, "toy": None})
    assert told["sigmas"][0] == 80
