"""Solver: the choice on a SAMPLER wire, and the function that ComfyUI's custom samplers call."""

import math
from types import SimpleNamespace

import pytest
import torch

from varifold.models import FLOW, VE, sample, solver
from varifold.models.sampling.solver import SOLVERS
from varifold.nodes.host import Facts
from varifold.nodes.solver import VARIANTS, Choice, as_sampler_function, choice_of
from varifold.studio.host import Sampler

LEVELS = [10.0, 4.0, 1.5, 0.4, 0.1, 0.0]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_sampler_carries_its_solver_and_the_knobs_that_it_has(name, call):
    (sampler,) = call("Solver", solver=name, eta=0.5, s_noise=1.1, order=2, r=0.4)
    choice, given = choice_of(sampler), {"eta": 0.5, "s_noise": 1.1, "order": 2, "r": 0.4}
    assert choice.name == name
    assert dict(choice.knobs) == {knob: value for knob, value in given.items() if knob in SOLVERS[name].knobs}
    plan = choice.plan(LEVELS, VE)
    assert plan.rows == solver.plan(name, LEVELS, VE, **dict(choice.knobs)).rows


@pytest.mark.parametrize("name", SOLVERS)
def test_untouched_knobs_are_the_solvers_own(name, call):
    usual = choice_of(call("Solver", solver=name)[0])
    assert usual.plan(LEVELS, VE).rows == solver.plan(name, LEVELS, VE).rows


@pytest.mark.parametrize("name", SOLVERS)
def test_every_order_on_the_widget_can_be_planned(name, call):
    for order in range(5):
        choice = choice_of(call("Solver", solver=name, order=order)[0])
        assert all(math.isfinite(weight) for row in choice.plan(LEVELS, VE).rows for _, weight in row.terms)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("variant", ["midpoint", "heun", "bh1", "bh2", "phi_1", "phi_2", "er", "reverse"])
def test_a_variant_that_the_solver_has_not_is_an_error(name, variant, call):
    if variant in VARIANTS.get(name, ()):
        choice = choice_of(call("Solver", solver=name, variant=variant)[0])
        assert dict(choice.knobs)["variant"] == variant and choice.plan(LEVELS, VE).rows
    else:
        with pytest.raises(ValueError, match=f"{name} has no variant {variant}: set variant to usual"):
            call("Solver", solver=name, variant=variant)


def test_the_variants_of_a_solver_differ():
    assert set(VARIANTS) == {name for name, solver in SOLVERS.items() if "variant" in solver.knobs}
    for name, variants in VARIANTS.items():
        one, other = (Choice(name, (("variant", variant),)).plan(LEVELS, VE).rows for variant in variants)
        assert one != other


@pytest.mark.parametrize("foreign", [object(), Sampler(lambda *args: None), None, "euler"])
def test_a_foreign_sampler_is_refused(foreign, draw):
    with pytest.raises(ValueError, match=r"not Varifold's: wire Solver \(Varifold\)"):
        choice_of(foreign)
    if foreign is not None:
        with pytest.raises(ValueError, match="not Varifold's"):
            draw(sampler=foreign)


def test_the_sampler_socket_overrules_the_menu(call, draw):
    (sampler,) = call("Solver", solver="heun")
    wired, chosen = draw(sampler=sampler, solver="euler"), draw(solver="heun")
    assert torch.equal(wired[2]["samples"], chosen[2]["samples"]) and "heun" in wired[-1]


class FakeModel:
    """What a SAMPLER's function gets for a model: a denoiser of one Gaussian, called as ComfyUI's is."""

    noise_scale = 1.0

    def __init__(self):
        self.calls = []

    def __call__(self, x, sigma, **extra_args):
        assert sigma.shape == (x.shape[0],) and set(extra_args) == {"model_options", "seed"}
        self.calls.append(float(sigma[0]))
        FakeModel.last = self.x0(x, float(sigma[0]))
        return self.last

    @staticmethod
    def x0(x, sigma, cond=None):
        return torch.tanh(x / (1 + sigma**2))


@pytest.fixture(params=[VE, FLOW], ids=lambda space: space.name)
def space(request, host, monkeypatch):
    models = SimpleNamespace(
        model_inside=lambda model: model,
        facts=lambda model: Facts(request.param, 0.1, 10.0, 4, 2, 8, 64, FakeModel.noise_scale),
        catching_negatives=lambda extra_args: (extra_args, lambda: FakeModel.last),
    )
    monkeypatch.setattr(type(host), "models", models)
    return request.param


