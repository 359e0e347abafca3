"""A net, preconditioned: D(x, sigma, cond) -> x0."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .guidance import CFG, Guidance
from .precondition import Precondition, Scalars
from .space import Space
from .vocabulary import Vocabulary

Cond = dict[str, Tensor] | None


class Denoiser:
    """The denoiser of a net: x0 = c_skip·x + c_out·net(c_in·x, embed(c_noise, cond)).

    The net has `embed(c_noise [N], cond) -> [N, E]` for all that depends on the noise level and the condition alone,
    `forward(x [N, C, H, W], embedding [N, E])`, and `multiple`, what height and width must be divisible by.
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
        identity: str | None = None,
    ):
        self.net = net
        self.precondition = precondition
        self.shape = tuple(shape)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.vocabulary = vocabulary
        self.spec = spec
        self.identity = identity
        self.guidance = CFG

    @property
    def space(self) -> Space:
        return self.precondition.space

    @property
    def channels(self) -> str:
        """How its tensors become pictures: a name that `pixels.decode` knows."""
        return self.spec.channels if self.spec else {3: "rgb", 4: "rgba"}.get(self.shape[0], "latent")

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

    def prompt(self, text: str, unknown: str = "nearest") -> dict[str, Tensor]:
        """The condition that says `text`: {"words": [1, W, D]}. `unknown` words: "skip", "nearest" or "error"."""
        if self.vocabulary is None:
            raise ValueError("this denoiser knows no words")
        indices, _ = self.vocabulary.indices(text, unknown)
        return {"words": self.net.word_embeddings(indices)}

    def without_attention(self, cond: Cond) -> Cond:
        """The same condition, for a net whose pixels in the middle look at themselves alone: what pag steers away from.

        Raises ValueError for a net that cannot do so.
        """
        if not getattr(self.net, "can_look_nowhere", False):
            raise ValueError("pag needs a net with attention in its middle, and this one has none")
        return {**(cond or {}), "alone": torch.ones(1, 1)}

    def reading(self, cond: Cond, other: Denoiser) -> Cond:
        """A condition made for another denoiser, with the same words in this one's own embeddings.

        Raises ValueError for words that this one does not know, and for mixed ones that are none.
        """
        if cond is None or "words" not in cond or self.net is other.net:
            return cond
        if self.vocabulary is None or other.vocabulary is None:
            raise ValueError("a guide that knows no words cannot follow this prompt")
        index, names, rows = self.vocabulary.index, other.vocabulary.words, other.rows(cond["words"])
        unknown = sorted({names[row] for prompt in rows for row in prompt if row and names[row] not in index})
        if unknown:
            raise ValueError(f"the guide does not know the words {', '.join(unknown)}")
        mine = [[index[names[row]] if row else 0 for row in prompt] for prompt in rows]
        return {**cond, "words": torch.cat([self.net.word_embeddings(prompt) for prompt in mine])}

    def rows(self, words: Tensor) -> list[list[int]]:
        """Which rows of the vocabulary words [B, W, D] are. Raises ValueError for mixtures of words."""
        table = self.net.word_embeddings(range(len(self.vocabulary.words)))[0].float()
        same = (words.to(table)[..., None, :] == table).all(-1)
        if not same.any(-1).all():
            raise ValueError("a guide reads prompts word by word, and this one is a mixture: leave out Average")
        return same.int().argmax(-1).tolist()

    def check_shape(self, shape: Sequence[int]) -> None:
        """Raise ValueError for a state [B, C, H, W] that the net cannot take."""
        if len(shape) != 4:
            raise ValueError(f"this denoiser takes states [B, C, H, W], not of shape {tuple(shape)}")
        channels, height, width = shape[1:]
        if channels != self.shape[0]:
            raise ValueError(f"this denoiser works on {self.shape[0]} channels, and the state has {channels}")
        multiple = self.net.multiple
        if height % multiple or width % multiple:
            raise ValueError(
                f"this denoiser takes sizes that are multiples of {multiple}, not {width}×{height}: "
                f"try {max(1, round(width / multiple)) * multiple}×{max(1, round(height / multiple)) * multiple}"
            )

    def join(self, conds: Sequence[Cond], batch: int) -> Cond:
        """One condition for all `conds` in turn, each for `batch` samples: what a single call of the net takes."""
        names = sorted({name for cond in conds if cond for name in cond})
        return {name: torch.cat(self._padded(name, conds, batch)) for name in names} or None

    def _padded(self, name: str, conds: Sequence[Cond], batch: int) -> list[Tensor]:
        given = [cond[name].to(self.device) for cond in conds if cond and name in cond]
        like = given[0]
        width = max(tensor.shape[1] for tensor in given)
        parts = []
        for cond in conds:
            tensor = cond[name].to(like) if cond and name in cond else like.new_zeros(1, 0, *like.shape[2:])
            if tensor.shape[0] not in (1, batch):
                raise ValueError(
                    f"a condition for {tensor.shape[0]} samples met a batch of {batch}: give one for all or one each"
                )
            padding = tensor.new_zeros(tensor.shape[0], width - tensor.shape[1], *tensor.shape[2:])
            parts.append(torch.cat([tensor, padding], 1).expand(batch, width, *like.shape[2:]))
        return parts

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Cond = None) -> Tensor:
        """x [B, C, H, W], sigma > 0 as a float or [B] -> x0 [B, C, H, W] in x's dtype."""
        self.check_shape(x.shape)
        level = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1)
        label = torch.as_tensor(self.precondition.scalars(level).noise).float().to(x.device)
        embedding = self.net.embed(label.expand(x.shape[0]), self.join([cond], x.shape[0]))
        if isinstance(sigma, Tensor):
            sigma = sigma.view(-1, *[1] * (x.ndim - 1))
        return self.denoise(x, self.precondition.scalars(sigma), embedding)

    def denoise(self, x: Tensor, c: Scalars, embedding: Tensor) -> Tensor:
        """x0 from the scalars and the embedding of a noise level."""
        output = self.net((x * c.input).to(self.dtype), embedding)
        if isinstance(c.out, Tensor):
            return c.skip * x + c.out * output
        return torch.add(x if c.skip == 1 else x * c.skip, output, alpha=c.out)

    def prepare(self, sigmas: Sequence[float], cond: Cond, shape: Sequence[int]) -> Callable[[Tensor, float], Tensor]:
        """D(x, sigma) for one condition, batch shape and list of noise levels: embeddings made once for a run."""
        return Prepared(self, sigmas, [cond], shape)

    def prepare_all(
        self, sigmas: Sequence[float], conds: Sequence[Cond], shape: Sequence[int]
    ) -> Callable[[Tensor, float], Sequence[Tensor]]:
        """The same for several conditions in one call of the net: (x, sigma) -> the x0 of each."""
        prepared, count = Prepared(self, sigmas, conds, shape), len(conds)
        return lambda x, sigma: prepared(torch.cat([x] * count) if count > 1 else x, sigma).chunk(count)


