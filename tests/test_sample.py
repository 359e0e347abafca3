"""The loop: which picture is drawn, what is heard of it on the way, and how what does not fit is refused."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from exact import small_mixture
from stubs import Plain, small_denoiser, words

from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.precondition import flow
from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.noise import Noise
from varifold.models.sampling.plan import Plan
from varifold.models.sampling.sample import sample
from varifold.models.sampling.solver import SOLVERS
from varifold.models.sampling.watch import NonFinite

torch.set_num_threads(1)

SIGMAS = schedule.karras(6, 0.002, 80.0)
FLOW_SIGMAS = schedule.linear(6, 0.0, 1.0)


class Listener:
    """A denoiser that keeps the states it is asked about, and the numbers that `observe` hears."""

    def __init__(self, answer=torch.zeros_like):
        self.answer, self.states, self.heard = answer, [], []

    def __call__(self, x, sigma, cond):
        self.states.append(x.clone())
        return self.answer(x)

    def observe(self, done, total, picture):
        self.heard.append((len(self.states), done, total))


def draw(denoiser, sigmas=SIGMAS, **options):
    return sample(denoiser, sigmas, **{"shape": (3, 4, 4), "space": VE} | options)


@pytest.mark.parametrize("name", ["dpmpp_2m", "euler_ancestral", "dpmpp_sde"])
def test_a_picture_is_the_same_in_any_batch(name):
    """Alone, in another batch, at another place: its noise to the bit, and it as far as matrix products allow."""
    denoiser = small_denoiser()
    options = {"solver": name, "seed": 11, "cond": words(1), "negative": words(2), "guidance": 1.5}
    four = sample(denoiser, SIGMAS, batch=4, **options)
    for indices in ([3], [0], [2, 3, 1], [1, 1]):
        some = sample(denoiser, SIGMAS, batch=len(indices), indices=indices, **options)
        assert torch.allclose(some, four[indices], rtol=0, atol=1e-5 * four.abs().max().item())
    assert not torch.allclose(four[0], four[1], atol=0.01)


@pytest.mark.parametrize("name", ["euler", "ddpm"])
def test_the_noise_of_a_picture_is_the_same_to_the_bit(name):
    together, alone = Listener(), Listener()
    draw(together, solver=name, seed=5, batch=4)
    draw(alone, solver=name, seed=5, indices=[2])
    for a, b in zip(together.states, alone.states, strict=True):
        assert torch.equal(a[2:3], b)


def test_the_start_is_noise_zero_times_the_first_sigma():
    listener = Listener()
    draw(listener, seed=9, batch=2)
    assert torch.equal(listener.states[0], Noise(9, range(2), (3, 4, 4))(0) * 80.0)


def test_seeds_differ():
    first, second = (draw(Listener(lambda x: x / 2), seed=seed) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_noise_may_be_given():
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    listener = Listener()
    draw(listener, noise=noise)
    assert torch.equal(listener.states[0], noise * 80.0)


def test_a_start_may_be_given():
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    listener = Listener()
    draw(listener, x=x, seed=3)
    assert torch.equal(listener.states[0], x)


def test_a_given_start_is_not_changed():
    x = torch.ones(1, 3, 4, 4)
    for name in SOLVERS:
        draw(Listener(), x=x, solver=name)
    assert torch.equal(x, torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
def test_an_image_is_noised_to_the_first_sigma(space):
    sigma = 0.6
    image = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    listener = Listener()
    draw(listener, [sigma, 0.3, 0.0], image=image, seed=4, space=space)
    expected = space.alpha(sigma) * image + sigma * Noise(4, range(2), (3, 4, 4))(0)
    assert torch.allclose(listener.states[0], expected, atol=1e-6)


def test_from_little_noise_an_image_hardly_changes():
    mixture = small_mixture(VE)
    image = mixture.means[:1].clone()
    last = sample(lambda x, sigma, cond: mixture(x, sigma), [1e-3, 0.0], image=image, space=VE)
    assert (last - image).abs().max() < 5e-3


@pytest.mark.parametrize("given", ["x", "image", "noise"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_states_are_float32_or_better(given, dtype):
    listener = Listener()
    last = draw(listener, solver="euler_ancestral", **{given: torch.ones(1, 3, 4, 4).to(dtype)})
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert {x.dtype for x in [last, *listener.states]} == {wanted}


def test_a_half_precision_net_has_its_state_in_float32():
    """The net sees float16; what the loop keeps, and what comes out, is float32."""
    half, full = small_denoiser(dtype=torch.float16), small_denoiser()
    seen = []
    half.net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    last = sample(half, SIGMAS, seed=1, cond=words(1), guidance=2.0)
    assert last.dtype == torch.float32
    assert set(seen) == {torch.float16}
    reference = sample(full, SIGMAS, seed=1, cond=words(1), guidance=2.0)
    assert (last - reference).abs().max() < 0.02 * reference.abs().max()


def test_a_denoiser_tells_its_space_and_shape():
    assert sample(small_denoiser(), SIGMAS, batch=2).shape == (2, 4, 8, 8)
    assert sample(small_denoiser(), SIGMAS, shape=(4, 12, 16)).shape == (1, 4, 12, 16)
    assert sample(small_denoiser(flow()), FLOW_SIGMAS).isfinite().all()


def test_schedules_may_be_tensors():
    listener = Listener(lambda x: x / 2)
    wire = torch.tensor(SIGMAS, dtype=torch.float32)
    assert torch.equal(draw(listener, wire), draw(listener, wire.tolist()))


def test_a_plan_does_what_its_name_does():
    plan = Plan.from_json(solver.plan("dpmpp_2m", SIGMAS).to_json())
    assert torch.equal(draw(Listener(lambda x: x / 3), solver=plan), draw(Listener(lambda x: x / 3), solver="dpmpp_2m"))


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_does_not_keep_gradients(name):
    weight = torch.ones(1, requires_grad=True)
    assert not draw(Listener(lambda x: x * weight / 2), solver=name).requires_grad


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_sde", "uni_pc"])
def test_observers_hear_every_evaluation_once_and_one_late(name, pictures):
    listener = Listener()
    draw(listener, solver=name, observe=listener.observe, pictures=pictures)
    total = len(listener.states)
    assert [(done, of) for _, done, of in listener.heard] == [(k, total) for k in range(1, total + 1)]
    assert [asked for asked, _, _ in listener.heard] == [min(k + 1, total) for k in range(1, total + 1)]


def test_observers_get_pictures_only_if_they_want_them():
    outputs, seen, unseen = [], [], []

    def D(x, sigma, cond):
        outputs.append(x / 2)
        return outputs[-1]

    draw(D, solver="euler", observe=lambda done, total, picture: seen.append(picture), pictures=True)
    assert all(torch.equal(a, b) for a, b in zip(seen, outputs, strict=True))
    assert seen[0].device.type == "cpu"
    draw(D, solver="euler", observe=lambda done, total, picture: unseen.append(picture))
    assert unseen == [None] * 6


@pytest.mark.parametrize("stop_at", [1, 3])
def test_raising_in_observe_stops_the_run(stop_at):
    class Stop(Exception):
        pass

    listener = Listener()

    def observe(done, total, picture):
        if done == stop_at:
            raise Stop

    with pytest.raises(Stop):
        draw(listener, schedule.karras(50, 0.002, 80.0), solver="euler", observe=observe)
    assert len(listener.states) <= stop_at + 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("bad", [1, 4, 6])
def test_nan_is_an_error_that_names_the_evaluation_and_the_level(bad, value):
    listener = Listener()

    def spoiled(x):
        x0 = torch.zeros_like(x)
        if len(listener.states) == bad:
            x0[0, 1, 2, 3] = value
        return x0

    listener.answer = spoiled
    with pytest.raises(NonFinite, match=rf"evaluation {bad} of 6 \(σ = {SIGMAS[bad - 1]:.4g}\).*float32"):
        draw(listener, solver="euler")
    assert len(listener.states) <= bad + 1


def test_opposite_infinities_do_not_cancel():
    def spoiled(x):
        x0 = torch.zeros_like(x)
        x0[0, 0, 0, 0], x0[0, 0, 0, 1] = math.inf, -math.inf
        return x0

    with pytest.raises(NonFinite):
        draw(Listener(spoiled))


def test_starting_far_below_the_top_warns():
    denoiser = small_denoiser()
    with pytest.warns(UserWarning, match="pure noise at σ = 14.6, far below the 80") as caught:
        sample(denoiser, schedule.karras(3, 0.03, 14.6))
    assert caught[0].filename == __file__


def test_starting_at_the_top_or_from_a_picture_does_not_warn():
    denoiser, low = small_denoiser(), schedule.karras(3, 0.03, 14.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(denoiser, SIGMAS)
        sample(denoiser, low, image=torch.zeros(1, 4, 8, 8))
        sample(denoiser, low, x=torch.zeros(1, 4, 8, 8))
        draw(Plain(), low)


def test_levels_of_a_run_are_embedded_once():
    """The net is asked for all noise levels and conditions in one call, before the loop, however large the batch."""
    denoiser, calls = small_denoiser(), []
    embed = denoiser.net.embed
    denoiser.net.embed = lambda labels, cond=None: calls.append(len(labels)) or embed(labels, cond)
    sample(denoiser, SIGMAS, solver="heun", batch=2, cond=words(1), guidance=2.0)
    assert calls == [2 * 6]


@pytest.mark.parametrize("precondition", [None, flow()], ids=["edm", "flow"])
def test_a_prepared_denoiser_is_the_denoiser(precondition):
    denoiser: Denoiser = small_denoiser(precondition)
    x, cond = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), words(1, batch=3)
    levels = [0.9, 0.4, 0.01]
    prepared = denoiser.prepare(levels, cond, x.shape)
    with torch.no_grad():
        for sigma in levels:
            expected = denoiser(x, sigma, cond)
            assert torch.allclose(prepared(x, sigma), expected, atol=1e-5)
            assert torch.allclose(denoiser(x, torch.full((3,), sigma), cond), expected, atol=1e-5)


def test_half_outputs_neither_overflow_the_check_nor_lower_the_state():
    def D(x, sigma, cond):
        return torch.full_like(x, 1.5, dtype=torch.float16)

    last = sample(D, [2.0, 1.0, 0.0], shape=(4, 128, 128), space=VE)
    assert last.dtype == torch.float32 and (last == 1.5).all()