def run(name, space, seed=5, sigmas=LEVELS, batch=2, knobs=()):
    """One call in ComfyUI's manner: the state, what the callback heard, the model, and σ's and start it was given."""
    sigmas = torch.tensor(sigmas) / (1 if space is VE else 10.5)
    start = torch.randn(batch, 4, 6, 5, generator=torch.Generator().manual_seed(1)) * sigmas[:1].sum()
    model, heard, given = FakeModel(), [], start.clone()
    with torch.inference_mode():
        state = as_sampler_function(Choice(name, knobs))(
            model, given, sigmas, extra_args={"model_options": {}, "seed": seed}, callback=heard.append, disable=True
        )
    assert torch.equal(given, start)
    return state, heard, model, sigmas.tolist(), start


@pytest.mark.parametrize("name", SOLVERS)
def test_a_custom_sampler_computes_what_ours_does(name, space):
    state, _, model, sigmas, start = run(name, space)
    plan = solver.plan(name, sigmas, space)
    expected = sample(FakeModel.x0, sigmas, solver=plan, x=start, seed=5, space=space)
    assert torch.allclose(state, expected, atol=1e-6)
    assert model.calls == pytest.approx([row.sigma for row in plan.rows[:-1]])


def test_noise_on_the_way_is_of_the_models_scale(space, monkeypatch):
    monkeypatch.setattr(FakeModel, "noise_scale", 3.0)
    state, _, _, sigmas, start = run("euler_ancestral", space)
    strong = solver.plan("euler_ancestral", sigmas, space, s_noise=3.0)
    assert torch.allclose(state, sample(FakeModel.x0, sigmas, solver=strong, x=start, seed=5, space=space), atol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_callback_hears_of_each_step_once(name, space):
    _, heard, _, sigmas, _ = run(name, space)
    assert [said["i"] for said in heard] == list(range(len(sigmas) - 1))
    if name != "dpm_fast":  # which walks levels of its own
        assert [said["sigma"] for said in heard] == pytest.approx(sigmas[:-1])
    for said in heard:
        assert set(said) == {"i", "x", "denoised", "sigma", "sigma_hat"}
        assert said["x"].shape == said["denoised"].shape == (2, 4, 6, 5)
        assert said["sigma_hat"] == said["sigma"]
        assert torch.allclose(said["denoised"], FakeModel.x0(said["x"], said["sigma"]), atol=1e-6)


def test_the_seed_decides(space):
    first, again, other = (run("euler_ancestral", space, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=1e-3)
    assert torch.equal(run("euler", space, 5)[0], run("euler", space, 6)[0])


def test_without_a_seed_or_callback_it_runs(space):
    function = as_sampler_function(Choice("dpmpp_sde"))
    x, sigmas = torch.ones(1, 1, 2, 2), torch.tensor([0.9, 0.5, 0.0])
    states = [
        function(lambda x, sigma, **extra: x / 2, x, sigmas, extra_args=extra) for extra in (None, {"seed": None})
    ]
    assert torch.equal(*states)


@pytest.mark.parametrize("sigmas", [[], [0.5]])
def test_fewer_than_two_levels_change_nothing(sigmas, space):
    state, heard, model, _, start = run("heun", space, sigmas=sigmas)
    assert torch.equal(state, start) and not heard and not model.calls


def test_two_levels_are_one_step(space):
    state, heard, *_ = run("dpmpp_2m", space, sigmas=[2.0, 0.0])
    assert len(heard) == 1 and torch.allclose(state, heard[0]["denoised"], atol=1e-6)


def test_a_schedule_that_rises_is_refused(space):
    with pytest.raises(ValueError, match="does not descend"):
        run("euler", space, sigmas=[0.0, 0.1, 1.0])


def test_video_states_work_too(space):
    x = torch.randn(1, 4, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    function = as_sampler_function(Choice("euler_ancestral"))
    state = function(lambda x, sigma, **extra: x / 2, x, torch.tensor([0.9, 0.5, 0.1]), extra_args={"seed": 1})
    assert state.shape == x.shape and torch.isfinite(state).all()
