"""Fit Schedule: what it gives, what it keeps and where, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch

from varifold.models import FLOW, VE, sample, schedule, solver
from varifold.models.denoising.space import Space
from varifold.models.sampling import fit
from varifold.models.sampling.noise import Noise
from varifold.nodes import fit as node_fit
from varifold.nodes import fit_kept
from varifold.nodes.fit import VarifoldFitSchedule
from varifold.nodes.host import Facts
from varifold.nodes.solver import choice_of
from varifold.studio.errors import Cancelled

SPACES = pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
USUAL = {"solver": "dpmpp_2m", "steps": 4, "guidance": 1.0, "prompts": "", "trajectories": 8, "seed": 0, "fitted": ""}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty folder for what is kept, and a curve that is quick to measure."""
    folder = tmp_path / "kept"
    monkeypatch.setenv("VARIFOLD_CACHE", str(folder))
    monkeypatch.setattr(node_fit, "CURVE", (3, 4, 6))
    monkeypatch.setattr(fit_kept, "_of_models", {})
    return folder


@pytest.fixture
def toy(call):
    """Makes a toy of 8×8 points."""

    def make(shape: str = "moons", space: str = "ve"):
        denoiser = call("Toy", shape=shape, modes=2, spread=0.1, space=space)[0]
        denoiser.shape = (2, 8, 8)
        return denoiser

    return make


@dataclass
class Outputs:
    sigmas: torch.Tensor
    sampler: object
    report: str
    widget: str
    curve: list


def run(denoiser, **given) -> Outputs:
    with torch.inference_mode():
        made = VarifoldFitSchedule().fit(denoiser, **USUAL | given)
    assert made["ui"]["text"] == [made["result"][2]]
    return Outputs(*made["result"], made["ui"]["varifold_fit"][0], made["ui"]["varifold_curve"][0])


@pytest.fixture
def asked(events):
    """asked() -> how many evaluations the bar of the last fit has shown, since it was last called."""

    def count() -> int:
        done = [data["value"] for event, data in events if event == "progress"]
        events.clear()
        return max(done, default=0)

    return count


# What it gives


@SPACES
def test_sigmas_and_sampler_draw_together_as_the_plan_does(call, toy, space):
    denoiser = toy(space=space.name)
    out = run(denoiser)
    plan = choice_of(out.sampler).table
    assert out.sigmas.dtype == torch.float32 and out.sigmas.double().tolist() == list(plan.sigmas)
    assert plan.space == space.name and plan.steps == 4 and "fitted" in plan.solver
    given = {"denoiser": denoiser, "sigmas": out.sigmas, "sampler": out.sampler, "guidance": 1.0, "seed": 3, "batch": 2}
    latent, _, report = call("Sampler", **given)[2:]
    expected = sample(denoiser, plan.sigmas, solver=plan, seed=3, batch=2)
    assert torch.equal(latent["samples"], expected)
    assert "dpmpp_2m, fitted: 4 steps, 4 evaluations" in report
    (usual,) = call("Schedule", curve="karras" if space is VE else "linear", steps=4, denoiser=denoiser)
    fine = schedule.karras(200, 0.002, denoiser.sigma_max, 7.0 if space is VE else 2.0)
    reference = sample(denoiser, fine, solver="heun", seed=3, batch=2)
    plain = sample(denoiser, usual.tolist(), seed=3, batch=2)
    assert (expected - reference).square().mean() < 0.5 * (plain - reference).square().mean()


def test_other_levels_are_refused(call, toy):
    denoiser = toy()
    sampler = run(denoiser).sampler
    with pytest.raises(ValueError, match=r"belongs to another schedule.*wire the schedule that came with it"):
        call("Sampler", denoiser=denoiser, sigmas=torch.tensor(schedule.karras(4, 0.01, 10.0)), sampler=sampler)


def test_another_space_is_refused(call, toy):
    out = run(toy(space="flow"))
    with pytest.raises(ValueError, match="fitted in flow space, and the model's is ve"):
        call("Sampler", denoiser=toy(), sigmas=out.sigmas, sampler=out.sampler)


