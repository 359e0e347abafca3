"""Fits: closer than the usual schedule on unseen starts, never worse, and made of parts that do what they say."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from exact import small_mixture
from stubs import small_denoiser, words

from varifold.models import load_denoiser, sample
from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import fit, schedule, solver
from varifold.models.sampling.fit import Figures, Starts, Teacher
from varifold.models.sampling.noise import Noise
from varifold.models.sampling.plan import START, Plan
from varifold.models.sampling.solver import SOLVERS

torch.set_num_threads(1)

TOP = {VE: 80.0, FLOW: 1.0}
DIMS = 12
FITTING = [name for name, entry in SOLVERS.items() if not (entry.stochastic or entry.asks_for_negatives)]


def mixture(space, count: int = 6, seed: int = 0):
    return small_mixture(space, count, DIMS, seed)


def guided(space):
    """Guided by 2 from a mixture to another: what cfg does to two conditions."""
    positive, negative = mixture(space, 3, 5), mixture(space, 9, 6)
    return lambda x, sigma: torch.lerp(negative(x, sigma), positive(x, sigma), 2.0)


def usual(space, steps: int) -> list[float]:
    return schedule.linear(steps, 0.0, 1.0) if space is FLOW else schedule.karras(steps, 0.002, 80.0)


def starts(D, space, first: int, count: int, dtype=torch.float64) -> Starts:
    """Starts number `first` to `first + count`."""
    x = TOP[space] * Noise(7, range(first, first + count), (DIMS,), dtype=torch.float64)(0)
    return Starts(x.to(dtype), lambda levels: D)


def fitted(D, space, steps: int = 5, name: str = "dpmpp_2m", count: int = 48, dtype=torch.float64, **options):
    train, unseen = starts(D, space, 0, count, dtype), starts(D, space, count, max(1, count // 3), dtype)
    return fit.fit(train, unseen, usual(space, steps), name, space, **options)


def on_new_starts(D, space, *plans: Plan) -> list[Figures]:
    """Errors from 64 starts that no fit here has seen, against 400 steps of Heun."""
    new = starts(D, space, 1000, 64)
    levels = schedule.karras(400, 0.002, TOP[space], 7.0 if space is VE else 2.0)
    reference = new.walk(solver.plan("heun", levels, space))
    return [Figures.of(new.walk(plan), reference) for plan in plans]


# What comes out


@pytest.mark.parametrize(("steps", "name"), [(5, "dpmpp_2m"), (8, "dpmpp_2m"), (8, "ipndm")])
@pytest.mark.parametrize("make", [mixture, guided])
@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
def test_it_halves_the_error_on_new_starts(space, make, steps, name):
    D = make(space)
    found = fitted(D, space, steps, name)
    mine, usuals = on_new_starts(D, space, found.plan, solver.plan(name, usual(space, steps), space))
    assert mine.median < usuals.median / 2 and mine.rms < usuals.rms
    assert next(iter(found.figures)) == "fitted weights"
    assert found.figures["fitted weights"].beats(found.figures["usual schedule"])


@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
def test_the_levels_alone_help_too(space):
    D, name = mixture(space), "dpmpp_2m" if space is VE else "heun"
    found = fitted(D, space, name=name, weights=False)
    mine, usuals = on_new_starts(D, space, found.plan, solver.plan(name, usual(space, 5), space))
    assert mine.median < 0.8 * usuals.median
    assert found.plan == solver.plan(name, found.plan.sigmas, space)
    assert list(found.figures) == ["fitted schedule", "usual schedule"]


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_never_worse_than_the_start_where_it_was_checked(count, seed):
    """Far too few starts to learn from, and some that end elsewhere."""
    D = mixture(VE, 3, seed)
    found = fitted(D, VE, 4, count=count)
    used, start = next(iter(found.figures.values())), found.figures["usual schedule"]
    unseen = starts(D, VE, count, max(1, count // 3))
    levels = fit.teacher_levels(usual(VE, 4), VE)
    assert used == Figures.of(unseen.walk(found.plan), unseen.walk(solver.plan(fit.TEACHER, levels, VE)))
    assert used == start or used.beats(start)
    assert used.median == min(figures.median for figures in found.figures.values() if figures.mean <= start.mean)


def test_what_does_not_carry_over_is_not_used():
    """Learnt of pictures that are decided at high noise, checked on others whose detail comes at low noise."""
    coarse, fine = mixture(VE), mixture(VE)
    coarse.means, coarse.variances = 30 * coarse.means, 900 * coarse.variances
    fine.means, fine.variances = fine.means / 30, fine.variances / 900
    train, unseen = starts(coarse, VE, 0, 24), starts(fine, VE, 24, 8)
    start = [fit.single(sigma) for sigma in schedule.karras(6, 0.002, 80.0)]
    found = fit.fit(train, unseen, start, "dpmpp_2m", VE)
    assert next(iter(found.figures)) == "usual schedule" and len(found.figures) == 3
    assert found.plan == solver.plan("dpmpp_2m", start, VE)
    assert found.curve == {6: found.figures["usual schedule"].median}
    assert found.figures["fitted weights"].median > found.figures["usual schedule"].median


def test_fitted_weights_must_beat_fitted_levels():
    """Weights learnt of one start may be nearer than the usual schedule, and not so near as the levels alone."""
    kept = set()
    for seed in range(6):
        figures = fitted(mixture(VE, 6, seed), VE, 4, count=2).figures
        kept.add(best := next(iter(figures)))
        if figures["fitted schedule"].beats(figures["usual schedule"]):
            assert figures[best].median <= figures["fitted schedule"].median
    assert kept >= {"fitted weights", "fitted schedule"}


@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
@pytest.mark.parametrize("name", ["dpmpp_2m", "ipndm", "uni_pc"])
def test_the_weights_of_a_row_keep_their_sum(space, name):
    """So that the mean of a picture is drawn as exactly as without a fit."""
    plan = fitted(mixture(space), space, 6, name).plan
    assert "fitted" in plan.solver
    own = solver.plan(name, plan.sigmas, space)
    for mine, theirs in zip(plan.rows, own.rows, strict=True):
        assert sum(dict(mine.terms).values()) == pytest.approx(sum(dict(theirs.terms).values()), abs=1e-9)


@pytest.mark.parametrize(
    "D", [lambda x, sigma: 0.5 + 0 * x, lambda x, sigma: x / (1 + sigma**2)], ids=["constant", "linear"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_denoisers_without_a_choice(D, dtype):
    """A constant is drawn exactly by every solver; of a Gaussian a fit leaves next to nothing."""
    found = fitted(D, VE, dtype=dtype)
    used, start = next(iter(found.figures.values())), found.figures["usual schedule"]
    assert used == start or used.beats(start)
    assert used.median < 1e-3
    assert max(abs(weight) for row in found.plan.rows for _, weight in row.terms) < 10


@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
def test_its_levels_are_those_that_a_sigmas_wire_can_carry(space):
    for plan in (fitted(mixture(space), space, 6).plan, fitted(mixture(space), space, 6, weights=False).plan):
        assert list(plan.sigmas) == torch.tensor(plan.sigmas, dtype=torch.float32).double().tolist()
        assert tuple(row.sigma for row in plan.rows) == plan.sigmas
        assert plan.sigmas[0] == TOP[space] and plan.sigmas[-1] == 0 and plan.steps == plan.evaluations == 6


def test_the_same_starts_give_the_same_bits():
    one, other = (fitted(mixture(VE), VE, 6, dtype=torch.float32, curve=(4,)) for _ in range(2))
    assert one == other


def test_the_curve_has_a_median_for_every_number_of_steps():
    D = mixture(VE)
    found = fitted(D, VE, 6, curve=(4, 6, 10, 16))
    assert list(found.curve) == [4, 6, 10, 16]
    assert found.curve[6] == found.figures["fitted weights"].median
    assert found.curve[4] > found.curve[6] > found.curve[16]
    alone = fitted(D, VE, 10)
    assert found.curve[10] < 1.5 * alone.figures["fitted weights"].median
    assert found.spread == pytest.approx(D.draw(4000).std().item(), rel=0.15)


def test_nearer_is_in_the_median_and_in_the_mean():
    near, same, far = fit.Figures(0.1, 0.2, 0.9), fit.Figures(0.2, 0.2, 0.3), fit.Figures(0.3, 0.4, 0.4)
    assert near.beats(same) and same.beats(far) and not same.beats(near) and not near.beats(near)
    assert not fit.Figures(0.1, 0.5, 0.5).beats(far) and not fit.Figures(float("nan"), 0.1, 0.1).beats(far)
    drawn = torch.tensor([[3.0, 3.0], [1.0, 1.0], [0.0, 0.0]])
    told = fit.Figures.of(drawn, torch.zeros(3, 2))
    assert (told.median, told.mean, told.rms) == pytest.approx((1.0, 4 / 3, (10 / 3) ** 0.5))


def test_how_many_steps_would_do():
    plan = solver.plan("euler", [1.0, 0.0], VE)
    assert fit.Fit(plan, {}, {4: 0.2, 6: 0.009, 8: 0.02}, 1.0).enough == 6
    assert fit.Fit(plan, {}, {4: 0.2, 6: 0.1}, 1.0).enough is None


def test_its_plan_goes_through_json_and_runs_in_sample():
    D = mixture(VE)
    plan = fitted(D, VE, 6).plan
    again = Plan.from_json(plan.to_json())
    assert again == plan
    x = starts(D, VE, 0, 3).x
    drawn = sample(lambda x, sigma, cond: D(x, sigma), plan.sigmas, solver=again, x=x, space=VE)
    assert torch.equal(drawn, starts(D, VE, 0, 3).walk(plan))
    with pytest.raises(ValueError, match="belongs to another schedule"):
        sample(lambda x, sigma, cond: D(x, sigma), usual(VE, 6), solver=again, x=x, space=VE)


# Which solvers


@pytest.mark.parametrize("name", FITTING)
def test_it_asks_as_often_as_it_says(name):
    exact, asked = mixture(VE, 2), []

    def D(x, sigma):
        asked.append(len(x))
        return exact(x, sigma)

    found = fitted(D, VE, 3, name, count=6, curve=(2, 3, 4))
    assert len(asked) == fit.evaluations(3, name, (2, 3, 4))
    of_one_row_a_level = [row.sigma for row in solver.plan(name, usual(VE, 3), VE).rows] == usual(VE, 3)
    assert ("fitted weights" in found.figures) == of_one_row_a_level
    assert set(found.curve) == {2, 3, 4} and set(asked) == {6, 2}


@pytest.mark.parametrize("name", ["heun", "res_2s", "exp_heun_2_x0"])
def test_solvers_that_ask_between_levels_keep_their_weights(name):
    D = guided(VE)
    found = fitted(D, VE, 8, name)
    assert set(found.figures) == {"fitted schedule", "usual schedule"}
    assert found.plan == solver.plan(name, found.plan.sigmas, VE)
    mine, usuals = on_new_starts(D, VE, found.plan, solver.plan(name, usual(VE, 8), VE))
    assert mine.median < 0.7 * usuals.median


@pytest.mark.parametrize(
    ("start", "name", "sentence"),
    [
        (usual(VE, 5), "dpmpp_2m_sde", "without noise"),
        (usual(VE, 5), "euler_cfg_pp", "without CFG"),
        (usual(VE, 5), "no_such_solver", "no_such_solver cannot be fitted"),
        (usual(VE, 1), "dpmpp_2m", "2 to 30 steps"),
        (usual(VE, 31), "dpmpp_2m", "2 to 30 steps"),
        (usual(VE, 5)[:-1], "dpmpp_2m", "down to σ 0"),
        ([1.0, 2.0, 0.0], "dpmpp_2m", "does not descend"),
        ([80.0], "dpmpp_2m", "at least two"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_fitted_is_refused_before_anything_is_asked(start, name, sentence):
    def D(x, sigma):
        raise AssertionError("it was asked")

    with pytest.raises(ValueError, match=sentence):
        fit.fit(starts(D, VE, 0, 4), starts(D, VE, 4, 2), start, name, VE)


def test_flow_begins_at_1_at_most():
    with pytest.raises(ValueError, match="take the schedule's σ range"):
        fit.fit(starts(None, FLOW, 0, 4), starts(None, FLOW, 4, 2), usual(VE, 5), "dpmpp_2m", FLOW)


# The parts


def by_hand(seed: int = 0, levels: int = 8, count: int = 5, elements: int = 40, dtype=torch.float64) -> Teacher:
    """A walk of smooth random states and outputs."""
    generator = torch.Generator().manual_seed(seed)
    sigmas = [*np.geomspace(10.0, 0.1, levels - 1).tolist(), 0.0]
    states, outputs = torch.randn(2, levels, count, elements, generator=generator, dtype=dtype).cumsum(1)
    matters = [1 / (1 + sigma) for sigma in sigmas]
    return Teacher(sigmas, states, outputs[:-1], torch.arange(elements), matters)


@pytest.mark.parametrize("pull", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_the_best_of_all(seed, pull):
    teacher = by_hand(seed)
    last = len(teacher.levels) - 1

    def stray(i: int, j: int) -> float:
        s, t = teacher.levels[i], teacher.levels[j]
        euler = teacher.outputs[i] + t / s * (teacher.states[i] - teacher.outputs[i])
        return (euler - teacher.states[j]).square().mean(1).sqrt().mean().item() * teacher.matters[j] ** pull

    paths = teacher.paths(last, pull)
    assert list(paths) == list(range(1, last + 1))
    for steps, path in paths.items():
        every = [[0, *between, last] for between in combinations(range(1, last), steps - 1)]
        costs = [sum(stray(*step) for step in pairwise(other)) for other in every]
        assert path == every[int(np.argmin(costs))], steps


@pytest.mark.parametrize(("past", "start", "end"), [((), 0, 3), ((0,), 2, 3), ((0, 2), 3, 7)])
def test_what_is_left_of_a_step_is_that_of_least_squares(monkeypatch, past, start, end):
    monkeypatch.setattr(fit, "ROUNDS", 1)
    monkeypatch.setattr(fit, "RIDGE", 0.0)
    teacher = by_hand()
    states, outputs, keep = teacher.states, teacher.outputs, teacher.levels[end] / teacher.levels[start]
    columns = [outputs[start] - states[start], *(outputs[p] - outputs[start] for p in past)]
    aim = states[end] - keep * states[start] - (1 - keep) * outputs[start]
    matrix = torch.stack([column.flatten() for column in columns], 1)
    shares = torch.linalg.lstsq(matrix, aim.flatten()[:, None]).solution
    distance = (aim - (matrix @ shares).view_as(aim)).norm(dim=1)
    assert teacher.left(past, start, end) == pytest.approx(distance.mean().item(), rel=1e-9)


def test_a_few_that_end_elsewhere_do_not_decide():
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(2, 20, 30, generator=generator, dtype=torch.float64)
    aim = 0.7 * vectors[0] - 0.2 * vectors[1] + 0.01 * torch.randn(20, 30, generator=generator, dtype=torch.float64)
    aim[:3] = -5 * vectors[0, :3]
    seen = torch.stack([*vectors, aim])
    shares, distance = fit.robust_fit(torch.einsum("ike,jke->kij", seen, seen))
    assert shares.tolist() == pytest.approx([0.7, -0.2], abs=0.02)
    apart = (aim - torch.einsum("i,ike->ke", shares, vectors)).norm(dim=1)
    torch.testing.assert_close(distance, apart)
    plain = torch.linalg.lstsq(vectors.flatten(1).T, aim.flatten()[:, None]).solution.flatten()
    assert (plain - torch.tensor([0.7, -0.2])).abs().max() > 0.2


@pytest.mark.parametrize("pull", fit.PULLS)
@pytest.mark.parametrize("seed", range(3))
def test_settling_never_costs_more(seed, pull):
    teacher = by_hand(seed, levels=16)

    def cost(path: list[int]) -> float:
        steps = enumerate(pairwise(path))
        past = [tuple(path[max(0, k - fit.MEMORY + 1) : k]) for k in range(len(path) - 1)]
        return sum(teacher.left(past[k], i, j) * teacher.matters[j] ** pull for k, (i, j) in steps)

    for path in ([0, 1, 2, 3, 15], [0, 12, 13, 14, 15], teacher.paths(6, pull)[6], [0, 15]):
        found = teacher.settled(path, pull)
        assert cost(found) <= cost(path)
        assert len(found) == len(path) and found[0] == 0 and found[-1] == 15
        assert all(i < j for i, j in pairwise(found))
        moves = ([*found[:k], found[k] + way, *found[k + 1 :]] for k in range(1, len(path) - 1) for way in (1, -1))
        assert all(cost(found) <= cost(other) for other in moves if sorted(set(other)) == other)


@pytest.mark.parametrize("name", ["dpmpp_2m", "ipndm", "uni_pc", "deis_log"])
@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
def test_rows_do_what_the_training_run_did(space, name):
    """Every state that the fit asked about is that of the plan that came out."""
    D, asked = mixture(space), []

    def watched(x, sigma):
        asked.append(x.clone())
        return D(x, sigma)

    train = starts(watched, space, 0, 12, torch.float32)
    teacher = Teacher.walk(train, fit.teacher_levels(usual(space, 6), space), space)
    path = teacher.paths(6, 0.5)[6]
    asked.clear()
    plan, left = fit.fit_rows(solver.plan(name, [teacher.levels[index] for index in path], space), train, teacher, path)
    in_training = torch.stack(asked)
    asked.clear()
    last = train.walk(plan)
    assert torch.equal(in_training, torch.stack(asked))
    apart = (last[:, teacher.elements] - teacher.states[-1]).double().norm(dim=1).mean().item()
    assert apart == pytest.approx(left, rel=1e-3)
    assert plan.rows[0].terms == ((START, 1.0),) or plan.rows[0].terms[0][0] == START


def test_the_teacher_sees_some_elements_of_large_states():
    x = torch.randn(2, 5, 30, 40)
    teacher = Teacher.walk(Starts(x, lambda levels: lambda x, sigma: x / (1 + sigma)), [1.0, 0.5, 0.0], VE)
    assert teacher.states.shape == (3, 2, fit.MOST_ELEMENTS) and teacher.outputs.shape == (2, 2, fit.MOST_ELEMENTS)
    assert torch.equal(teacher.states[0], x.flatten(1)[:, teacher.elements])
    assert teacher.elements.unique().numel() == fit.MOST_ELEMENTS


def test_a_fit_keeps_no_gradients():
    exact, weight = mixture(VE, 2), torch.ones(1, dtype=torch.float64, requires_grad=True)

    def D(x, sigma):
        assert not torch.is_grad_enabled()
        return weight * exact(x, sigma)

    fitted(D, VE, 4, count=4)


def test_an_output_of_half_precision_is_taken_as_the_state_is():
    D = mixture(VE, 2)
    found = fitted(lambda x, sigma: D(x.double(), sigma).half(), VE, 4, count=6, dtype=torch.float32)
    assert found.figures["fitted weights"].median < found.figures["usual schedule"].median


def test_a_denoiser_that_breaks_is_told():
    with pytest.raises(ArithmeticError, match="σ"):
        fitted(lambda x, sigma: x / 0 if sigma < 1 else x, VE, 4, count=4)


# Our own denoisers


def test_trajectories_share_out_seen_and_unseen():
    assert [fit.shares(count) for count in (1, 2, 4, 32, 33)] == [(1, 1), (1, 1), (3, 1), (24, 8), (25, 8)]


def test_unseen_starts_have_noise_and_prompts_of_their_own():
    denoiser, conds, asked = small_denoiser(), [words(seed) for seed in range(8)], []

    def wrap(D):
        def watched(x, sigma):
            asked.append(D(x, sigma))
            return asked[-1]

        return watched

    train, unseen = fit.of_denoiser(denoiser, conds, guidance=1.5, trajectories=12, seed=5, wrap=wrap)
    noise = Noise(5, range(12), denoiser.shape)(0)
    assert torch.equal(torch.cat([train.x, unseen.x]), 80 * noise)
    for part, known in ((train, conds[:6]), (unseen, conds[6:])):
        with torch.no_grad():
            said = part.ask([2.0])(part.x, 2.0)
            positive = torch.cat([denoiser(x[None], 2.0, known[k % len(known)]) for k, x in enumerate(part.x)])
            negative = denoiser(part.x, 2.0)
        torch.testing.assert_close(said, negative + 1.5 * (positive - negative), rtol=1e-4, atol=1e-4)
        assert torch.equal(said, asked.pop())


def test_many_starts_are_asked_in_parts(monkeypatch):
    denoiser, conds = small_denoiser(), [words(seed) for seed in range(3)]
    at_once, _ = fit.of_denoiser(denoiser, conds, guidance=1.5, trajectories=7)
    whole, batches = at_once.ask([2.0])(at_once.x, 2.0), []
    forward = denoiser.net.forward
    monkeypatch.setattr(denoiser.net, "forward", lambda x, *rest: batches.append(len(x)) or forward(x, *rest))
    monkeypatch.setattr(fit, "AT_ONCE", 4 * 4 * 8 * 8)
    parts, _ = fit.of_denoiser(denoiser, conds, guidance=1.5, trajectories=7)
    torch.testing.assert_close(parts.ask([2.0])(parts.x, 2.0), whole, rtol=1e-4, atol=1e-4)
    assert batches == [2 * 4, 2 * 2]


def test_one_condition_is_for_all():
    denoiser = small_denoiser()
    for conds in ([None], [words(1)]):
        train, unseen = fit.of_denoiser(denoiser, conds, trajectories=4)
        with torch.no_grad():
            for part in (train, unseen):
                said = part.ask([2.0])(part.x, 2.0)
                torch.testing.assert_close(said, denoiser(part.x, 2.0, conds[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cond", [None, words(1)], ids=["none", "words"])
def test_schedule_gives_levels_for_a_solver_as_it_is(cond):
    denoiser = small_denoiser()
    levels = fit.schedule(denoiser, 5, cond=cond, guidance=1.5, seed=2, trajectories=4)
    assert len(levels) == 6 and all(isinstance(sigma, float) for sigma in levels)
    assert levels[0] == 80 and levels[-1] == 0 and all(s > t for s, t in pairwise(levels))
    assert levels == fit.schedule(denoiser, 5, cond=cond, guidance=1.5, seed=2, trajectories=4)
    sample(denoiser, levels, cond=cond, guidance=1.5)


def test_schedule_for_the_embedded_denoiser():
    denoiser = load_denoiser()
    levels = fit.schedule(denoiser, 4, cond=denoiser.prompt("hero robe"), guidance=1.5, trajectories=4)
    assert len(levels) == 5 and levels[0] == 80 and levels[-1] == 0 and all(s > t for s, t in pairwise(levels))