class Prepared:
    """A denoiser whose embeddings for a run's noise levels and conditions are ready.

    Called with those levels only, and with as many copies of the state as there are conditions.
    """

    def __init__(self, denoiser: Denoiser, sigmas: Sequence[float], conds: Sequence[Cond], shape: Sequence[int]):
        denoiser.check_shape(shape)
        self.denoiser = denoiser
        levels = sorted({sigma for sigma in sigmas if sigma > 0})
        self.scalars = {sigma: denoiser.precondition.scalars(sigma) for sigma in levels}
        # A condition for all samples is embedded once, and the result repeated, not the work.
        shared = all(tensor.shape[0] == 1 for cond in conds if cond for tensor in cond.values())
        rows, repeats = (1, shape[0]) if shared else (shape[0], 1)
        joined, rows = denoiser.join(conds, rows), len(conds) * rows
        labels = torch.tensor([self.scalars[sigma].noise for sigma in levels], device=denoiser.device)
        if joined is not None:
            joined = {name: t.repeat(len(levels), *[1] * (t.ndim - 1)) for name, t in joined.items()}
        embeddings = denoiser.net.embed(labels.repeat_interleave(rows), joined).repeat_interleave(repeats, 0)
        self.embeddings = dict(zip(levels, embeddings.split(rows * repeats), strict=True))

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoiser.denoise(x, self.scalars[sigma], self.embeddings[sigma])