def test_the_report_tells_the_figures_of_the_fit(toy, monkeypatch):
    found, fitting = [], fit.fit
    monkeypatch.setattr(fit, "fit", lambda *given, **options: found.append(fitting(*given, **options)) or found[0])
    out = run(toy())
    (best, used), *_ = found[0].figures.items()
    times = found[0].figures["usual schedule"].median / used.median
    assert out.report.startswith(f"4 steps of dpmpp_2m, {best}: {times:.1f} times closer than the usual schedule")
    for name, figures in found[0].figures.items():
        assert f"  {name}: {figures.median:.2g} ({figures.rms:.2g})" in out.report
    assert out.curve == [[n, error] for n, error in found[0].curve.items()] and [n for n, _ in out.curve] == [3, 4, 6]
    assert ", ".join(f"{n}: {error:.2g}" for n, error in out.curve) in out.report
    assert ("would do" in out.report) == (found[0].enough is not None)


def test_the_report_of_a_fit_that_gained_nothing():
    plan = solver.plan("euler", [1.0, 0.5, 0.0], VE)
    figures = {"usual schedule": fit.Figures(0.1, 0.1, 0.2), "fitted weights": fit.Figures(0.2, 0.2, 0.3)}
    told = node_fit._report(fit.Fit(plan, figures, {2: 0.1, 8: 0.001}, 1.0), "euler", 2)
    assert "nothing found that is closer" in told and "the usual schedule is given" in told
    assert "8 steps would do" in told


@pytest.mark.parametrize("name", node_fit.FITTING)
def test_every_solver_of_its_list(toy, events, name):
    out = run(toy(), solver=name, steps=3, trajectories=4)
    assert len(out.sigmas) == 4 and out.sigmas[-1] == 0
    bars = [data for event, data in events if event == "progress"]
    assert bars[0]["value"] == 0 and bars[-1]["value"] == bars[-1]["max"] > 120


# While it runs


def test_cancel_stops_it_within_an_evaluation(host, toy, events):
    listener = host.listener

    def cancel_at_5(event, data):
        listener(event, data)
        if event == "progress" and data["value"] == 5:
            host.cancel.set()

    host.listener = cancel_at_5
    with pytest.raises(Cancelled):
        run(toy())
    assert max(data["value"] for event, data in events if event == "progress") == 5


# What is kept


def test_a_second_run_asks_nothing(toy, asked, cache):
    first = run(toy())
    assert asked() > 100 and len(list(cache.iterdir())) == 1
    second = run(toy())
    assert asked() == 0
    assert second.widget == first.widget and torch.equal(second.sigmas, first.sigmas)
    assert choice_of(second.sampler).table == choice_of(first.sampler).table
    assert second.report == first.report and second.curve == first.curve


@pytest.mark.parametrize(
    "other", [{"steps": 5}, {"solver": "ipndm"}, {"guidance": 2.0}, {"trajectories": 9}, {"seed": 1}, {"prompts": "a"}]
)
def test_another_question_is_fitted_anew(toy, asked, other):
    run(toy())
    assert asked() > 100
    run(toy(), **other)
    assert asked() > 100


def test_another_denoiser_is_fitted_anew(call, toy, asked):
    run(toy())
    asked()
    run(toy("rings"))
    assert asked() > 100
    run(call("Guidance", denoiser=toy(), method="rescale", rescale=0.4)[0])
    assert asked() > 100


def test_the_widget_answers_without_the_cache_and_before_it(toy, asked, cache):
    widget = run(toy()).widget
    changed = json.loads(widget)
    changed["report"] = "said by the widget"
    asked()
    assert run(toy(), fitted=json.dumps(changed)).report == "said by the widget"
    for file in cache.iterdir():
        file.unlink()
    assert run(toy(), fitted=widget).widget == widget
    assert asked() == 0 and not list(cache.iterdir())


