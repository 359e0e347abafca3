"""A net, preconditioned: D(x, sigma, cond) -> x0."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import pixels, timesteps
from .guidance import CFG, Guidance
from .labels import NO_CLASS, Labels
from .latents import LATENTS, Latents
from .precondition import Precondition, Scalars
from .prepared import Prepared, alike
from .space import Space
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from ..nets.attention import OwnAttention

Cond = dict[str, Tensor] | None


class Denoiser:
    """The denoiser of a net: x0 = c_skip·x + c_out·net(c_in·x, embed(c_noise, cond), context(cond)).

    The net has `embed(c_noise [N], cond) -> [N, E]` for what depends on the noise level and perhaps the condition,
    `context(cond) -> list of [N, ...]` for what depends on the condition alone,
    `forward(x [N, C, H, W], embedding [N, E], context)`, `conditions`, the names of those that it follows, `paddable`,
    those of them where rows of zeros say nothing, so that prompts of different lengths fit into one call, and
    `multiple`, what height and width must be divisible by. One with self-attention has `attentions`, how many of them,
    and `forward` takes an `attention` to compute them by, see `nets.attention`.
    `autoencoder`, or None, makes pictures of its x0 where that is a latent.
    Denoisers are immutable: `with_...` give changed copies that share the net.
    """

    def __init__(
        self,
        net: nn.Module,
        precondition: Precondition,
        *,
        shape: Sequence[int],
        sigma_min: float,
        sigma_max: float,
        vocabulary: Vocabulary | None = None,
        spec: Any = None,
        identity: str | Callable[[], str | None] | None = None,
        autoencoder: Any = None,
    ):
        self.net = net
        self.precondition = precondition
        self.shape = tuple(shape)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.vocabulary = vocabulary
        self.spec = spec
        self._identity = identity
        self.autoencoder = autoencoder
        self.guidance = CFG
        self.attention: OwnAttention | None = None

    @property
    def identity(self) -> str | None:
        """What tells its weights from any others, if that is known."""
        if callable(self._identity):
            self._identity = self._identity()
        return self._identity

    def identity_with(self, change: str) -> Callable[[], str | None]:
        """What gives its identity and a change to it, once that is asked for; holds none of its weights."""
        own = self._identity

        def changed() -> str | None:
            known = own() if callable(own) else own
            return known and f"{known} + {change}"

        return changed

    @property
    def space(self) -> Space:
        return self.precondition.space

    @property
    def channels(self) -> str:
        """How its tensors become pictures: a name that `pixels.decode` knows, or one of LATENTS."""
        return self.spec.channels if self.spec else {3: "rgb", 4: "rgba"}.get(self.shape[0], "latent")

    @property
    def conditions(self) -> Sequence[str]:
        """The names of the conditions that it follows."""
        return self.net.conditions

    @property
    def latents(self) -> Latents | None:
        """What x0 is where it is no picture."""
        return LATENTS.get(self.channels)

    @property
    def table(self) -> tuple[float, ...] | None:
        """The ascending σ's that it was trained at, if they are a few."""
        return timesteps.table(self.spec.betas) if self.spec and self.spec.betas else None

    @property
    def dtype(self) -> torch.dtype:
        """What the net computes in."""
        return next(self.net.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def with_guidance(self, guidance: Guidance) -> Denoiser:
        """The same denoiser, guided by another method."""
        changed = copy.copy(self)
        changed.guidance = guidance
        return changed

    def with_autoencoder(self, autoencoder: Any) -> Denoiser:
        """The same denoiser, whose latents become pictures by another autoencoder."""
        changed = copy.copy(self)
        changed.autoencoder = autoencoder
        return changed

    def with_net(self, net: nn.Module, identity: str | Callable[[], str | None] | None) -> Denoiser:
        """The same denoiser with other weights, and what tells them from others'."""
        changed = copy.copy(self)
        changed.net, changed._identity = net, identity
        return changed

    def with_attention(self, attention: OwnAttention | None) -> Denoiser:
        """The same denoiser, with self-attention computed by `attention`, see `nets.attention`; None: as usual."""
        changed = copy.copy(self)
        changed.attention = attention
        return changed

    def pictures(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """x0 [B, C, H, W] -> straight colours [B, h, w, 3] and alpha [B, h, w]; without an autoencoder as `glimpse`."""
        if self.latents is None:
            return pixels.decode(x0, self.channels)
        if self.autoencoder is None:
            return self.glimpse(x0)
        return pixels.opaque(self.autoencoder.decode(self.latents.to_wire(x0)))

    def glimpse(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """The same as fast as it can be: of latents a small rough view."""
        return pixels.decode(x0, self.channels) if self.latents is None else pixels.opaque(self.latents.rough(x0))

    def pure_noise(self, sigma: float) -> float:
        """How many times unit noise a run starts from.

        At the last level of its table a net has seen states that are of unit spread after c_in, and nothing else.
        """
        last = self.spec is not None and self.spec.betas and sigma >= self.sigma_max * (1 - 1e-5)
        return math.hypot(1.0, sigma) if last else sigma

    @cached_property
    def labels(self) -> Labels | None:
        """The classes that it draws by, if it does."""
        names = self.spec.labels if self.spec else ()
        return Labels(self.net.config.classes, names) if "label" in self.conditions else None

    def prompt(self, text: str, unknown: str = "nearest") -> dict[str, Tensor]:
        """The condition that says `text`: {"words": [1, W, D]} or {"label": [1, D]}.

        What is `unknown` is handled by "skip", "nearest" or "error".
        """
        return self.read(text, unknown)[0]

    def read(self, text: str, unknown: str = "nearest") -> tuple[dict[str, Tensor], list[str]]:
        """The same, and notes on how the text was read. Raises ValueError for a denoiser that reads no text itself."""
        if self.vocabulary is not None:
            indices, notes = self.vocabulary.indices(text, unknown)
            return {"words": self.net.word_embeddings(indices)}, notes
        if self.labels is not None:
            index, notes = self.labels.index(text, unknown)
            return {"label": self.net.label_embeddings([index])[0]}, notes
        raise ValueError("this denoiser knows no words")

    def without_attention(self, cond: Cond) -> Cond:
        """The same condition, for a net whose pixels in the middle look at themselves alone: what pag steers away from.

        Raises ValueError for a net that cannot do so.
        """
        if not getattr(self.net, "can_look_nowhere", False):
            raise ValueError("pag needs a net that can leave out attention in its middle, and this one cannot")
        return {**(cond or {}), "alone": torch.ones(1, 1)}

    def reading(self, cond: Cond, other: Denoiser) -> Cond:
        """A condition made for another denoiser, with the same words or classes in this one's own embeddings.

        Raises ValueError for those that this one does not know, and for mixed ones that are none.
        """
        if cond is None or self.net is other.net:
            return cond
        if "label" in cond and self.labels is not None and other.labels is not None:
            return {**cond, "label": self._reading_classes(cond["label"], other)}
        if "words" not in cond:
            return cond
        if self.vocabulary is None or other.vocabulary is None:
            raise ValueError("a guide that knows no words cannot follow this prompt")
        index, names, rows = self.vocabulary.index, other.vocabulary.words, other.rows(cond["words"])
        unknown = sorted({names[row] for prompt in rows for row in prompt if row and names[row] not in index})
        if unknown:
            raise ValueError(f"the guide does not know the words {', '.join(unknown)}")
        mine = [[index[names[row]] if row else 0 for row in prompt] for prompt in rows]
        return {**cond, "words": torch.cat([self.net.word_embeddings(prompt) for prompt in mine])}

    def _reading_classes(self, label: Tensor, other: Denoiser) -> Tensor:
        mine, theirs = self.labels, other.labels
        if mine.count != theirs.count or (mine.names and theirs.names and mine.names != theirs.names):
            raise ValueError("the guide knows other classes than the denoiser: take one that was trained on the same")
        if label.is_floating_point():
            table = other.net.label_embeddings(range(theirs.count + 1))[0]
            label = torch.tensor(_rows_of(label[:, None], table))[:, 0]
        return self.net.label_embeddings(label.tolist())[0]

    def rows(self, words: Tensor) -> list[list[int]]:
        """Which rows of the vocabulary words [B, W, D] are. Raises ValueError for mixtures of words."""
        return _rows_of(words, self.net.word_embeddings(range(len(self.vocabulary.words)))[0])

    def check_shape(self, shape: Sequence[int]) -> None:
        """Raise ValueError for a state [B, C, H, W] that the net cannot take."""
        if len(shape) != 4:
            raise ValueError(f"this denoiser takes states [B, C, H, W], not of shape {tuple(shape)}")
        channels, height, width = shape[1:]
        if channels != self.shape[0]:
            raise ValueError(f"this denoiser works on {self.shape[0]} channels, and the state has {channels}")
        multiple, downscale = self.net.multiple, self.latents.downscale if self.latents else 1
        if height % multiple or width % multiple:
            height, width, multiple = (downscale * size for size in (height, width, multiple))
            raise ValueError(
                f"this denoiser takes sizes that are multiples of {multiple}, not {width}×{height}: "
                f"try {max(1, round(width / multiple)) * multiple}×{max(1, round(height / multiple)) * multiple}"
            )

    def complete(self, cond: Cond) -> Cond:
        """The same condition, its class as the net's own embedding; a picture of no class if it says none."""
        if self.labels is None:
            return cond
        label = (cond or {}).get("label", torch.tensor([NO_CLASS]))
        if not label.is_floating_point():
            label = self.net.label_embeddings(label.tolist())[0]
        return {**(cond or {}), "label": label}

    def join(self, conds: Sequence[Cond], batch: int) -> Cond:
        """One condition for all `conds` in turn, each for `batch` samples: what a single call of the net takes.

        Raises ValueError for conditions that the net does not follow, and for those that no single call can take.
        """
        given = {name: tensor for cond in conds if cond for name, tensor in cond.items()}
        if strange := sorted(set(given) - set(self.conditions)):
            follows = ", ".join(self.conditions) or "none"
            raise ValueError(f"this denoiser cannot follow a condition of {', '.join(strange)}; it follows {follows}")
        return {name: torch.cat(self._each(name, given[name], conds, batch)) for name in sorted(given)} or None

    def _each(self, name: str, like: Tensor, conds: Sequence[Cond], batch: int) -> list[Tensor]:
        like = like.to(self.device)
        padded = name in self.net.paddable
        width = max(cond[name].shape[1] for cond in conds if cond and name in cond) if padded else None
        parts = []
        for cond in conds:
            if cond and name in cond:
                tensor = cond[name].to(like)
            elif padded:
                tensor = like.new_zeros(1, 0, *like.shape[2:])
            else:
                raise ValueError(f"{name} is given for one prompt and not for another: give it for all of them")
            if tensor.shape[0] not in (1, batch):
                raise ValueError(
                    f"a condition for {tensor.shape[0]} samples met a batch of {batch}: give one for all or one each"
                )
            if padded:
                padding = tensor.new_zeros(tensor.shape[0], width - tensor.shape[1], *tensor.shape[2:])
                tensor = torch.cat([tensor, padding], 1)
            if parts and tensor.shape[1:] != parts[0].shape[1:]:
                shapes = f"{list(parts[0].shape[1:])} and {list(tensor.shape[1:])}"
                raise ValueError(f"{name} of the shapes {shapes} do not fit into one call: make all prompts as long")
            parts.append(tensor.expand(batch, *tensor.shape[1:]))
        return parts

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Cond = None) -> Tensor:
        """x [B, C, H, W], sigma > 0 as a float or [B] -> x0 [B, C, H, W] in x's dtype."""
        self.check_shape(x.shape)
        level = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1)
        label = torch.as_tensor(self.precondition.scalars(level).noise).float().to(x.device)
        joined = self.join([self.complete(cond)], x.shape[0])
        embedding = self.net.embed(label.expand(x.shape[0]), joined)
        if isinstance(sigma, Tensor):
            sigma = sigma.view(-1, *[1] * (x.ndim - 1))
        return self.denoise(x, self.precondition.scalars(sigma), embedding, self.net.context(joined))

    def denoise(self, x: Tensor, c: Scalars, embedding: Tensor, context: Sequence[Tensor]) -> Tensor:
        """x0 from the scalars and the embedding of a noise level, and the context of a condition."""
        own = {} if self.attention is None else {"attention": self.attention}
        output = self.net((x * c.input).to(self.dtype), embedding, context, **own)
        if isinstance(c.out, Tensor):
            return c.skip * x + c.out * output
        return torch.add(x if c.skip == 1 else x * c.skip, output, alpha=c.out)

    def prepare(self, sigmas: Sequence[float], cond: Cond, shape: Sequence[int]) -> Callable[[Tensor, float], Tensor]:
        """D(x, sigma) for one condition, batch shape and list of noise levels: embeddings made once for a run."""
        return Prepared(self, sigmas, [cond], shape)

    def prepare_all(
        self, sigmas: Sequence[float], conds: Sequence[Cond], shape: Sequence[int]
    ) -> Callable[[Tensor, float], Sequence[Tensor]]:
        """The same for several conditions, in one call of the net if it can take them: (x, sigma) -> the x0 of each."""
        conds = [self.complete(cond) for cond in conds]
        if not alike(conds, self.net.paddable):
            each = [self.prepare(sigmas, cond, shape) for cond in conds]
            return lambda x, sigma: [D(x, sigma) for D in each]
        prepared, count = Prepared(self, sigmas, conds, shape), len(conds)
        return lambda x, sigma: prepared(torch.cat([x] * count) if count > 1 else x, sigma).chunk(count)


def _rows_of(embeddings: Tensor, table: Tensor) -> list[list[int]]:
    """Which rows of a table [N, D] embeddings [B, W, D] are. Raises ValueError for mixtures of rows."""
    table = table.float()
    same = (embeddings.to(table)[..., None, :] == table).all(-1)
    if not same.any(-1).all():
        raise ValueError("a guide reads prompts word by word, and this one is a mixture: leave out Average")
    return same.int().argmax(-1).tolist()
