"""What an autoencoder learns from, against closed forms; and that it learns distributions that are known."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from varifold.models.generating import load_generator
from varifold.models.generating.variational import bound, kl, log_normal
from varifold.models.nets.picture_autoencoder import PictureAutoencoder, PictureAutoencoderConfig, Posterior
from varifold.models.train.autoencoding import AutoencoderLearner, Autoencoding, autoencoder_from_scratch
from varifold.models.train.chance import Chance, sharing
from varifold.models.train.loop import Loop
from varifold.models.train.settings import Settings

POINT = {"in_channels": 2, "sides": (1, 1), "patch": 1, "width": 16, "multipliers": (2,), "embedding": 16}


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Linear(nn.Module):
    """x = W z + mean, and of z the posterior with a weight, a variance for each number: probabilistic PCA."""

    def __init__(self, weight: torch.Tensor, mean: torch.Tensor, log_spread: float, variational: bool = True):
        super().__init__()
        self.weight, self.mean = nn.Parameter(weight.clone()), nn.Parameter(mean.clone())
        self.log_spread = nn.Parameter(torch.tensor(log_spread, dtype=weight.dtype))
        moments = weight.T @ weight + math.exp(2 * log_spread) * torch.eye(weight.shape[1], dtype=weight.dtype)
        self.look = nn.Parameter(torch.linalg.solve(moments, weight.T))
        self.doubt = nn.Parameter(2 * log_spread - moments.diagonal().log())
        self.noise_shape = (weight.shape[1], 1, 1)
        self.words = nn.Embedding(1, 2, dtype=weight.dtype)
        self.config = PictureAutoencoderConfig(**POINT, variational=variational)

    def embed(self, cond):
        return cond["words"].sum(1)

    def encode(self, x, emb):
        z = (x.flatten(1) - self.mean) @ self.look.T
        return Posterior(z[..., None, None], self.doubt.expand_as(z)[..., None, None])

    def decode(self, z, emb):
        return (z.flatten(1) @ self.weight.T + self.mean)[..., None, None]


def pca(covariance: torch.Tensor, latents: int) -> tuple[torch.Tensor, float]:
    """The likeliest W and ln σ for data of a covariance (Tipping & Bishop 1999, equations 7 and 8)."""
    values, vectors = torch.linalg.eigh(covariance)
    rest, kept = values[:-latents].mean(), values[-latents:]
    return vectors[:, -latents:] * (kept - rest).sqrt(), math.log(rest) / 2


def gaussian(size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A mean and a covariance."""
    root = seeded(size, size, seed=1)
    return seeded(size, seed=2), root @ root.T + 0.1 * torch.eye(size, dtype=torch.float64)


def exact(x: torch.Tensor, mean: torch.Tensor, weight: torch.Tensor, log_spread: float) -> torch.Tensor:
    """−ln N(x; mean, W Wᵀ + σ²)."""
    covariance = weight @ weight.T + math.exp(2 * log_spread) * torch.eye(len(mean), dtype=mean.dtype)
    return -torch.distributions.MultivariateNormal(mean, covariance).log_prob(x.flatten(1))


def test_kl_and_the_likelihood_are_those_of_normals():
    mean, log_variance, x = seeded(5, 3, 2, 2, seed=1), seeded(5, 3, 2, 2, seed=2), seeded(5, 3, 2, 2, seed=3)
    q = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).flatten(1).sum(1)
    torch.testing.assert_close(kl(Posterior(mean, log_variance)), expected)
    torch.testing.assert_close(log_normal(x, mean, log_variance / 2), q.log_prob(x).flatten(1).sum(1))
    torch.testing.assert_close(log_normal(x, mean, 0.3), Normal(mean, math.exp(0.3)).log_prob(x).flatten(1).sum(1))


@pytest.mark.parametrize("samples", [1, 7])
def test_the_bound_of_a_linear_one_at_its_best_is_the_likelihood(samples):
    mean, covariance = gaussian()
    weight, log_spread = pca(covariance, 2)
    net = Linear(weight, mean, log_spread)
    x = seeded(6, 4, 1, 1, seed=3)
    found = bound(net, x, None, seeded(6, samples, 2, 1, 1, seed=4))
    torch.testing.assert_close(found, exact(x, mean, weight, log_spread))


def test_the_loss_of_a_linear_one_at_its_best_is_the_likelihood_in_the_mean():
    mean, covariance = gaussian()
    weight, log_spread = pca(covariance, 2)
    x = seeded(1, 4, 1, 1, seed=3).expand(20_000, -1, -1, -1)
    losses = Autoencoding(Linear(weight, mean, log_spread)).losses(
        x, torch.zeros(len(x), 1, dtype=torch.long), seeded(len(x), 2, 1, 1, seed=4), 1.0
    )
    error = losses.std() / len(x) ** 0.5
    assert abs(losses.mean() - exact(x[:1], mean, weight, log_spread)) < 5 * error < 0.2