def test_a_widget_of_another_question_is_fitted_anew(toy, asked):
    widget = run(toy()).widget
    asked()
    out = run(toy(), steps=5, fitted=widget)
    assert asked() > 100 and len(out.sigmas) == 6 and out.widget != widget


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "5",
        "[]",
        "null",
        "{}",
        '{"asked": 1, "plan"',
        "[" * 100_000,
        '{"asked": "%s", "plan": {}}',
        '{"asked": "%s"}',
    ],
    ids=lambda text: text[:12],
)
def test_a_widget_that_holds_no_fit_says_what_to_do(toy, text):
    asked = json.loads(run(toy()).widget)["asked"]
    with pytest.raises(ValueError, match=r"fitted does not hold a fit.*clear it"):
        run(toy(), fitted=text.replace("%s", asked))


def test_white_space_is_an_empty_widget(toy, asked):
    run(toy(), fitted=" \n ")
    assert asked() > 100


@pytest.mark.parametrize(
    "text", [b"", b"no JSON", b"null", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"asked": 1}', "another question's"]
)
def test_a_damaged_or_foreign_file_is_fitted_anew_and_mended(toy, asked, cache, text):
    whole = run(toy()).widget
    (file,) = cache.iterdir()
    if isinstance(text, str):
        text = run(toy(), steps=5).widget.encode()
    file.write_bytes(text)
    asked()
    assert run(toy()).widget == whole
    assert asked() > 100 and file.read_text() == whole


def test_a_folder_that_cannot_be_written_is_no_error(toy, tmp_path, monkeypatch, asked):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VARIFOLD_CACHE", str(tmp_path / "file" / "fits"))
    for _ in range(2):
        assert len(run(toy()).sigmas) == 5 and asked() > 100


def test_a_denoiser_that_nothing_tells_from_others_is_not_kept(toy, asked):
    denoiser = toy()
    denoiser.identity = None
    for _ in range(2):
        run(denoiser)
        assert asked() > 100


# Prompts, for a denoiser that knows words


@pytest.fixture
def small(save_small, models_folder, call):
    """Loads a denoiser of 8×8 pixels and the words hero and robe."""
    save_small(models_folder / "small.safetensors")
    return lambda **given: call("LoadDenoiser", file="small.safetensors", **given)[0]


@pytest.fixture
def conds(monkeypatch):
    """What the fit was given: the conditions, and the options of `of_denoiser`."""
    seen, making = [], fit.of_denoiser

    def of_denoiser(denoiser, conds, **options):
        seen.append((conds, options))
        return making(denoiser, conds, **options)

    monkeypatch.setattr(fit, "of_denoiser", of_denoiser)
    return seen


def test_prompts_are_lines(small, conds):
    denoiser = small()
    run(denoiser, prompts="\n hero \n\nrobe hero\n", guidance=1.5)
    given, options = conds[0]
    expected = [denoiser.prompt("hero"), denoiser.prompt("robe hero")]
    assert all(torch.equal(one["words"], other["words"]) for one, other in zip(given, expected, strict=True))
    assert options["guidance"] == 1.5 and options["negative"] == [None] and options["trajectories"] == 8


def test_without_prompts_words_at_random(small, conds):
    denoiser = small()
    run(denoiser, seed=4)
    run(denoiser, seed=5)
    expected = [denoiser.prompt(text)["words"] for text in denoiser.vocabulary.random_prompts(24, 4)]
    first, second = ([cond["words"] for cond in given] for given, _ in conds)
    assert len(first) == 24 and all(map(torch.equal, first, expected))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_conditioning_goes_before_prompts(call, small, conds, asked):
    denoiser = small()
    positive, negative = (call("Prompt", denoiser=denoiser, text=text)[0] for text in ("hero robe", "robe"))
    run(denoiser, prompts="robe", positive=positive, negative=negative, guidance=2.0)
    (given,), options = conds[0]
    assert torch.equal(given["words"], positive[0][0]) and torch.equal(options["negative"][0]["words"], negative[0][0])
    asked()
    run(denoiser, prompts="robe", positive=negative, negative=positive, guidance=2.0)
    assert asked() > 100


