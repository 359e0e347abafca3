"""Style with a denoiser: self-attention seen and changed, inversion, and the identities that each method keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from varifold.models import load_denoiser, schedule
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.precondition import edm, eps, flow
from varifold.models.denoising.space import FLOW, VE, Space
from varifold.models.nets import build
from varifold.models.nets.attention import usual
from varifold.models.sampling.sample import sample
from varifold.models.style import distil, injection, statistics
from varifold.models.style.invert import invert
from varifold.models.style.regions import regions
from varifold.models.style.with_denoiser import METHODS, transfer

torch.set_num_threads(1)

EXACT, CHANGED = 1e-6, 1e-2
NETS = {
    "unet": (edm(), {"width": 16, "multipliers": (1, 2), "embedding": 16, "vocabulary": 3}),
    "latent_unet": (eps(), {"width": 32, "multipliers": (1, 2), "depths": (1, 0), "blocks": 1, "context": 12}),
    "dit": (flow(), {"width": 32, "depth": 3, "heads": 2, "classes": 3}),
    "flux": (
        flow(),
        {
            "in_channels": 4,
            "width": 32,
            "heads": 2,
            "axes": (4, 6, 6),
            "double_blocks": 1,
            "single_blocks": 2,
            "hidden": 32,
            "tokens": 12,
            "vector": 8,
        },
    ),
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_denoiser(name: str, dtype: torch.dtype = torch.float64) -> Denoiser:
    """A small one in which every weight is random, and layers that begin as zeros are not."""
    precondition, config = NETS[name]
    torch.manual_seed(0)
    net = build(name, config).eval().requires_grad_(False)
    for number, parameter in enumerate(net.parameters()):
        spread = 0.5 * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.data = (parameter.ndim == 1) * parameter.data + spread * random(*parameter.shape, seed=number)
    highest = 1.0 if precondition.space is FLOW else 20.0
    return Denoiser(net.to(dtype), precondition, shape=(4, 8, 8), sigma_min=0.05, sigma_max=highest)


DENOISERS = {name: random_denoiser(name) for name in NETS}
TEXT = {"tokens": random(1, 5, 12), "vector": random(1, 8)}
CONDS = {"unet": None, "latent_unet": {"tokens": TEXT["tokens"]}, "dit": None, "flux": TEXT}
CONTENT, STYLE = 0.5 * random(2, 4, 8, 8, seed=1), 0.5 * random(1, 4, 8, 8, seed=2) + 0.5
each_net = pytest.mark.parametrize("name", NETS)


def sigmas_of(denoiser: Denoiser, steps: int) -> list[float]:
    if denoiser.space is FLOW:
        return schedule.linear(steps, 0.0, 1.0)
    return schedule.karras(steps, denoiser.sigma_min, denoiser.sigma_max)


def styled(method: Callable, name: str, styles: list[Tensor], steps: int = 4, **options: object) -> Tensor:
    denoiser = DENOISERS[name]
    return method(denoiser, CONTENT, styles, sigmas_of(denoiser, steps), cond=CONDS[name], **options)


def distance(a: Tensor, b: Tensor) -> float:
    return (a - b).square().mean().sqrt().item()


@each_net
def test_attention_is_seen_in_the_order_in_which_it_runs(name):
    denoiser, seen = DENOISERS[name], []

    def attention(query, key, value, layer, beside):
        seen.append((layer, query.shape, [part.shape[2] for pair in beside for part in pair]))
        assert query.shape == key.shape == value.shape
        return usual(query, key, value, beside)

    plain = denoiser(CONTENT, 0.7, CONDS[name])
    watched = denoiser.with_attention(attention)(CONTENT, 0.7, CONDS[name])
    assert torch.allclose(watched, plain, rtol=0, atol=1e-12)
    assert [layer for layer, *_ in seen] == list(range(denoiser.net.attentions))
    text = [5, 5] if name == "flux" else []
    for _, (samples, _, tokens, _), beside in seen:
        side = math.isqrt(tokens)
        assert samples == 2 and side * side == tokens and 8 % side == 0
        assert beside == text


@each_net
def test_attention_changes_what_the_net_says_and_gradients_pass_through_it(name):
    denoiser = DENOISERS[name]
    nothing = denoiser.with_attention(lambda query, key, value, layer, beside: torch.zeros_like(value))
    assert distance(nothing(CONTENT, 0.7, CONDS[name]), denoiser(CONTENT, 0.7, CONDS[name])) > 1e-3

    memory: list = []
    seeing = denoiser.with_attention(distil._remembering(memory, denoiser.net.attentions - 1))
    direction = random(*CONTENT.shape, seed=3)

    def last_seen(amount: float | Tensor) -> Tensor:
        memory.clear()
        seeing(CONTENT + amount * direction, 0.7, CONDS[name])
        return memory[-1].seen.sum()

    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(last_seen(amount), amount)
    step = 1e-5
    assert gradient.item() == pytest.approx(((last_seen(step) - last_seen(-step)) / (2 * step)).item(), rel=1e-5)


@each_net
def test_nets_without_their_own_attention_compute_the_same_bits(name):
    denoiser = DENOISERS[name]
    again = denoiser.with_attention(lambda *asked, layer, beside: usual(*asked, beside)).with_attention(None)
    assert torch.equal(again(CONTENT, 0.7, CONDS[name]), denoiser(CONTENT, 0.7, CONDS[name]))


def gaussian(space: Space, spread: float, x: Tensor, sigma: float) -> Tensor:
    """The denoiser of data N(0, spread²)."""
    alpha = space.alpha(sigma)
    return alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * x


@pytest.mark.parametrize(("space", "highest"), [(VE, 5.0), (FLOW, 0.9)])
def test_inversion_of_gaussian_data_tends_to_its_closed_form(space, highest):
    """States move in proportion to their spread √(α²s² + σ²); the error of Euler's steps is of the first order."""
    spread, x = 0.6, random(1, 1, 4, 4)
    exact = x * math.hypot(space.alpha(highest) * spread, highest) / spread
    errors = []
    for steps in (50, 100, 200):
        sigmas = [highest * (1 - step / steps) for step in range(steps + 1)]
        errors.append(distance(invert(partial(gaussian, space, spread), x, sigmas, space)[0], exact))
    assert errors[2] < 0.01 * exact.abs().max()
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15) and errors[1] / errors[2] == pytest.approx(2, rel=0.15)