def test_training_a_linear_one_finds_probabilistic_pca():
    mean, covariance = (part.float() for part in gaussian())
    best, log_spread = pca(covariance, 2)
    root = torch.linalg.cholesky(covariance)

    def batch(count, generator):
        x = torch.randn(count, 4, generator=generator) @ root.T + mean
        return x[..., None, None], torch.zeros(count, 1, dtype=torch.long)

    net = Linear(seeded(4, 2, seed=5).float() / 2, torch.zeros(4), 0.0)
    net.words.weight.requires_grad_(False)
    loop = Loop(
        {"loss": Autoencoding(net)},
        net,
        sharing(batch),
        Settings(images=600 * 256, batch=256, rate=0.02, warmup=1, clip=10.0),
        precision="float32",
    )
    for _ in loop.steps():
        pass
    optimum = (covariance.logdet() + 4 * math.log(2 * math.pi) + 4) / 2
    x = batch(50_000, torch.Generator().manual_seed(9))[0]
    found = exact(x, net.mean.detach(), net.weight.detach(), net.log_spread.item()).mean()
    at_best = exact(x, mean, best, log_spread).mean()
    assert at_best > optimum - 0.05
    assert found < at_best + 0.03
    losses = Autoencoding(net).losses(x, torch.zeros(len(x), 1, dtype=torch.long), torch.randn(len(x), 2, 1, 1), 1.0)
    assert found - 0.03 < losses.mean() < at_best + 0.06


def test_beta_weighs_the_divergence_alone():
    torch.manual_seed(0)
    net = PictureAutoencoder(PictureAutoencoderConfig(**POINT))
    x, rows, noise = torch.randn(5, 2, 1, 1), torch.zeros(5, 1, dtype=torch.long), torch.randn(5, *net.noise_shape)
    with torch.no_grad():
        none, one, three = (Autoencoding(net).losses(x, rows, noise, beta) for beta in (0.0, 1.0, 3.0))
        divergence = kl(net.encode(x, net.embed()))
    torch.testing.assert_close(one - none, divergence)
    torch.testing.assert_close(three - none, 3 * divergence)


def test_the_loss_is_of_a_number_of_the_picture_and_its_beta_rises():
    torch.manual_seed(0)
    net = PictureAutoencoder(PictureAutoencoderConfig(**POINT))
    x, rows = torch.randn(5, 2, 1, 1), torch.zeros(5, 1, dtype=torch.long)
    for step, beta in ((0, 0.0), (150, 2.0), (300, 4.0), (10**9, 4.0), (-1, 4.0)):
        player, chance = Autoencoding(net, beta=4.0, warmup=300), Chance(3, step, 5)
        noise = Chance(3, step, 5).normal(*net.noise_shape)
        torch.testing.assert_close(player(x, rows, chance), player.losses(x, rows, noise, beta).mean() / 2)


def test_a_plain_one_is_judged_by_its_error_alone():
    torch.manual_seed(0)
    net = PictureAutoencoder(PictureAutoencoderConfig(**POINT, variational=False))
    x, rows = torch.randn(5, 2, 1, 1), torch.zeros(5, 1, dtype=torch.long)
    decoded = net.decode(net.encode(x, net.embed()).mean, net.embed())
    torch.testing.assert_close(Autoencoding(net)(x, rows, Chance(0, 0, 5)), (x - decoded).square().mean())


def test_every_parameter_learns():
    """As several processes at once need it."""
    for variational in (True, False):
        torch.manual_seed(0)
        net = PictureAutoencoder(
            PictureAutoencoderConfig(sides=(8, 8), width=16, vocabulary=3, variational=variational)
        )
        nn.init.normal_(net.out.weight)
        player = Autoencoding(net)
        player(torch.randn(4, 4, 8, 8), torch.zeros(4, 0, dtype=torch.long), Chance(0, 0, 4)).backward()
        assert [name for name, parameter in player.named_parameters() if parameter.grad is None] == []


def test_usual_latents_are_those_that_were_seen():
    torch.manual_seed(0)
    net = PictureAutoencoder(PictureAutoencoderConfig(**POINT, latent_channels=3, variational=False, vocabulary=3))
    emb = net.embed({"words": net.words(torch.tensor([[1], [2]]))}).detach()
    mixing, said = torch.randn(3, 3), torch.randint(2, (20_000,))
    centres = torch.tensor([[3.0, 0.0, -1.0], [-3.0, 2.0, 1.0]])
    z = (torch.randn(len(said), 3) @ mixing.T + centres[said])[..., None, None]
    net.fit_latents(z, emb[said])
    for word in (0, 1):
        drawn = net.latents(torch.randn(20_000, 3, 1, 1), emb[[word]].expand(20_000, -1)).flatten(1)
        torch.testing.assert_close(drawn.mean(0), centres[word], atol=0.1, rtol=0)
        torch.testing.assert_close(drawn.T.cov(), mixing @ mixing.T, atol=0.15, rtol=0.05)