@pytest.mark.parametrize("other", [{"precision": "bfloat16"}, {"prediction": "eps"}])
def test_a_file_read_otherwise_is_another_denoiser(small, asked, other):
    run(small())
    asked()
    run(small(**other))
    assert asked() > 100


def test_what_a_net_cannot_be_fitted_to(call, toy, small, prompt):
    with pytest.raises(ValueError, match="latent: for a MODEL only"):
        run(toy(), latent={"samples": torch.zeros(1, 2, 32, 32)})
    with pytest.raises(ValueError, match="takes no prompt"):
        run(toy(), positive=prompt("hero"))
    with pytest.raises(ValueError, match="not made for this denoiser"):
        run(small(), positive=prompt("hero"))


def test_a_guide_is_loaded_and_told_apart(host, small, call, monkeypatch, asked):
    loaded = []
    monkeypatch.setattr(type(host), "load", lambda self, *denoisers: loaded.append(denoisers))
    weak = small(prediction="x0")
    denoiser = call("Guidance", denoiser=small(), method="cfg", guide=weak)[0]
    first = run(denoiser, guidance=2.0)
    assert loaded == [(denoiser, weak)]
    asked()
    again = call("Guidance", denoiser=small(), method="cfg", guide=small(prediction="x0"))[0]
    assert run(again, guidance=2.0, fitted=first.widget).widget == first.widget and asked() == 0


# A MODEL of the host's


SIZE = (4, 4, 6)


def D(x, sigma, level):
    return torch.tanh(x - level) / (1 + sigma) + level


def text(level: float, **extras) -> list:
    return [[torch.full((1, 77, 8), level), {"pooled_output": torch.zeros(1, 8), **extras}]]


@dataclass
class Models:
    """MODELs that answer `D`."""

    space: Space = VE
    uuid: str = "one"
    batches: list[int] = field(default_factory=list)
    asked: dict = field(default_factory=dict)

    def facts(self, model):
        return Facts(self.space, 0.1, 10.0 if self.space is VE else 1.0, 4, 2, 8, 64)

    def identity(self, model):
        return "Kind", self.uuid

    def sigma_table(self, model):
        top = self.facts(model).sigma_max
        return torch.linspace(top / 1000, top, 1000).double().tolist()

    def draw(self, model, run, **asked):
        self.asked, guidance = asked, asked["guidance"]

        def guided(x, sigma):
            self.batches.append(len(x))
            positive, negative = (D(x, sigma, asked[side][0][0].mean()) for side in ("positive", "negative"))
            return guidance.combine(asked["scale"])(positive, negative, x, sigma) if asked["scale"] != 1 else positive

        first = asked["sigmas"][0].item()
        return run(guided, asked["noise"] * first)

    def fitted(self, model, latent):
        return latent["samples"]

    def to_wire(self, model, x0):
        return x0

    from_wire = to_wire

    def rough(self, model, x0):
        return x0[:, :3].movedim(1, -1).sigmoid()


@pytest.fixture
def models(host, monkeypatch):
    models = Models()
    monkeypatch.setattr(type(host), "models", models)
    return models


@pytest.fixture
def model(call, models):
    return lambda: call("FromModel", model=object())[0]


@SPACES
def test_it_fits_a_model_as_the_engine_does(models, model, space):
    models.space = space
    positive, negative = text(0.3), text(-0.2)
    out = run(model(), positive=positive, negative=negative, guidance=2.0, latent={"samples": torch.zeros(1, *SIZE)})
    noise = Noise(0, range(8), SIZE)(0)
    table = models.sigma_table(None)

    def ask(levels):
        return lambda x, sigma: torch.lerp(D(x, sigma, -0.2), D(x, sigma, 0.3), 2.0)

    starts = (fit.Starts(part * table[-1], ask) for part in noise.split([6, 2]))
    expected = fit.fit(*starts, schedule.simple(4, table), "dpmpp_2m", space)
    plan = choice_of(out.sampler).table
    assert plan.sigmas == expected.plan.sigmas
    for mine, theirs in zip(plan.rows, expected.plan.rows, strict=True):
        assert dict(mine.terms) == pytest.approx(dict(theirs.terms), rel=1e-3, abs=1e-3)
    assert set(models.batches) == {6, 2}
    assert models.asked["sigmas"].tolist() == pytest.approx(schedule.simple(4, table))


