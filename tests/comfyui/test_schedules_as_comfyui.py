"""Every schedule of ours that bears a name of ComfyUI's, against ComfyUI's own scheduler."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from conftest import run_oracle

from varifold.models.sampling import schedule

pytestmark = pytest.mark.comfyui

LOW, HIGH = 0.0291671582, 14.6146412293
COUNTS = (1, 2, 3, 8, 20, 37)
TABLES = {
    "ve": ({"space": "ve"}, schedule.discrete(start=0.00085, end=0.012)),
    "flow": ({"space": "flow", "shift": 3.0}, schedule.flow_shift([(i + 1) / 1000 for i in range(1000)], 3.0)),
}


@dataclass(frozen=True)
class Case:
    """What to ask of ComfyUI, and what makes the same here."""

    name: str
    theirs: dict
    ours: Callable[[], list[float]] = field(hash=False)


def named(name: str, space: str, steps: int, ours: Callable[[int], list[float]]) -> Case:
    theirs = {"scheduler": name, "model": TABLES[space][0], "steps": steps}
    return Case(f"{name} {space} {steps}", theirs, lambda: ours(steps))


def node(kind: str, module: str, options: dict, ours: Callable[[], list[float]], model: str | None = None) -> Case:
    theirs = {"node": kind, "module": f"nodes_{module}", "options": options}
    if model:
        theirs["model"] = TABLES[model][0]
    return Case(f"{kind} {' '.join(f'{name}={value}' for name, value in options.items())}", theirs, ours)


def between(make: Callable, space: str = "ve") -> Callable[[int], list[float]]:
    table = TABLES[space][1]
    return lambda steps: make(steps, table[0], table[-1])


def picked(make: Callable, space: str) -> Callable[[int], list[float]]:
    return lambda steps: make(steps, TABLES[space][1])


def of_range(steps: int) -> dict:
    return {"steps": steps, "sigma_max": HIGH, "sigma_min": LOW}


CASES = [
    *(named("simple", space, steps, picked(schedule.simple, space)) for space in TABLES for steps in COUNTS),
    *(named("beta", space, steps, picked(schedule.beta, space)) for space in TABLES for steps in COUNTS),
    *(named("normal", "ve", steps, picked(schedule.normal, "ve")) for steps in COUNTS),
    *(named("sgm_uniform", "ve", steps, picked(schedule.sgm_uniform, "ve")) for steps in COUNTS),
    *(named("ddim_uniform", space, 8, picked(schedule.ddim_uniform, space)) for space in TABLES),
    *(named("karras", "ve", steps, between(schedule.karras)) for steps in COUNTS),
    *(named("exponential", "ve", steps, between(schedule.exponential)) for steps in COUNTS),
    *(named("kl_optimal", "ve", steps, between(schedule.cosine)) for steps in COUNTS if steps > 1),
    *(
        named("linear_quadratic", space, steps, lambda n, t=table: schedule.linear_quadratic(n, t[-1]))
        for space, (_, table) in TABLES.items()
        for steps in COUNTS
    ),
    *(
        node(
            "PolyexponentialScheduler",
            "custom_sampler",
            {**of_range(9), "rho": rho},
            lambda rho=rho: schedule.polyexponential(9, LOW, HIGH, rho),
        )
        for rho in (0.7, 1.0, 2.0)
    ),
    *(
        node(
            "BetaSamplingScheduler",
            "custom_sampler",
            {"steps": 11, "alpha": a, "beta": b},
            lambda a=a, b=b: schedule.beta(11, TABLES["ve"][1], a, b),
            model="ve",
        )
        for a, b in ((0.6, 0.6), (1.0, 1.0), (0.4, 1.3), (5.0, 0.7))
    ),
    *(
        node(
            "SDTurboScheduler",
            "custom_sampler",
            {"steps": steps, "denoise": denoise},
            lambda steps=steps, denoise=denoise: schedule.sd_turbo(steps, TABLES["ve"][1], denoise),
            model="ve",
        )
        for steps, denoise in ((1, 1.0), (4, 1.0), (10, 1.0), (1, 0.5), (3, 0.75))
    ),
    *(
        node(
            "VPScheduler",
            "custom_sampler",
            {"steps": steps, "beta_d": 19.9, "beta_min": 0.1, "eps_s": 0.001},
            lambda steps=steps: schedule.vp(steps),
        )
        for steps in COUNTS
    ),
    *(
        node(
            "AlignYourStepsScheduler",
            "align_your_steps",
            {"model_type": family, "steps": steps, "denoise": 1.0},
            lambda family=family, steps=steps: schedule.align_your_steps(steps, family.lower()),
        )
        for family in ("SD1", "SDXL", "SVD")
        for steps in (*COUNTS, 10)
    ),
    *(
        node(
            "OptimalStepsScheduler",
            "optimalsteps",
            {"model_type": family, "steps": steps, "denoise": 1.0},
            lambda family=family, steps=steps: schedule.optimal_steps(steps, family.lower()),
        )
        for family in ("FLUX", "Wan", "Chroma")
        for steps in (*COUNTS, 10, 40)
    ),
    *(
        node(
            "GITSScheduler",
            "gits",
            {"coeff": round(0.8 + 0.05 * index, 2), "steps": steps, "denoise": 1.0},
            lambda index=index, steps=steps: schedule.gits(steps, 0.8 + 0.05 * index),
        )
        for index in range(15)
        for steps in (*range(2, 21), 33)
    ),
    *(
        node(
            "Flux2Scheduler",
            "flux",
            {"steps": steps, "width": width, "height": height},
            lambda steps=steps, tokens=width * height / 256: schedule.flux2(steps, tokens),
        )
        for steps in COUNTS
        for width, height in ((1024, 1024), (512, 768), (1920, 1088))
    ),
    *(
        node(
            "LTXVScheduler",
            "lt",
            {"steps": steps, "max_shift": 2.05, "base_shift": 0.95, "stretch": True, "terminal": 0.1},
            lambda steps=steps: schedule.ltxv(steps, 4096),
        )
        for steps in COUNTS
        if steps > 1
    ),
    *(
        node(
            "Ideogram4Scheduler",
            "ideogram4",
            {"steps": steps, "width": 1024, "height": 768, "mu": mu, "std": 1.75},
            lambda steps=steps, mu=mu: schedule.ideogram4(steps, 1024 * 768, mu),
        )
        for steps in COUNTS
        for mu in (0.0, -0.7)
    ),
]


@pytest.fixture(scope="module")
def ask(comfyui, tmp_path_factory):
    """`ask([what, ...])` gives ComfyUI's sigmas for each."""

    def ask(questions: list[dict]) -> list[list[float]]:
        folder = tmp_path_factory.mktemp("schedules")
        folder.joinpath("spec.json").write_text(json.dumps(questions))
        run_oracle(comfyui, "oracle_schedules.py", folder / "spec.json", folder / "result.json")
        return json.loads(folder.joinpath("result.json").read_text())

    return ask


