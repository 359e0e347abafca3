"""What a generator and a discriminator learn from one another, against closed forms; and that they learn."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from varifold.models.generating import load_generator
from varifold.models.nets.gan import Discriminator, GANConfig, GANGenerator
from varifold.models.train.adversarial import (
    BETAS,
    Discriminating,
    GANLearner,
    Generating,
    fakes,
    gan_from_scratch,
    slope,
)
from varifold.models.train.chance import Chance, sharing
from varifold.models.train.loop import Loop
from varifold.models.train.ranks import ALONE, Ranks, join
from varifold.models.train.settings import Settings

from .two_processes import together

POINT = {"in_channels": 2, "sides": (1, 1), "patch": 1, "width": 32, "multipliers": (1,), "embedding": 32, "noise": 4}
SMALL = {"sides": (8, 8), "width": 16, "multipliers": (1,), "embedding": 16, "vocabulary": 3, "noise": 5}


class Plane(nn.Module):
    """D(x) = w·x + b, of points."""

    def __init__(self, weight: torch.Tensor, bias: float):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.tensor(bias, dtype=weight.dtype))

    def forward(self, x, rows):
        return (x * self.weight).flatten(1).sum(1) + self.bias


class Same(nn.Module):
    """A generator whose pictures are its noise, moved."""

    noise_shape = (2, 1, 1)

    def __init__(self, by: float = 0.5):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def words(self, rows):
        return rows

    def embed(self, cond):
        return None

    def draw(self, noise, emb):
        return noise + self.by


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, 1, 1, generator=generator), torch.zeros(count, 1, dtype=torch.long)


def nets(**config) -> tuple[GANGenerator, Discriminator]:
    torch.manual_seed(0)
    config = GANConfig(**SMALL | config)
    net, judge = GANGenerator(config), Discriminator(config)
    # A new generator says zero, which would hide most of it.
    nn.init.normal_(net.out.weight, std=0.1)
    return net, judge


def test_the_losses_are_those_of_a_classifier_of_real_and_fake():
    x, rows = batch()
    weight = torch.tensor([0.7, -1.2])[:, None, None]
    judge, net = Plane(weight, 0.3), Same()
    fake = Chance(4, 0, 8).normal(2, 1, 1) + 0.5
    real, false = ((part * weight).flatten(1).sum(1) + 0.3 for part in (x, fake))
    expected = F.binary_cross_entropy_with_logits(real, torch.ones(8)) + F.binary_cross_entropy_with_logits(
        false, torch.zeros(8)
    )
    torch.testing.assert_close(Discriminating(judge, net, 0.0)(x, rows, Chance(4, 0, 8)), expected)
    # The generator wants its pictures taken for real: −ln D, which does not saturate, not ln(1 − D).
    wanted = F.binary_cross_entropy_with_logits(false, torch.ones(8))
    torch.testing.assert_close(Generating(net, judge)(x, rows, Chance(4, 0, 8)), wanted)


def test_a_discriminator_that_cannot_tell_loses_two_ln_2():
    x, rows = batch()
    blind, net = Plane(torch.zeros(2, 1, 1), 0.0), Same()
    assert Discriminating(blind, net, 10.0)(x, rows, Chance(0, 0, 8)).item() == pytest.approx(2 * math.log(2))
    assert Generating(net, blind)(x, rows, Chance(0, 0, 8)).item() == pytest.approx(math.log(2))


def test_the_best_discriminator_of_two_gaussians_is_at_rest():
    """D = ln p − ln q (Goodfellow et al. 2014, proposition 1): of equal ones apart by `by`, a plane."""
    by, count = 0.8, 200_000
    judge, net = Plane(torch.full((2, 1, 1), -by), by**2), Same(by)
    x = torch.randn(count, 2, 1, 1, generator=torch.Generator().manual_seed(5))
    loss = Discriminating(judge, net, 0.0)(x, torch.zeros(count, 1, dtype=torch.long), Chance(6, 0, count))
    loss.backward()
    assert judge.weight.grad.abs().max() < 0.01 and judge.bias.grad.abs() < 0.01
    assert loss.item() < 2 * math.log(2) - 0.1


def test_the_slope_of_a_plane_is_its_weights():
    weight = torch.tensor([0.7, -1.2], dtype=torch.float64)[:, None, None]
    x, rows = batch()
    found = slope(Plane(weight, 0.3), x.double(), rows)
    assert found.item() == pytest.approx(0.7**2 + 1.2**2, rel=1e-12)
    judge = Plane(weight, 0.3)
    plain, punished = (Discriminating(judge, Same(), gamma)(x, rows, Chance(0, 0, 8)) for gamma in (0.0, 3.0))
    assert (punished - plain).item() == pytest.approx(3.0 / 2 * (0.7**2 + 1.2**2), rel=1e-5)
    (gradient,) = torch.autograd.grad(slope(judge, x.double(), rows), judge.weight)
    torch.testing.assert_close(gradient, 2 * weight)


def test_the_slope_is_that_of_small_differences():
    _, judge = nets()
    judge, x, rows = judge.double(), torch.randn(2, 4, 8, 8, dtype=torch.float64), torch.tensor([[1], [2]])
    squares = torch.zeros(2, dtype=torch.float64)
    for index in range(x[0].numel()):
        step = torch.zeros_like(x).flatten(1)
        step[:, index] = 1e-6
        step = step.view_as(x)
        squares += ((judge(x + step, rows) - judge(x - step, rows)) / 2e-6).detach().square()
    assert slope(judge, x, rows).item() == pytest.approx(squares.mean().item(), rel=1e-6)


def test_the_slope_is_measured_in_float32_whatever_autocast_says():
    _, judge = nets()
    x, rows = torch.randn(4, 4, 8, 8), torch.ones(4, 1, dtype=torch.long)
    exact = slope(judge, x, rows)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(slope(judge, x, rows), exact)


def test_no_player_has_the_other_or_leaves_anything_in_it():
    net, judge = nets()
    x, rows, chance = torch.randn(4, 4, 8, 8), torch.ones(4, 1, dtype=torch.long), Chance(0, 0, 4)
    players = {judge: Discriminating(judge, net, 1.0), net: Generating(net, judge)}
    for own, other in ((judge, net), (net, judge)):
        player = players[own]
        assert {id(parameter) for parameter in player.parameters()} == {id(p) for p in own.parameters()}
        player(x, rows, chance).backward()
        assert all(parameter.grad is None for parameter in other.parameters())
        assert [name for name, parameter in own.named_parameters() if parameter.grad is None] == []
        own.zero_grad()


def test_every_parameter_learns_where_there_are_no_words():
    """As several processes at once need it."""
    net, judge = nets(vocabulary=1)
    x, rows = torch.randn(4, 4, 8, 8), torch.zeros(4, 0, dtype=torch.long)
    for player in (Discriminating(judge, net, 1.0), Generating(net, judge)):
        player(x, rows, Chance(0, 0, 4)).backward()
        assert [name for name, parameter in player.named_parameters() if parameter.grad is None] == []


def test_a_picture_is_judged_alone_and_by_its_words():
    _, judge = nets()
    x, rows = torch.randn(3, 4, 8, 8), torch.tensor([[1], [2], [0]])
    together, alone = judge(x, rows), torch.cat([judge(x[[i]], rows[[i]]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert (judge(x, rows.flip(0)) - together)[[0, 2]].abs().min() > 1e-4


def test_pictures_come_of_noise_and_words():
    net, _ = nets()
    said = torch.tensor([[1], [2]])
    first, again, other = (fakes(net, said, Chance(seed, 0, 2), learning=False) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.allclose(first, other) and not first.requires_grad
    assert not torch.allclose(first, fakes(net, said.flip(0), Chance(0, 0, 2), learning=False))


DRAWN = torch.tensor([[0.5, 0.0], [0.3, 0.4]])
MIDDLE = torch.tensor([0.3, -0.2])


def points(count: int, generator: torch.Generator):
    x = torch.randn(count, 2, generator=generator) @ DRAWN.T + MIDDLE
    return x[..., None, None], torch.zeros(count, 1, dtype=torch.long)


def learned(draw, steps: int, gamma: float, rate: float, batch: int = 256, **config) -> GANGenerator:
    torch.manual_seed(0)
    config = GANConfig(**POINT | config)
    net, judge = GANGenerator(config), Discriminator(config)
    settings = Settings(images=steps * batch, batch=batch, rate=rate, betas=BETAS, warmup=20)
    players = {"discriminator": Discriminating(judge, net, gamma), "generator": Generating(net, judge)}
    loop = Loop(players, net, sharing(draw), settings, precision="float32")
    for _ in loop.steps():
        pass
    return loop.averages[1]


def test_it_learns_the_mean_and_covariance_of_a_gaussian():
    net = learned(points, 450, 0.1, 2e-3, batch=128, width=16, embedding=16)
    with torch.no_grad():
        x = net.draw(torch.randn(4000, 4), net.embed()).flatten(1)
    torch.testing.assert_close(x.mean(0), MIDDLE, atol=0.2, rtol=0)
    torch.testing.assert_close(x.T.cov(), DRAWN @ DRAWN.T, atol=0.15, rtol=0)


def colours(count: int, generator: torch.Generator):
    """Bright pictures of word 1, dark ones of word 2."""
    rows = torch.randint(1, 3, (count, 1), generator=generator)
    slope = torch.randn(count, 1, 1, 1, generator=generator) * torch.linspace(-0.2, 0.2, 8)
    return (1.2 - 0.8 * rows)[:, :, None, None] + slope.expand(-1, 3, 8, 8), rows


def test_what_was_learned_draws_what_the_word_says_and_comes_back_from_a_file(tmp_path):
    net, judge, spec = gan_from_scratch((3, 8, 8), "rgb", ("<null>", "bright", "dark"), "tiny", title="planes")
    learner = GANLearner(net, judge, spec, gamma=0.3, prompts=["bright", "dark"])
    settings = Settings(images=150 * 64, batch=64, rate=2e-3, betas=BETAS, warmup=10)
    loop = Loop(learner.players, learner.kept, sharing(colours), settings, precision="float32")
    for _ in loop.steps():
        pass
    shown = learner.pictures(loop.averages[0])
    assert shown.shape == (16, 8, 8, 3)
    assert shown[::2].mean() - shown[1::2].mean() > 0.2
    learner.save(tmp_path / "model.safetensors", loop.averages[0])
    again = load_generator(tmp_path / "model.safetensors")
    assert again.kind == learner.asked["family"] == "gan"
    torch.testing.assert_close(learner.pictures(again.net), shown, atol=1e-4, rtol=0)


def test_a_training_goes_on_as_if_never_left():
    def loop() -> Loop:
        net, judge, spec = gan_from_scratch((3, 8, 8), "rgb", ("<null>", "bright", "dark"), "tiny")
        settings = Settings(images=8 * 8, batch=8, betas=BETAS, warmup=1)
        players = GANLearner(net, judge, spec).players
        return Loop(players, net, sharing(colours), settings, precision="float32")

    straight, first, second = loop(), loop(), loop()
    losses = [mean.tolist() for mean in straight.steps()]
    steps = first.steps()
    half = [next(steps).tolist() for _ in range(4)]
    second.restore(copy.deepcopy(first.state()))
    assert half + [mean.tolist() for mean in second.steps()] == losses


def three_steps(ranks: Ranks) -> tuple[torch.Tensor, dict]:
    """The losses of three steps, and the weights after them."""

    def batch(count, generator):
        rows = torch.randint(0, 3, (count, 1), generator=generator)
        return torch.randn(count, 3, 8, 8, generator=generator), rows

    net, judge, spec = gan_from_scratch((3, 8, 8), "rgb", ("<null>", "a", "b"), "tiny")
    settings = Settings(images=3 * 16, batch=16, betas=BETAS, warmup=1)
    players = GANLearner(net, judge, spec, gamma=1.0).players
    loop = Loop(players, net, sharing(batch), settings, precision="float32", ranks=ranks)
    return torch.stack([ranks.mean(losses) for losses in loop.steps()]), net.state_dict()


def three_steps_together() -> tuple[list, dict]:
    losses, weights = three_steps(join(torch.device("cpu")))
    return losses.tolist(), weights


def test_two_processes_learn_what_one_does(tmp_path):
    losses, weights = three_steps(ALONE)
    for shared_losses, shared in together("train.test_adversarial:three_steps_together", tmp_path):
        torch.testing.assert_close(torch.tensor(shared_losses), losses, rtol=1e-3, atol=1e-4)
        for name, weight in weights.items():
            torch.testing.assert_close(shared[name], weight, rtol=0, atol=1e-3)


@pytest.mark.heavy
def test_two_moons():
    from varifold.models.denoising.toy import Toy

    cloud = Toy("moons", 2, 0.05).net.centres.float()

    def batch(count, generator):
        pick = torch.randint(len(cloud), (count,), generator=generator)
        x = cloud[pick] + 0.05 * torch.randn(count, 2, generator=generator)
        return x[..., None, None], torch.zeros(count, 1, dtype=torch.long)

    net = learned(batch, 2500, 0.03, 2e-3, blocks=2)
    with torch.no_grad():
        x = net.draw(torch.randn(2000, 4), net.embed()).flatten(1)
    to_moons, to_points = torch.cdist(x, cloud).min(1).values, torch.cdist(cloud, x).min(1).values
    print("to the moons", to_moons.mean(), to_moons.quantile(0.9), "from them", to_points.mean(), to_points.max())
    assert to_moons.mean() < 0.15 and to_points.mean() < 0.15
