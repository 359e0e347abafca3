"""What an autoencoder learns from: make a picture small, and the same again of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..generating.file import save_generator
from ..generating.generator import Generator
from ..generating.spec import GeneratorSpec
from ..generating.variational import kl, log_normal
from ..nets.picture_autoencoder import PictureAutoencoder, PictureAutoencoderConfig
from .chance import Chance, Draw
from .pyramid import SIZES, by_chance, pyramid, settings
from .shown import show

FITTED = 1024  # pictures whose latents are taken for usual
FITTED_AT = 1_000_000_000  # the step whose chance draws them, which no training takes
ROUND = 256
LATENT_SIDE = 2
WARMUP = 300  # steps


class Autoencoding(nn.Module):
    """The loss of an autoencoder, a number of the picture at a time: (x0, rows, chance) -> its mean.

    Of a variational one it is the evidence bound in nats: −ln p(x|z) + beta·KL(q(z|x) || p(z)). With beta 1 the spread
    that is learned beside it weighs the two as the likelihood says (Rybkin et al. 2021, arXiv:2006.13202). Of a plain
    one it is the square of the error.

    Over the first `warmup` steps beta rises from 0, or the latents would be given up before the net can read them
    (Sønderby et al. 2016, arXiv:1602.02282, section 2.3).
    """

    def __init__(self, net: PictureAutoencoder, beta: float = 1.0, warmup: int = WARMUP):
        super().__init__()
        self.net, self.beta, self.warmup = net, beta, warmup

    def forward(self, x0: Tensor, rows: Tensor, chance: Chance) -> Tensor:
        noise = chance.normal(*self.net.noise_shape)
        return self.losses(x0, rows, noise, self.beta_at(chance.step)).mean() / x0[0].numel()

    def beta_at(self, step: int) -> float:
        """The beta of step 0, 1, ...; of negative ones, by which a net is judged, the whole."""
        return self.beta * step / self.warmup if 0 <= step < self.warmup else self.beta

    def losses(self, x0: Tensor, rows: Tensor, noise: Tensor, beta: float) -> Tensor:
        """Of each picture, summed over its numbers, by unit normals [B, *latent]; [B]."""
        net = self.net
        emb = net.embed({"words": net.words(rows)})
        posterior = net.encode(x0, emb)
        decoded = net.decode(posterior.sample(noise), emb)
        if not net.config.variational:
            return (x0 - decoded).square().flatten(1).sum(1)
        return beta * kl(posterior) - log_normal(x0, decoded, net.log_spread)


class AutoencoderLearner:
    """An autoencoder of pictures like `spec.shape`, see `learner.Learner`; `net` is what it begins with.

    `draw` gives the pictures whose latents a plain one takes for usual. `prompts` are shown in turn.
    """

    judged = True

    def __init__(
        self,
        net: PictureAutoencoder,
        spec: GeneratorSpec,
        draw: Draw,
        *,
        beta: float = 1.0,
        prompts: Sequence[str] = (),
        pictures: str = "",
    ):
        self.kept, self.spec, self.draw, self.prompts = net, spec, draw, prompts
        self.players = {"loss": Autoencoding(net, beta)}
        self.asked = {
            "family": "vae" if net.config.variational else "autoencoder",
            "config": settings(net.config),
            "shape": list(spec.shape),
            "words": list(spec.vocabulary),
            "beta": beta,
            "pictures": pictures,
        }

    def generator(self, net: nn.Module) -> Generator:
        """The generator of such a net; of a plain one, its latents are fitted first."""
        if not net.config.variational:
            self._fit(net)
        return Generator(net, self.spec)

    def pictures(self, net: nn.Module) -> Tensor:
        return show(self.generator(net), self.prompts)

    def save(self, path: Path, net: nn.Module) -> None:
        save_generator(path, self.generator(net).net, self.spec)

    @torch.no_grad()
    def _fit(self, net: nn.Module) -> None:
        latents, embeddings = [], []
        for step in range(FITTED_AT, FITTED_AT + FITTED // ROUND):
            x0, rows = self.draw(Chance(0, step, ROUND, device=next(net.parameters()).device))
            emb = net.embed({"words": net.words(rows)})
            latents.append(net.encode(x0, emb).mean)
            embeddings.append(emb)
        net.fit_latents(torch.cat(latents), torch.cat(embeddings))


def autoencoder_config(
    size: str,
    shape: Sequence[int],
    words: int,
    *,
    variational: bool = True,
    latent_side: int = LATENT_SIDE,
    latent_channels: int = 0,
) -> PictureAutoencoderConfig:
    """The net of a size, a key of SIZES, for pictures [C, H, W] and a vocabulary of so many words.

    `latent_channels` 0: as many as suit pictures of that size. Raises ValueError.
    """
    levels = pyramid(size, shape, latent_side)
    return PictureAutoencoderConfig(
        **levels,
        embedding=4 * SIZES[size],
        vocabulary=max(1, words),
        latent_channels=latent_channels or usual_channels(shape),
        variational=variational,
    )


def usual_channels(shape: Sequence[int]) -> int:
    """Of the latents of pictures [C, H, W]."""
    return 8 if math.prod(shape) < 1024 else 16


def autoencoder_from_scratch(
    shape: Sequence[int],
    channels: str,
    words: Sequence[str] = (),
    size: str = "small",
    *,
    variational: bool = True,
    latent_side: int = LATENT_SIDE,
    latent_channels: int = 0,
    seed: int = 0,
    **about: str,
) -> tuple[PictureAutoencoder, GeneratorSpec]:
    """A net with weights by chance, alike for the same seed, and its spec; `about` is its title and so on.

    Raises ValueError.
    """
    config = autoencoder_config(
        size, shape, len(words), variational=variational, latent_side=latent_side, latent_channels=latent_channels
    )
    spec = GeneratorSpec("picture_autoencoder", settings(config), tuple(shape), channels, tuple(words), **about)
    return by_chance(lambda: PictureAutoencoder(config), seed), spec
