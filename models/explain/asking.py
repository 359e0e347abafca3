"""Denoisers and generators asked for pictures in one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..denoising.denoiser import Denoiser
from ..generating.generator import Generator
from ..sampling import solver
from ..sampling.sample import sample
from ..sampling.trace import Recorder
from ..sampling.watch import Observer
from ..train.denoiser import usual_schedule

SOLVER = "dpmpp_2m"

Model = Denoiser | Generator


class Asked:
    """A model with the settings that it draws by: a generator at once, a denoiser in `steps` of dpmpp_2m.

    `noise_shape` is that of the unit normals which a picture is made of, `evaluations` how often the net is called.
    """

    def __init__(self, model: Model, steps: int = 16, guidance: float = 1.0):
        self.model, self.guidance = model, guidance
        self.at_once = isinstance(model, Generator)
        self.noise_shape = tuple(model.noise_shape if self.at_once else model.shape)
        self.plan = None if self.at_once else solver.plan(SOLVER, usual_schedule(model, steps), model.space)
        self.evaluations = 1 if self.at_once else self.plan.evaluations

    def draw(
        self, noise: Tensor, cond: Any = None, *, observe: Observer | None = None, recorder: Recorder | None = None
    ) -> Tensor:
        """Unit normals [B, *noise_shape] -> x0 [B, C, H, W]. `recorder`, of a denoiser: see `sample`."""
        if not self.at_once:
            plan, asked = self.plan, {"observe": observe, "recorder": recorder}
            return sample(self.model, plan.sigmas, solver=plan, noise=noise, cond=cond, guidance=self.guidance, **asked)
        x = self.model.draw(noise, cond)
        if observe is not None:
            observe(1, 1, None)
        return x

    def said(self, texts: Sequence[str]) -> dict[str, Tensor] | None:
        """The condition that says a text for each picture of a batch, without the words that it does not know.

        None where it knows no words or none of these. Raises ValueError for a denoiser that reads a text encoder's.
        """
        if "tokens" in getattr(self.model, "conditions", ()):
            raise ValueError("this denoiser reads a text encoder's prompts: take one that knows words itself")
        rows = self.rows(texts)
        if rows.shape[1] == 0:
            return None
        return {"words": torch.cat([self.model.net.word_embeddings(row) for row in rows.tolist()]).detach()}

    def rows(self, texts: Sequence[str]) -> Tensor:
        """The words of the texts that it knows, as rows of its table, [B, W], 0 where there is none."""
        vocabulary = self.model.vocabulary
        rows = [vocabulary.indices(text, "skip")[0] if vocabulary is not None else [] for text in texts]
        width = max(map(len, rows), default=0)
        return torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.long).view(len(rows), width)