GAUSSIAN = torch.tensor([[0.5, 0.0], [0.3, 0.4]])


def points(count: int, generator: torch.Generator):
    x = torch.randn(count, 2, generator=generator) @ GAUSSIAN.T + torch.tensor([0.3, -0.2])
    return x[..., None, None], torch.zeros(count, 1, dtype=torch.long)


def learned(variational: bool, batch=points, steps: int = 700, **config) -> Loop:
    torch.manual_seed(0)
    net = PictureAutoencoder(
        PictureAutoencoderConfig(**POINT | {"latent_channels": 2, "variational": variational} | config)
    )
    settings = Settings(images=steps * 256, batch=256, rate=4e-3, warmup=20)
    loop = Loop({"loss": Autoencoding(net)}, net, sharing(batch), settings, precision="float32")
    for _ in loop.steps():
        pass
    return loop


def test_a_variational_one_learns_the_mean_and_covariance_of_a_gaussian():
    net = learned(True).averages[0]
    z = torch.randn(4000, 2, 1, 1)
    with torch.no_grad():
        x = net.draw(z, net.embed())
        x = x + net.log_spread.exp() * torch.randn_like(x)
        seen, _ = points(2000, torch.Generator().manual_seed(5))
        found = bound(net, seen, net.embed(), torch.randn(2000, 8, 2, 1, 1))
    torch.testing.assert_close(x.flatten(1).mean(0), torch.tensor([0.3, -0.2]), atol=0.08, rtol=0)
    torch.testing.assert_close(x.flatten(1).T.cov(), GAUSSIAN @ GAUSSIAN.T, atol=0.06, rtol=0)
    true = -torch.distributions.MultivariateNormal(torch.tensor([0.3, -0.2]), GAUSSIAN @ GAUSSIAN.T).log_prob(
        seen.flatten(1)
    )
    assert true.mean() - 0.02 < found.mean() < true.mean() + 0.12


def colours(count: int, generator: torch.Generator):
    """Bright pictures of word 1, dark ones of word 2; each a plane of its own slope."""
    rows = torch.randint(1, 3, (count, 1), generator=generator)
    slope = torch.randn(count, 1, 1, 1, generator=generator) * torch.linspace(-0.2, 0.2, 8)
    return (1.2 - 0.8 * rows)[:, :, None, None] + slope.expand(-1, 3, 8, 8), rows


@pytest.mark.parametrize("variational", [True, False])
def test_what_was_learned_draws_what_the_word_says_and_comes_back_from_a_file(variational, tmp_path):
    net, spec = autoencoder_from_scratch(
        (3, 8, 8), "rgb", ("<null>", "bright", "dark"), "tiny", variational=variational, title="planes"
    )
    learner = AutoencoderLearner(net, spec, sharing(colours), prompts=["bright", "dark"])
    settings = Settings(images=120 * 64, batch=64, rate=4e-3, warmup=10)
    loop = Loop(learner.players, learner.kept, sharing(colours), settings, precision="float32")
    for _ in loop.steps():
        pass
    average = loop.averages[0]
    shown = learner.pictures(average)
    assert shown.shape == (16, 8, 8, 3)
    assert shown[::2].mean().item() == pytest.approx(0.7, abs=0.08)
    assert shown[1::2].mean().item() == pytest.approx(0.3, abs=0.08)
    learner.save(tmp_path / "model.safetensors", average)
    again = load_generator(tmp_path / "model.safetensors")
    assert again.kind == learner.asked["family"] == ("vae" if variational else "autoencoder")
    torch.testing.assert_close(learner.pictures(again.net), shown, atol=1e-4, rtol=0)
    x0, rows = colours(64, torch.Generator().manual_seed(3))
    told = again.saying(rows)
    assert (again.decode(again.encode(x0, told), told) - x0).square().mean() < 0.3 * x0.var()


@pytest.mark.heavy
def test_two_moons():
    from varifold.models.denoising.toy import Toy

    toy = Toy("moons", 2, 0.05)
    cloud = toy.net.centres.float()

    def batch(count, generator):
        pick = torch.randint(len(cloud), (count,), generator=generator)
        x = cloud[pick] + 0.05 * torch.randn(count, 2, generator=generator)
        return x[..., None, None], torch.zeros(count, 1, dtype=torch.long)

    net = learned(True, batch, 3000, multipliers=(4,), blocks=2).averages[0]
    with torch.no_grad():
        x = net.draw(torch.randn(2000, *net.noise_shape), net.embed()).flatten(1)
    to_moons, to_points = torch.cdist(x, cloud).min(1).values, torch.cdist(cloud, x).min(1).values
    print("to the moons", to_moons.mean(), to_moons.quantile(0.9), "from them", to_points.mean(), to_points.max())
    assert to_moons.mean() < 0.15 and to_points.mean() < 0.15