@each_net
def test_inversion_error_shrinks_with_steps_and_with_rounds(name):
    denoiser, cond, errors = DENOISERS[name], CONDS[name], {}
    for steps, rounds in ((6, 1), (12, 1), (24, 1), (12, 8)):
        errors[steps, rounds] = inversion_error(denoiser, CONTENT, sigmas_of(denoiser, steps), rounds, cond)
    assert errors[12, 1] < errors[6, 1] / 1.3 and errors[24, 1] < errors[12, 1] / 1.3
    assert errors[12, 8] < errors[12, 1] / 10


def inversion_error(denoiser: Denoiser, x0: Tensor, sigmas: list[float], rounds: int, cond: dict | None) -> float:
    """Of pictures inverted and drawn again."""
    D = denoiser.prepare(sigmas, cond, x0.shape)
    noise = invert(D, x0, sigmas, denoiser.space, rounds=rounds)[0]
    return distance(sample(denoiser, sigmas, solver="euler", x=noise, cond=cond), x0)


def test_three_rounds_invert_what_the_embedded_denoiser_knows():
    """A sprite, to within 3 levels of 255 in the mean; with one round it is a twentieth of the range off."""
    denoiser = load_denoiser()
    x0 = sample(denoiser, schedule.karras(12, 0.002, 80.0), cond=denoiser.prompt("hero robe"))
    sigmas = schedule.karras(20, 0.002, 80.0)
    assert inversion_error(denoiser, x0, sigmas, 3, None) < 3 * 2 / 255
    assert inversion_error(denoiser, x0, sigmas, 1, None) > 0.1