def test_it_draws_with_a_model(call, models, model):
    denoiser = model()
    out = run(denoiser, positive=text(0.3), latent={"samples": torch.zeros(1, *SIZE)})
    given = {"denoiser": denoiser, "sigmas": out.sigmas, "sampler": out.sampler, "guidance": 1.0, "seed": 5}
    latent = call("Sampler", **given, positive=text(0.3), width=48, height=32)[2]["samples"]
    options = {"seed": 5, "shape": SIZE, "space": VE, "cond": 0.3}
    plan = choice_of(out.sampler).table
    torch.testing.assert_close(latent, sample(D, plan.sigmas, solver=plan, **options), rtol=1e-5, atol=1e-5)


def test_large_latents_go_in_parts_and_cancel_between_them(host, models, model, monkeypatch):
    monkeypatch.setattr(fit, "AT_ONCE", 4 * 4 * 6 * 4)
    latent = {"samples": torch.zeros(1, *SIZE)}
    run(model(), positive=text(0.3), latent=latent)
    assert set(models.batches) == {4, 2}
    models.batches.clear()
    models.uuid = "two"
    drawing = Models.draw

    def draw(self, model, walk, **asked):
        def cancelled_in_the_third(D, x):
            def third(x, sigma):
                x0 = D(x, sigma)
                if len(self.batches) == 3:
                    host.cancel.set()
                return x0

            return walk(third, x)

        return drawing(self, model, cancelled_in_the_third, **asked)

    monkeypatch.setattr(Models, "draw", draw)
    with pytest.raises(Cancelled):
        run(model(), positive=text(0.3), latent=latent)
    assert len(models.batches) == 3


def test_a_models_own_size(models, model):
    run(model(), positive=text(0.3), trajectories=4)
    assert models.asked["latent"].shape == (4, 4, 8, 8)


def test_a_fit_of_a_model_is_kept_while_it_lives(models, model, cache):
    positive = text(0.3)
    first = run(model(), positive=positive)
    models.batches.clear()
    assert run(model(), positive=text(0.3)).widget == first.widget
    assert not models.batches and not cache.exists()
    models.uuid = "patched"
    run(model(), positive=positive)
    assert models.batches


def test_the_widget_counts_for_models_of_the_same_kind(models, model):
    widget = run(model(), positive=text(0.3)).widget
    models.uuid = "in another process"
    models.batches.clear()
    assert run(model(), positive=text(0.3), fitted=widget).widget == widget
    assert not models.batches


@pytest.mark.parametrize(
    "other",
    [
        text(0.31),
        text(0.3) * 2,
        text(0.3, strength=0.5),
        text(0.3, area=(1, 2, 3, 4)),
        [[torch.full((77, 1, 8), 0.3), {}]],
    ],
    ids=["words", "twice", "strength", "area", "shape"],
)
def test_another_conditioning_is_fitted_anew(models, model, other):
    run(model(), positive=text(0.3))
    run(model(), positive=text(0.3, strength=1.0))
    models.batches.clear()
    run(model(), positive=other)
    assert models.batches


def test_what_a_model_needs(models, model, prompt):
    with pytest.raises(ValueError, match="wire positive"):
        run(model())
    with pytest.raises(ValueError, match="wire it, or set guidance to 1"):
        run(model(), positive=text(0.3), guidance=2.0)
    with pytest.raises(ValueError, match="made by Prompt"):
        run(model(), positive=prompt("hero"))
    with pytest.raises(ValueError, match="5-dimensional"):
        run(model(), positive=text(0.3), latent={"samples": torch.zeros(1, 4, 1, 4, 6)})
    assert not models.asked
