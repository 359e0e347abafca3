"""A denoiser made ready for one run: what does not change with the state is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .denoiser import Cond, Denoiser

MOST_KEPT = 2**24  # numbers of embeddings that are repeated for each sample before a run; more of them during it
CONTEXT_ALONE = ("tokens", "image")  # conditions that no embedding is made of


class Prepared:
    """A denoiser whose embeddings for a run's noise levels and conditions are ready.

    Called with those levels only, and with as many copies of the state as there are conditions.
    """

    def __init__(self, denoiser: Denoiser, sigmas: Sequence[float], conds: Sequence[Cond], shape: Sequence[int]):
        denoiser.check_shape(shape)
        self.denoiser, conds = denoiser, [denoiser.complete(cond) for cond in conds]
        levels = sorted({sigma for sigma in sigmas if sigma > 0})
        self.scalars = {sigma: denoiser.precondition.scalars(sigma) for sigma in levels}
        # A condition for all samples is embedded once, and the result repeated, not the work.
        shared = all(tensor.shape[0] == 1 for cond in conds if cond for tensor in cond.values())
        rows, repeats = (1, shape[0]) if shared else (shape[0], 1)
        joined, rows = denoiser.join(conds, rows), len(conds) * rows
        # Nets take one row for all samples, and at hundreds of megabytes a row that is worth it.
        repeats = 1 if rows == 1 else repeats
        context = denoiser.net.context(joined)
        self.context = [
            part.expand(shape[0], *part.shape[1:]) if rows == 1 else part.repeat_interleave(repeats, 0)
            for part in context
        ]
        labels = torch.tensor([self.scalars[sigma].noise for sigma in levels], device=denoiser.device)
        if joined is not None:
            joined = {
                name: part.repeat(len(levels), *[1] * (part.ndim - 1))
                for name, part in joined.items()
                if name not in CONTEXT_ALONE
            }
        embeddings = denoiser.net.embed(labels.repeat_interleave(rows), joined)
        self.repeats = repeats if repeats * embeddings.numel() > MOST_KEPT else 1
        if self.repeats == 1:
            embeddings = embeddings.repeat_interleave(repeats, 0)
        self.embeddings = dict(zip(levels, embeddings.split(len(embeddings) // len(levels)), strict=True))

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        embedding = self.embeddings[sigma]
        if self.repeats > 1:
            embedding = embedding.repeat_interleave(self.repeats, 0)
        return self.denoiser.denoise(x, self.scalars[sigma], embedding, self.context)


def alike(conds: Sequence[Cond], but: Sequence[str]) -> bool:
    """Whether all have the same parts, of the same shapes but for the batch."""
    shapes = [{name: part.shape[1:] for name, part in (cond or {}).items() if name not in but} for cond in conds]
    return all(each == shapes[0] for each in shapes)