@each_net
def test_a_content_in_its_own_style_comes_back(name):
    again = partial(styled, injection.styled, name, temperature=1.0, rounds=1)
    assert distance(again([CONTENT]), CONTENT) < EXACT
    assert distance(again([CONTENT, CONTENT], weights=[0.3, 2.0]), CONTENT) < EXACT
    assert distance(again([STYLE]), CONTENT) > CHANGED


@each_net
def test_it_is_attention_that_looks_at_the_style(name):
    again = partial(styled, injection.styled, name, [STYLE])
    plain = again()
    for change in ({"last": 0.0}, {"temperature": 4.0}, {"structure": 0.0}):
        assert distance(again(**change), plain) > 1e-4, change


@each_net
def test_distilling_a_content_in_its_own_style_moves_it_no_further_than_adam_steps(name):
    """A distance has no slope where it is 0: Adam steps to and fro, by its rate."""
    for rate in (0.05, 0.005):
        again = partial(styled, distil.styled, name, steps=6, rate=rate)
        assert distance(again([CONTENT]), CONTENT) < rate
        assert distance(again([CONTENT, CONTENT], weights=[0.3, 2.0]), CONTENT) < rate


@each_net
def test_distilling_finds_what_its_attention_would_in_the_style(name):
    denoiser, cond, sigma, memory = DENOISERS[name], CONDS[name], 0.5, []
    remembering = denoiser.with_attention(distil._remembering(memory, injection.first_of(denoiser, injection.LAST)))

    def off(x0: Tensor) -> float:
        memory.clear()
        remembering(x0, sigma, cond)
        mine = memory.copy()
        memory.clear()
        remembering(torch.cat([CONTENT, STYLE]), sigma, cond)
        acting = regions(CONTENT, [1.0])
        return sum(distil._distance(*pair, [2, 1], acting, 0.0).item() for pair in zip(mine, memory, strict=True))

    sigmas = [sigma] * 50 + [0.0]
    found = distil.styled(denoiser, CONTENT, [STYLE], sigmas, cond=cond, structure=0.0, belief=0.0)
    start = statistics.recast(CONTENT, [STYLE], regions(CONTENT, [1.0]))
    assert off(found) < 0.9 * min(off(start), off(CONTENT))


@each_net
@pytest.mark.parametrize("rounds", [1, 3])
def test_keys_and_values_of_the_content_are_the_plain_reconstruction(rounds, name):
    """Where no style acts the picture is what its own noise gives, less what inverting loses: the content."""
    assert distance(styled(injection.styled, name, [STYLE], strength=0.0, rounds=rounds), CONTENT) < EXACT
    nowhere = [torch.zeros(1, 8, 8)]
    assert distance(styled(injection.styled, name, [STYLE], masks=nowhere, rounds=rounds), CONTENT) < EXACT


@each_net
@pytest.mark.parametrize("method", [injection.styled, distil.styled, statistics.styled])
def test_styles_have_weights_and_places(method, name):
    other = -STYLE.flip(2)
    both = partial(styled, method, name, [STYLE, other])
    alone = styled(method, name, [STYLE])
    assert distance(both(weights=[2.0, 0.0]), alone) < EXACT
    assert distance(both(weights=[1.0, 1.0]), alone) > 1e-3
    left, right = torch.zeros(2, 1, 8, 8)
    left[..., :4], right[..., 4:] = 1, 1
    halves = both(masks=[left, right])
    assert distance(halves, both(masks=[right, left])) > 1e-3


@pytest.mark.parametrize("shape", [(1, 4, 6, 5), (2, 4, 6, 5)])
def test_adain_has_the_styles_moments_exactly(shape):
    x, style = random(2, 4, 8, 8), 3 * random(*shape, seed=5) - 1
    moved = statistics.adain(x, style)
    for found, wanted in zip(statistics.moments(moved), statistics.moments(style), strict=True):
        assert torch.allclose(found, wanted.expand_as(found), rtol=1e-12, atol=1e-12)
    assert torch.allclose(moved.mean((2, 3)), style.mean((2, 3)).expand(2, -1), rtol=1e-12)
    assert torch.allclose(moved.std((2, 3), correction=0), style.std((2, 3), correction=0).expand(2, -1), rtol=1e-12)