@pytest.fixture(scope="module")
def theirs(ask):
    found = ask([case.theirs for case in CASES])
    return {case.name: sigmas for case, sigmas in zip(CASES, found, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_levels(case, theirs):
    assert case.ours() == pytest.approx(theirs[case.name], rel=1e-5, abs=1e-7)


def test_laplace_is_comfyuis_and_then_zero(ask):
    knobs = [(0.0, 0.5), (-0.5, 0.5), (1.0, 0.8), (0.0, 2.0)]
    asked = [
        {"node": "LaplaceScheduler", "module": "nodes_custom_sampler", "options": of_range(9) | {"mu": mu, "beta": b}}
        for mu, b in knobs[:3]
    ]
    for (mu, b), found in zip(knobs, ask(asked), strict=False):
        assert schedule.laplace(9, LOW, HIGH, mu, b) == pytest.approx([*found, 0.0], rel=1e-5)
    with pytest.raises(ValueError, match=r"would be followed by.*larger beta"):
        schedule.laplace(20, LOW, HIGH, 0.0, 5.0)


def test_ddim_uniform_is_the_last_steps_of_comfyuis(ask):
    """Where the steps do not divide the table, ComfyUI's has more of them than were asked for."""
    for steps, found in zip((30, 41), ask([named("ddim_uniform", "ve", n, len).theirs for n in (30, 41)]), strict=True):
        assert len(found) > steps + 1
        ours = schedule.ddim_uniform(steps, TABLES["ve"][1])
        assert ours == pytest.approx(found[-(steps + 1) :], rel=1e-5)


def test_beta_refuses_where_comfyui_takes_fewer_steps(ask):
    (found,) = ask([named("beta", "ve", 300, len).theirs])
    assert len(found) < 301
    with pytest.raises(ValueError, match="300 steps are too many for a table of 1000"):
        schedule.beta(300, TABLES["ve"][1])


def test_flux_is_simple_on_the_table_of_a_shifted_flux_model(ask):
    """ComfyUI puts the shift into the MODEL, see its ModelSamplingFlux; 10,000 σ's, so that 8 and 20 divide them."""
    tokens = 64 * 48
    mu = 0.5 + (tokens - 256) * (1.15 - 0.5) / (4096 - 256)
    model = {"space": "flux", "shift": mu}
    asked = [{"scheduler": "simple", "model": model, "steps": steps} for steps in (8, 20)]
    for steps, found in zip((8, 20), ask(asked), strict=True):
        assert schedule.flux(steps, tokens) == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("name", ["normal", "sgm_uniform"])
def test_on_flow_tables_comfyui_ends_higher(name, ask):
    """Its flow models take a σ for a timestep without undoing the shift, so the shift acts on σ_min twice. Of ours the
    lowest is σ_min. Without a shift the two agree but for interpolation, ours in log σ."""
    make = getattr(schedule, name)
    for shift in (1.0, 3.0):
        (found,) = ask([{"scheduler": name, "model": {"space": "flow", "shift": shift}, "steps": 20}])
        ours = make(20, schedule.flow_shift([(i + 1) / 1000 for i in range(1000)], shift))
        if shift == 1:
            assert ours == pytest.approx(found, rel=1e-4)
        else:
            assert ours[:-4] == pytest.approx(found[:-4], rel=0.03)
            assert ours[-2] < found[-2]


def test_every_scheduler_of_comfyuis_list_is_compared(comfyui):
    source = (comfyui.source / "comfy" / "samplers.py").read_text()
    listed = source.split("SCHEDULER_HANDLERS = {")[1].split("}")[0]
    names = {line.split('"')[1] for line in listed.splitlines() if '"' in line}
    assert names == {case.theirs["scheduler"] for case in CASES if "scheduler" in case.theirs}


def test_a_karras_range_is_the_models():
    assert TABLES["ve"][1][0] == pytest.approx(LOW) and TABLES["ve"][1][-1] == pytest.approx(HIGH)
    assert math.isclose(TABLES["flow"][1][-1], 1.0)
