"""Models that a script trains epoch by epoch: a net, what it learns from, and the steps it has taken."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..denoising.denoiser import Denoiser
from ..generating.generator import Generator
from ..generating.spec import GeneratorSpec
from ..nets.gan import Discriminator, GANGenerator
from ..nets.picture_autoencoder import PictureAutoencoder
from ..nets.unet import UNet
from ..sampling.noise import Noise
from ..sampling.sample import sample
from .adversarial import BETAS, GANLearner, gan_config
from .autoencoding import LATENT_SIDE, AutoencoderLearner, autoencoder_config
from .chance import Chance, Draw
from .denoiser import DenoiserLearner, net_config, new_spec, usual_schedule
from .energy import energy_distance
from .learner import Learner
from .loop import Loop
from .pictures import Pictures
from .pyramid import by_chance, settings
from .ranks import ALONE, Ranks, join, leave
from .settings import Settings

CONSTANT = {"images": 10**12, "decay": 0.0}
LENGTHS = (0.1,)
AT_ONCE = 64  # pictures


class Model:
    """A model of square pictures that `train_epoch` trains.

    `learner`: see `learner.Learner`; `training` are fields of `Settings`. Without `images` the rate stays where it is
    after the warm-up, however many epochs there are. What is drawn, judged and saved is an average of the weights.
    `losses` are those of the last epoch by their names, of a GAN two. `device` is a GPU where there is one.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        device: torch.device | str | None = None,
        precision: str = "float32",
        **training: Any,
    ):
        self.learner, self.precision = learner, precision
        self.settings = Settings(**{**({} if "images" in training else CONSTANT), "lengths": LENGTHS, **training})
        self.losses: dict[str, float] = {}
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.share(ALONE)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its pictures."""
        return tuple(self.learner.spec.shape)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it knows, after the one that means none; () for a model that draws without words."""
        return tuple(self.learner.spec.vocabulary)

    @property
    def net(self) -> nn.Module:
        """The average of the weights so far."""
        return self.loop.averages[0]

    def share(self, ranks: Ranks) -> None:
        """Goes on as one of several processes, see `data_parallel`."""
        before = self.loop.state() if hasattr(self, "loop") else None
        for player in self.learner.players.values():
            player.to(self.device)
        self.loop = Loop(
            self.learner.players, self.learner.kept, _nothing, self.settings, precision=self.precision, ranks=ranks
        )
        self.steps = self.loop.steps()
        if before is not None:
            self.loop.restore(before)

    def drawing(self, pictures: Pictures) -> Draw:
        """How it sees pictures. Raises ValueError for those that it cannot have."""
        if pictures.shape != self.shape:
            raise ValueError(
                f"the model is for pictures of {_told(self.shape)}, and these are of {_told(pictures.shape)}: give "
                "both the same image_size, and the model channels=pictures.channels"
            )
        if not self.words:
            return lambda chance: _without_words(*pictures.draw(chance))
        if pictures.words != self.words:
            raise ValueError("the pictures say other words than the model knows: give it words=pictures.words")
        return pictures.draw

    def see(self, pictures: Pictures) -> None:
        """Trains on these from here on."""
        self.loop.draw = self.drawing(pictures)

    def judge(self, pictures: Pictures) -> float:
        """See `evaluate`."""
        (loss,) = self.loop.judge(self.drawing(pictures), -(-len(pictures) // self.settings.batch))
        return loss

    def generate(self, count: int, words: str = "", seed: int = 0, **how: float) -> Tensor:
        """New pictures, colours [N, H, W, 3] in 0..1; with transparency [N, H, W, 4].

        `words` are some that it knows, see `Vocabulary`. The same seed gives the same pictures, and the third of them
        is the same whatever `count`. A diffusion model takes `steps`, 16, of dpmpp_2m, and words pull it by `guidance`,
        1.5; 1 is none. Raises ValueError for words where it knows none.
        """
        if words.strip() and not self.words:
            raise ValueError("the model knows no words: give it words=pictures.words before it is trained")
        parts = [range(first, min(first + AT_ONCE, count)) for first in range(0, count, AT_ONCE)]
        drawn = [self._draw(words.strip(), seed, indices, **how) for indices in parts]
        return torch.cat(drawn) if drawn else torch.empty(0, *self.shape[1:], self.shape[0])

    def save(self, path: str | os.PathLike) -> None:
        """Writes the model as a Varifold checkpoint; of several processes the first does. Raises OSError."""
        if self.loop.ranks.rank == 0:
            self.learner.save(path, self.net)
        self.loop.ranks.wait()

    def _draw(self, words: str, seed: int, indices: range, **how: float) -> Tensor:
        raise NotImplementedError


class DiffusionModel(Model):
    """A diffusion model: a U-Net that predicts as EDM has it (Karras et al. 2022, arXiv:2206.00364).

    `width` is that of the first level, `depth` how many there are, each half as large as the one before; None: as many
    as suit.
    `channels` is "rgb" or "rgba", `words` those of the pictures (`Pictures.words`), `spread` the deviation of their
    values in -1..1. `training`: see `Model`. Raises ValueError for a net that cannot be made.
    """

    def __init__(
        self,
        image_size: int,
        width: int = 48,
        depth: int | None = None,
        *,
        channels: str = "rgb",
        words: Sequence[str] = (),
        spread: float = 0.5,
        seed: int = 0,
        **training: Any,
    ):
        shape = (len(channels), image_size, image_size)
        suits = net_config("small", shape, len(words))
        sized = _sized(suits, width, depth)
        attended = tuple(level for level in suits.attention_levels if level < len(sized["multipliers"]))
        config = replace(suits, **sized, attention_levels=attended)
        spec = replace(new_spec("edm", shape, channels, spread, words), config=settings(config))
        learner = DenoiserLearner(by_chance(lambda: UNet(config), seed), spec)
        super().__init__(learner, seed=seed, **training)

    @property
    def denoiser(self) -> Denoiser:
        """What it has learned so far, for `sample`, `exact_bits` and `bound_bits`."""
        return self.learner.denoiser(self.net)

    def _draw(self, words: str, seed: int, indices: range, steps: int = 16, guidance: float = 1.5) -> Tensor:
        denoiser = self.denoiser
        x0 = sample(
            denoiser,
            usual_schedule(denoiser, steps),
            seed=seed,
            indices=indices,
            batch=len(indices),
            cond=denoiser.prompt(words) if words else None,
            guidance=guidance if words else 1.0,
        )
        return _pictures(denoiser, x0, self.learner.spec.channels)


class _Drawing(Model):
    """A model that draws a picture of noise at once."""

    @property
    def generator(self) -> Generator:
        """What it has learned so far."""
        return self.learner.generator(self.net)

    def _draw(self, words: str, seed: int, indices: range) -> Tensor:
        generator = self.generator
        noise = Noise(seed, indices, generator.noise_shape, self.device)(0)
        x = generator.draw(noise, generator.prompt(words) if words else None)
        return _pictures(generator, x, generator.channels)


class VariationalAutoencoder(_Drawing):
    """A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114); arguments as `DiffusionModel` has them.

    The lowest level of its net has the latent, of `latent_channels`, or as many as suit. `beta` weighs how far latents
    are from noise. Its loss is the evidence bound in nats a number.
    """

    variational = True

    def __init__(
        self,
        image_size: int,
        width: int = 32,
        depth: int | None = None,
        *,
        channels: str = "rgb",
        words: Sequence[str] = (),
        latent_channels: int = 0,
        beta: float = 1.0,
        seed: int = 0,
        **training: Any,
    ):
        shape = (len(channels), image_size, image_size)
        suits = autoencoder_config(
            "small", shape, len(words), variational=self.variational, latent_side=LATENT_SIDE,
            latent_channels=latent_channels,
        )  # fmt: skip
        config = replace(suits, **_sized(suits, width, depth))
        spec = GeneratorSpec("picture_autoencoder", settings(config), shape, channels, tuple(words))
        learner = AutoencoderLearner(by_chance(lambda: PictureAutoencoder(config), seed), spec, _nothing, beta=beta)
        super().__init__(learner, seed=seed, **{"rate": 0.002, **training})

    def see(self, pictures: Pictures) -> None:
        super().see(pictures)
        self.learner.draw = self.loop.draw


class Autoencoder(VariationalAutoencoder):
    """A plain autoencoder, whose latents are taken for Gaussian when it draws; its loss is the mean square error."""

    variational = False


class GAN(_Drawing):
    """A generator and the discriminator that teaches it; `gamma` weighs R1, see `adversarial`.

    Other arguments as `DiffusionModel` has them.
    """

    def __init__(
        self,
        image_size: int,
        width: int = 32,
        depth: int | None = None,
        *,
        channels: str = "rgb",
        words: Sequence[str] = (),
        gamma: float = 0.3,
        seed: int = 0,
        **training: Any,
    ):
        shape = (len(channels), image_size, image_size)
        suits = gan_config("small", shape, len(words))
        config = replace(suits, **_sized(suits, width, depth))
        spec = GeneratorSpec("gan", settings(config), shape, channels, tuple(words))
        net, discriminator = by_chance(lambda: (GANGenerator(config), Discriminator(config)), seed)
        learner = GANLearner(net, discriminator, spec, gamma=gamma)
        super().__init__(learner, seed=seed, **{"rate": 0.002, "betas": BETAS, **training})

    def judge(self, pictures: Pictures) -> float:
        draw, generator, real, drawn = self.drawing(pictures), self.generator, [], []
        for batch in range(-(-len(pictures) // AT_ONCE)):
            chance = Chance(self.settings.seed, -1 - batch, AT_ONCE, device=self.device)
            x0, rows = draw(chance)
            real.append(x0)
            drawn.append(generator.draw(chance.normal(*generator.noise_shape), generator.saying(rows)))
        return energy_distance(torch.cat(real)[: len(pictures)], torch.cat(drawn))


def train_epoch(model: Model, pictures: Pictures) -> float:
    """Shows a model all of the pictures once, in an order of their own each time; the mean loss, of a GAN its judge's.

    Raises ValueError for pictures that do not fit the model, and where it has seen all `images` that it was to see, and
    `loop.Diverged`.
    """
    loop = model.loop
    end = min(loop.step - (-len(pictures) // model.settings.batch), model.settings.steps)
    if loop.step == end:
        raise ValueError(f"the model has seen all {model.settings.images:,} images that it was to see")
    model.see(pictures)
    means: dict[int, Tensor] = {}
    while loop.step < end:
        mean = next(model.steps)
        means[loop.step] = mean  # a step taken again counts once
    losses = loop.ranks.mean(torch.stack(list(means.values())).mean(0)).tolist()
    model.losses = dict(zip(model.learner.players, losses, strict=True))
    return losses[0]


def evaluate(model: Model, pictures: Pictures | None) -> float:
    """The mean loss on pictures that it was not trained on, by the same noise at every call; lower is better.

    A GAN's losses do not tell how good it is: of one it is the energy distance of as many pictures that it draws.
    Raises ValueError for pictures that do not fit the model, or none.
    """
    if pictures is None:
        raise ValueError("no pictures are held out: load_data(path, held_out=0.1) holds out a tenth, if there are two")
    # Of several processes all must find the same, or they would decide differently.
    return model.loop.ranks.mean(torch.tensor(model.judge(pictures), device=model.device)).item()


def data_parallel(model: Model) -> Model:
    """The model, shared by the processes that torchrun has started: each has its rows of every batch, and a GPU.

    Two processes learn what one does. Without torchrun nothing changes.
    """
    ranks = join(model.device)
    if ranks.world > 1:
        if model.device.type == "cuda":
            model.device = torch.device("cuda", torch.cuda.current_device())
        model.share(ranks)
        atexit.register(leave)
    return model


def _sized(suits: Any, width: int, depth: int | None) -> dict[str, Any]:
    """What changes in a net's config by its width and depth. Raises ValueError for a depth that it cannot have."""
    most = len(suits.multipliers)
    if depth is not None and not 1 <= depth <= most:
        raise ValueError(f"depth should be 1 to {most} for pictures of this size, not {depth}")
    return {"width": width, "multipliers": suits.multipliers[:depth], "embedding": 4 * width}


def _pictures(model: Denoiser | Generator, x: Tensor, channels: str) -> Tensor:
    rgb, alpha = model.pictures(x.cpu())
    return torch.cat([rgb, alpha[..., None]], -1) if channels == "rgba" else rgb


def _without_words(x0: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    return x0, rows[:, :0]


def _nothing(chance: Chance) -> tuple[Tensor, Tensor]:
    raise ValueError("the model has seen no pictures yet: train it first")


def _told(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{width}×{height} with {channels} channels"