def test_whitening_and_colouring_gives_the_styles_covariance_of_the_places_that_count():
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 0.7]], dtype=torch.float64)
    x, style = random(1, 3, 8, 8), torch.einsum("dc,bchw->bdhw", mixing, random(1, 3, 6, 6, seed=1))
    where, style_where = (random(1, 1, 8, 8, seed=2) > 0).double(), (random(1, 1, 6, 6, seed=3) > 0).double()
    moved = statistics.whitened_coloured(x, style, where, style_where)
    found, wanted = moved[0][:, where[0, 0] > 0], style[0][:, style_where[0, 0] > 0]
    assert torch.allclose(found.mean(1), wanted.mean(1), rtol=1e-9)
    assert torch.allclose(found.cov(correction=0), wanted.cov(correction=0), rtol=1e-9, atol=1e-12)
    adained = statistics.adain(x, style, where, style_where)[0][:, where[0, 0] > 0]
    assert torch.allclose(adained.std(1, correction=0), wanted.std(1, correction=0), rtol=1e-9)


@pytest.mark.parametrize(("space", "noisy", "clear"), [(VE, 5.0, 1e-9), (FLOW, 0.95, 1e-9)])
def test_the_pull_is_whole_in_noise_and_gone_at_the_end(space, noisy, clear):
    x, said = random(1, 4, 8, 8), random(1, 4, 8, 8, seed=4)
    D = statistics.pulled(
        lambda _x, _sigma: said, CONTENT[:1], [STYLE], space, regions(CONTENT[:1], [1.0]), structure=0.0
    )
    assert torch.allclose(D(x, noisy), statistics.whitened_coloured(said, STYLE), rtol=1e-12)
    assert torch.allclose(D(x, clear), said, atol=1e-7)


def test_fine_structure_is_the_contents():
    said = random(1, 4, 16, 16, seed=4)
    content = random(1, 4, 16, 16)
    D = statistics.pulled(lambda _x, _sigma: said, content, [content], VE, regions(content, [1.0]), structure=1.0)
    found, kept, other = (statistics._detail(each, None) for each in (D(content, 1e-9), content, said))
    assert distance(found, kept) < 0.2 * distance(other, kept)


def pictures(height: int = 22, width: int = 17) -> Tensor:
    """Two [2, H, W, 4] with soft, full and no alpha."""
    picture = random(2, height, width, 4, seed=6).sigmoid().float()
    picture[..., 3] = (picture[..., 3] > 0.4).float()
    picture[0, :3, :, 3] = 0.75
    return picture


@pytest.fixture(scope="module")
def pixel_denoiser() -> Denoiser:
    return random_denoiser("unet", torch.float32)


@pytest.mark.parametrize("method", METHODS)
def test_strength_0_returns_the_input_bit_for_bit(method, pixel_denoiser):
    content = pictures()
    assert torch.equal(transfer(pixel_denoiser, content, [content[:1, ..., :3]], method=method, strength=0.0), content)


@pytest.mark.parametrize("method", METHODS)
def test_any_size_keeps_its_alpha_and_its_places_outside_of_masks(method, pixel_denoiser):
    content, mask = pictures(), torch.zeros(1, 22, 17)
    mask[:, :, :9] = 1
    style = random(1, 40, 31, 3, seed=7).sigmoid().float()
    one = partial(transfer, pixel_denoiser, content, [style], method=method, steps=3)
    found = one(masks=[mask])
    assert found.shape == content.shape and found.isfinite().all() and found.min() >= 0 and found.max() <= 1
    assert torch.equal(found[..., 3], content[..., 3])
    untouched = (mask == 0).expand(2, -1, -1) | (content[..., 3] == 0)
    assert torch.equal(found[untouched], content[untouched])
    assert distance(found[~untouched], content[~untouched]) > CHANGED
    assert torch.equal(one(masks=[mask], seed=0), found)
    assert one(masks=None).shape == content.shape
    assert transfer(pixel_denoiser, content[..., :3], [style], method=method, steps=2).shape == (2, 22, 17, 3)


