"""Plans: rows of numbers, saved and read back, and run with no more memory than they need."""

from __future__ import annotations

import json
import weakref

import pytest
from exact import answering, small_mixture, states, unit_noises

from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.plan import Plan, Slot
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS

SIGMAS = schedule.karras(6, 0.03, 14.6)


@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
@pytest.mark.parametrize("name", SOLVERS)
def test_json_round_trip_is_exact(name, space):
    sigmas = SIGMAS if space is VE else schedule.linear(6, 0.0, 1.0)
    plan = solver.plan(name, sigmas, space)
    assert Plan.from_json(plan.to_json()) == plan


def test_json_is_the_format_that_was_promised():
    table = json.loads(solver.plan("euler", [2.0, 1.0]).to_json())
    assert table == {
        "version": 1,
        "solver": "euler",
        "space": "ve",
        "sigmas": [2.0, 1.0],
        "rows": [
            {"sigma": 2.0, "step": 0, "terms": {"n0": 1.0}},
            {"sigma": 1.0, "step": 0, "terms": {"x0": 0.5, "d0": 0.5}},
        ],
    }


def spoiled(change):
    table = json.loads(solver.plan("dpmpp_2m", SIGMAS).to_json())
    change(table)
    return json.dumps(table)


def with_term(name, weight=1.0, row=2):
    return lambda table: table["rows"][row]["terms"].update({name: weight})


SPOILED = {
    "a later version": (lambda table: table.update(version=2), "version 2.*update"),
    "an unknown kind of term": (with_term("q1"), "unknown term 'q1'"),
    "a term without number": (with_term("x"), "unknown term 'x'"),
    "a term with a sign": (with_term("d-1"), "unknown term 'd-1'"),
    "a state not made yet": (with_term("x2"), "row 2.*x2"),
    "an output not known yet": (with_term("d5"), "row 2.*d5"),
    "a NaN weight": (with_term("x0", float("nan")), "row 2.*x0.*nan"),
    "an infinite weight": (with_term("x0", float("inf")), "row 2.*x0.*inf"),
    "a weight that is a word": (with_term("x0", "much"), "not a Varifold plan"),
    "no rows": (lambda table: table.update(rows=[]), "no step"),
    "one row": (lambda table: table.update(rows=table["rows"][:1]), "no step"),
    "a row with no terms": (lambda table: table["rows"][1].update(terms={}), "row 1.*no terms"),
    "no sigmas": (lambda table: table.update(sigmas=[]), "no step"),
    "a step beyond the last": (lambda table: table["rows"][1].update(step=6), "row 1.*step 6"),
    "a negative step": (lambda table: table["rows"][1].update(step=-1), "row 1.*step -1"),
    "a NaN level": (lambda table: table["rows"][1].update(sigma=float("nan")), "row 1.*nan"),
    "an evaluation at 0": (lambda table: table["rows"][1].update(sigma=0.0), "row 1.*asks the denoiser at σ 0"),
    "an evaluation below 0": (lambda table: table["rows"][1].update(sigma=-1.0), "row 1"),
    "no version": (lambda table: table.pop("version"), "not a Varifold plan.*version"),
    "rows that are no list": (lambda table: table.update(rows=3), "not a Varifold plan"),
    "rows that are no tables": (lambda table: table.update(rows=[1, 2]), "not a Varifold plan"),
}


@pytest.mark.parametrize("label", SPOILED)
def test_what_is_no_plan_is_explained(label):
    change, says = SPOILED[label]
    with pytest.raises(ValueError, match=says):
        Plan.from_json(spoiled(change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"plan"'])
def test_what_is_no_table_is_no_plan(text):
    with pytest.raises(ValueError, match="not a Varifold plan"):
        Plan.from_json(text)


def test_a_plan_belongs_to_its_schedule():
    plan = solver.plan("euler", SIGMAS)
    plan.check_sigmas(SIGMAS)
    for other in ([*SIGMAS[:-1], 1e-9], SIGMAS[1:], []):
        with pytest.raises(ValueError, match=r"another schedule.*7 σ's from 14.6 to 0"):
            plan.check_sigmas(other)


def test_last_uses():
    plan = solver.plan("dpmpp_2m", [4.0, 2.0, 1.0, 0.5])
    assert plan.last_uses() == {
        Slot("n", 0): 0,
        Slot("x", 0): 1,
        Slot("d", 0): 2,
        Slot("x", 1): 2,
        Slot("d", 1): 3,
        Slot("x", 2): 3,
        Slot("d", 2): 3,
    }


class Census:
    """Counts the tensors of a run that are alive whenever the denoiser is asked."""

    def __init__(self, D, noise):
        self.D, self.draw = D, noise
        self.born, self.peak = [], 0

    def watch(self, tensor):
        self.born.append(weakref.ref(tensor))
        return tensor

    def __call__(self, x, sigma):
        self.watch(x)
        self.peak = max(self.peak, len({id(ref()) for ref in self.born if ref() is not None}))
        return self.watch(self.D(x, sigma))

    def noise(self, index):
        return self.watch(self.draw(index).clone())


def peak(name, steps):
    D, sigmas = small_mixture(VE), schedule.karras(steps, 0.03, 14.6)
    plan, x = solver.plan(name, sigmas), states(D, sigmas[0])
    census = Census(D, unit_noises(x.shape))
    run(plan, answering(plan, census), census.watch(x.clone()), census.noise)
    return census.peak, plan


@pytest.mark.parametrize("name", SOLVERS)
def test_slots_are_freed_at_their_last_use(name):
    """Alive are what later rows weigh, the state itself, the output before, and the start that the caller holds."""
    most, plan = peak(name, 24)
    last = plan.last_uses()

    def live(row):
        kept = [slot for slot, use in last.items() if use > row and slot.kind != "n" and slot.index < row]
        drawn = {slot for r in plan.rows[: row + 1] for slot, _ in r.terms if slot.kind == "n"}
        return len(kept) + sum(last[slot] > row for slot in drawn)

    assert most <= max(live(row) for row in range(plan.evaluations)) + 3
    assert most == peak(name, 12)[0]


def test_euler_keeps_three_tensors():
    assert peak("euler", 24)[0] <= 3


@pytest.mark.parametrize(
    ("name", "knobs", "says"),
    [
        ("ipndm", {"order": 5}, "order should be from 1 to 4"),
        ("lms", {"order": 0}, "order should be from 1 to 4"),
        ("dpmpp_sde", {"r": 0.0}, "r should be from 0.01"),
        ("euler_ancestral", {"eta": -1.0}, "eta should be from 0"),
        ("uni_pc", {"variant": "bh3"}, "this solver has bh1, bh2"),
        ("euler", {"order": 2}, "unknown knob 'order': this solver has none"),
    ],
)
def test_knobs_out_of_bounds_are_refused(name, knobs, says):
    with pytest.raises(ValueError, match=says):
        solver.plan(name, [2.0, 1.0, 0.0], **knobs)
