"""A net that makes a picture of noise at once: draw(noise, cond) -> x."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..denoising import pixels
from ..denoising.vocabulary import Vocabulary
from .spec import GeneratorSpec
from .variational import bound

if TYPE_CHECKING:
    from ..train.chance import Chance

Cond = dict[str, Tensor] | None


class Generator:
    """What has learned to draw pictures of noise: `kind` is "vae", "autoencoder" or "gan".

    The net has `draw(noise, embedding)`, `embed(cond)`, `words`, `noise_shape` and a `config`; that of an autoencoder
    also `encode` and `decode`. Generators are immutable: `with_net` gives a changed copy.
    """

    def __init__(self, net: nn.Module, spec: GeneratorSpec, identity: str | Callable[[], str | None] | None = None):
        self.net, self.spec, self._identity = net, spec, identity
        self.shape, self.channels = spec.shape, spec.channels
        self.noise_shape: tuple[int, ...] = tuple(net.noise_shape)
        self.vocabulary = Vocabulary(spec.vocabulary) if spec.vocabulary else None

    @property
    def kind(self) -> str:
        if not hasattr(self.net, "encode"):
            return "gan"
        return "vae" if self.net.config.variational else "autoencoder"

    @property
    def identity(self) -> str | None:
        """What tells its weights from any others, if that is known."""
        if callable(self._identity):
            self._identity = self._identity()
        return self._identity

    @property
    def dtype(self) -> torch.dtype:
        """What the net computes in."""
        return self.net.dtype

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    def with_net(self, net: nn.Module, identity: str | Callable[[], str | None] | None = None) -> Generator:
        """The same generator with other weights, and what tells them from others'."""
        changed = copy.copy(self)
        changed.net, changed._identity = net, identity
        return changed

    @torch.no_grad()
    def draw(self, noise: Tensor, cond: Cond = None) -> Tensor:
        """Unit normals [B, *noise_shape] -> x [B, C, H, W], as `pixels.decode` reads it."""
        self._check("noise", noise, self.noise_shape)
        return self.net.draw(noise.to(self.device), self._embed(cond))

    def pictures(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C, H, W] -> straight colours [B, H, W, 3] and alpha [B, H, W], in 0..1."""
        return pixels.decode(x, self.channels)

    def prompt(self, text: str, unknown: str = "nearest") -> dict[str, Tensor]:
        """The condition that says `text`, {"words": [1, W, D]}; unknown words as `Vocabulary.indices` has it."""
        return self.read(text, unknown)[0]

    def read(self, text: str, unknown: str = "nearest") -> tuple[dict[str, Tensor], list[str]]:
        """The same, and notes on how the text was read. Raises ValueError for a generator that knows no words."""
        if self.vocabulary is None:
            raise ValueError("this generator knows no words")
        indices, notes = self.vocabulary.indices(text, unknown)
        return self.saying(torch.tensor([indices], dtype=torch.long)), notes

    @torch.no_grad()
    def saying(self, rows: Tensor) -> dict[str, Tensor]:
        """The condition of rows [B, W] of the word table, 0 where there is no word."""
        return {"words": self.net.words(rows.to(self.device))}

    @torch.no_grad()
    def encode(self, x: Tensor, cond: Cond = None) -> Tensor:
        """Pictures [B, C, H, W] -> their likeliest latents, float32 [B, *noise_shape]. Raises ValueError for a gan."""
        self._check("x", x, self.shape)
        return self._autoencoder("encode").encode(x.to(self.device), self._embed(cond)).mean

    @torch.no_grad()
    def decode(self, z: Tensor, cond: Cond = None) -> Tensor:
        """Latents [B, *noise_shape] -> pictures, float32 [B, C, H, W]. Raises ValueError for a gan."""
        self._check("latents", z, self.noise_shape)
        return self._autoencoder("decode").decode(z.to(self.device), self._embed(cond))

    def bound(self, x0: Tensor, rows: Tensor, chance: Chance, samples: int = 1) -> Tensor:
        """At least −ln p(x0|words), as a density, in nats per picture, [B], in the mean over `chance`.

        x0 [B, C, H, W], rows of words [B, W]; `samples` as `variational.bound` has it. Raises ValueError for what has
        no likelihood.
        """
        if self.kind != "vae":
            raise ValueError(f"a picture has no likelihood in {'a gan' if self.kind == 'gan' else 'an autoencoder'}")
        self._check("x0", x0, self.shape)
        noise = chance.normal(samples, *self.noise_shape).to(self.device)
        return bound(self.net, x0.to(self.device), self._embed(self.saying(rows)), noise)

    @torch.no_grad()
    def _embed(self, cond: Cond) -> Tensor:
        if strange := sorted(set(cond or ()) - {"words"}):
            raise ValueError(f"a generator cannot follow a condition of {', '.join(strange)}; it follows words")
        return self.net.embed(cond and {"words": cond["words"].to(self.device)})

    def _autoencoder(self, asked: str) -> nn.Module:
        if self.kind == "gan":
            raise ValueError(f"a gan cannot {asked}: it goes from noise to pictures only")
        return self.net

    @staticmethod
    def _check(name: str, given: Tensor, shape: Sequence[int]) -> None:
        if tuple(given.shape[1:]) != tuple(shape):
            raise ValueError(f"{name} should have the shape [B, {', '.join(map(str, shape))}], not {list(given.shape)}")