@pytest.mark.parametrize("method", METHODS)
def test_little_strength_changes_little_and_soft_alpha_is_seen(method, pixel_denoiser):
    content = pictures()
    content[..., 3] = content[..., 3] / 4
    seen = content[..., 3] > 0
    style = content[:1, ..., :3].flip(1)
    little, much = (
        transfer(pixel_denoiser, content, [style], method=method, steps=6, strength=strength) - content
        for strength in (0.01, 1.0)
    )
    assert little.abs().max() < 0.1 and little.abs().mean() < CHANGED < much[seen].abs().mean()


@pytest.mark.parametrize("method", METHODS)
def test_it_tells_how_far_it_is_and_can_be_stopped(method, pixel_denoiser):
    told = []
    again = partial(transfer, pixel_denoiser, pictures(), [pictures()[:1]], method=method, steps=3)
    again(observe=lambda done, total, x0: told.append((done, total)))
    done, totals = zip(*told, strict=True)
    assert list(done) == list(range(1, totals[0] + 1)) and set(totals) == {len(told)}

    def stop(done: int, _total: int, _x0: Tensor | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(observe=stop)


@pytest.mark.parametrize("method", METHODS)
def test_nodes_run_in_inference_mode(method, pixel_denoiser):
    plain = transfer(pixel_denoiser, pictures(), [pictures()[:1]], method=method, steps=3)
    with torch.inference_mode():
        inside = transfer(pixel_denoiser, pictures(), [pictures()[:1]], method=method, steps=3)
    assert torch.equal(inside, plain)


@pytest.mark.parametrize("method", ["statistics", "distil"])
def test_the_seed_is_what_chance_there_is(method, pixel_denoiser):
    seeded = partial(transfer, pixel_denoiser, pictures(), [pictures()[1:]], method=method, steps=3)
    assert torch.equal(seeded(seed=5), seeded(seed=5))
    assert distance(seeded(seed=5), seeded(seed=6)) > 1e-4


class Halving:
    """An autoencoder of pictures that are their own latents at half the size, each of four pixels as it is."""

    def encode(self, rgb: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(rgb.movedim(-1, 1), 8)[:, [0, 1, 2, 0]]

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1).clamp(0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_latents_go_through_the_autoencoder(method):
    denoiser = random_denoiser("latent_unet", torch.float32)
    denoiser.spec = type("Spec", (), {"channels": "sd1", "betas": "", "labels": ()})()
    content, style = random(1, 70, 50, 3).sigmoid().float(), random(1, 64, 64, 3, seed=1).sigmoid().float()
    one = partial(transfer, method=method, steps=2, cond=CONDS["latent_unet"])
    with pytest.raises(ValueError, match="autoencoder"):
        one(denoiser, content, [style])
    found = one(denoiser.with_autoencoder(Halving()), content, [style])
    assert found.shape == content.shape and distance(found, content) > CHANGED


def test_what_does_not_fit_is_refused(pixel_denoiser):
    content = pictures()
    with pytest.raises(ValueError, match="'atention' is not a method: it should be one of statistics, attention"):
        transfer(pixel_denoiser, content, [content], method="atention")
    with pytest.raises(ValueError, match="style 1 is transparent everywhere"):
        transfer(pixel_denoiser, content, [torch.zeros(1, 8, 8, 4)])
    with pytest.raises(ValueError, match="not all of them 0"):
        transfer(pixel_denoiser, content, [content], weights=[0.0])
    with pytest.raises(ValueError, match="style 1 has the shape"):
        injection.styled(DENOISERS["unet"], CONTENT, [STYLE[..., :4]], [1.0, 0.0])
    with pytest.raises(ValueError, match="2 weights of styles and 1 masks"):
        regions(CONTENT, [1.0, 2.0], [None])
    with pytest.raises(ValueError, match="no self-attention"):
        injection.first_of(Denoiser(torch.nn.Identity(), edm(), shape=(4, 8, 8), sigma_min=0.1, sigma_max=1.0), 0.5)
