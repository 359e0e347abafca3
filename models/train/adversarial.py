"""What a generator and a discriminator learn from one another.

The losses do not saturate (Goodfellow et al. 2014, arXiv:1406.2661, section 3), and the discriminator's slope on real
pictures is punished: R1 (Mescheder et al. 2018, arXiv:1801.04406, equation 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..generating.file import save_generator
from ..generating.generator import Generator
from ..generating.spec import GeneratorSpec
from ..nets.gan import Discriminator, GANConfig, GANGenerator
from .chance import Chance
from .pyramid import SIZES, by_chance, pyramid, settings
from .shown import show

SMALLEST_GRID = 4  # pixels a side of the lowest level
BETAS = (0.0, 0.99)  # of Adam: what a player should do changes with the other
PUNISHED = 4  # the slope is measured on every fourth picture: true in the mean, and no jolt every so many steps


class Discriminating(nn.Module):
    """The discriminator's loss: (x0, rows, chance) -> its mean. The generator is none of its parts."""

    def __init__(self, net: nn.Module, generator: nn.Module, gamma: float):
        super().__init__()
        self.net, self.gamma = net, gamma
        self._generator = (generator,)

    def forward(self, x0: Tensor, rows: Tensor, chance: Chance) -> Tensor:
        fake = fakes(self._generator[0], rows, chance, learning=False)
        loss = (F.softplus(-self.net(x0, rows)) + F.softplus(self.net(fake, rows))).float().mean()
        if self.gamma == 0:
            return loss
        return loss + self.gamma / 2 * slope(self.net, x0[::PUNISHED], rows[::PUNISHED])


class Generating(nn.Module):
    """The generator's loss, by a discriminator that is none of its parts: (x0, rows, chance) -> its mean."""

    def __init__(self, net: nn.Module, discriminator: nn.Module):
        super().__init__()
        self.net = net
        self._discriminator = (discriminator,)

    def forward(self, x0: Tensor, rows: Tensor, chance: Chance) -> Tensor:
        (judge,) = self._discriminator
        weights = {name: parameter.detach() for name, parameter in judge.named_parameters()}
        fake = fakes(self.net, rows, chance, learning=True)
        return F.softplus(-functional_call(judge, weights, (fake, rows))).float().mean()


def fakes(generator: nn.Module, rows: Tensor, chance: Chance, *, learning: bool) -> Tensor:
    """Pictures of the words, by new noise; `learning` tells whether gradients pass through them."""
    noise = chance.normal(*generator.noise_shape)
    with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
        return generator.draw(noise, generator.embed({"words": generator.words(rows)}))


def slope(discriminator: nn.Module, x0: Tensor, rows: Tensor) -> Tensor:
    """The mean of ‖∇D(x0)‖² over pictures, in float32 or better whatever autocast says."""
    with torch.enable_grad(), torch.autocast(x0.device.type, enabled=False):
        x0 = x0.detach().to(torch.promote_types(x0.dtype, torch.float32)).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x0, rows).sum(), x0, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean()


class GANLearner:
    """A generator of pictures like `spec.shape`, see `learner.Learner`; `net` and `judge` are what it begins with.

    `prompts` are shown in turn. The betas of its settings should be BETAS.
    """

    judged = False

    def __init__(
        self,
        net: GANGenerator,
        judge: Discriminator,
        spec: GeneratorSpec,
        *,
        gamma: float = 0.3,
        prompts: Sequence[str] = (),
        pictures: str = "",
    ):
        self.kept, self.spec, self.prompts = net, spec, prompts
        self.players = {"discriminator": Discriminating(judge, net, gamma), "generator": Generating(net, judge)}
        self.asked = {
            "family": "gan",
            "config": settings(net.config),
            "shape": list(spec.shape),
            "words": list(spec.vocabulary),
            "gamma": gamma,
            "pictures": pictures,
        }

    def generator(self, net: nn.Module) -> Generator:
        """The generator of such a net."""
        return Generator(net, self.spec)

    def pictures(self, net: nn.Module) -> Tensor:
        return show(self.generator(net), self.prompts)

    def save(self, path: Path, net: nn.Module) -> None:
        save_generator(path, net, self.spec)


def gan_config(size: str, shape: Sequence[int], words: int) -> GANConfig:
    """The nets of a size, a key of SIZES, for pictures [C, H, W] and so many words. Raises ValueError."""
    return GANConfig(**pyramid(size, shape, SMALLEST_GRID), embedding=4 * SIZES[size], vocabulary=max(1, words))


def gan_from_scratch(
    shape: Sequence[int], channels: str, words: Sequence[str] = (), size: str = "small", *, seed: int = 0, **about: str
) -> tuple[GANGenerator, Discriminator, GeneratorSpec]:
    """Two nets with weights by chance, alike for the same seed, and the spec; `about` is its title and so on.

    Raises ValueError.
    """
    config = gan_config(size, shape, len(words))
    spec = GeneratorSpec("gan", settings(config), tuple(shape), channels, tuple(words), **about)
    return *by_chance(lambda: (GANGenerator(config), Discriminator(config)), seed), spec
