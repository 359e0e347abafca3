"""What a denoiser learns from: noise a picture, ask for it back (Karras et al. 2022, arXiv:2206.00364, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..denoising.precondition import Precondition, loss
from ..denoising.space import FLOW
from .chance import Chance

MIN_SNR = 5.0
FREQUENCIES = 16


def log_normal(mean: float = -0.9, spread: float = 1.3) -> Callable[[Chance], Tensor]:
    """Noise levels with ln σ ~ N(mean, spread²) (ibid., table 1)."""
    return lambda chance: (mean + spread * chance.normal()).exp()


def logit_normal(mean: float = 0.0, spread: float = 1.0) -> Callable[[Chance], Tensor]:
    """Noise levels of flow with logit σ ~ N(mean, spread²) (Esser et al. 2024, arXiv:2403.03206, section 3.1)."""
    return lambda chance: (mean + spread * chance.normal()).sigmoid()


def cosine(low: float = 0.002, high: float = 80.0) -> Callable[[Chance], Tensor]:
    """Noise levels of the cosine schedule, σ = tan(πt/2) with even t (Nichol & Dhariwal 2021, arXiv:2102.09672)."""
    first, last = math.atan(low), math.atan(high)
    return lambda chance: (first + (last - first) * chance.uniform()).tan()


def usual_levels(precondition: Precondition) -> Callable[[Chance], Tensor]:
    if precondition.space is FLOW:
        return logit_normal()
    return log_normal() if precondition.name == "edm" else cosine()


class Denoising(nn.Module):
    """The loss of a denoiser's net, at noise levels drawn by `levels`: (x0, rows, chance) -> its mean.

    `weighting` by the noise level: "none" is the precondition's own (for EDM λ = 1/c_out²); "min_snr" is min(SNR, 5)
    of x0's error (Hang et al. 2023, arXiv:2303.09556); "learned" divides by the uncertainty u(σ), which is learned
    beside: e^-u·loss + u (Karras et al. 2024, arXiv:2312.02696, equation 21).
    On the CPU `compiled` needs a C++ compiler, costs a minute and makes a step about 1.5 times as fast.
    """

    def __init__(
        self,
        net: nn.Module,
        precondition: Precondition,
        levels: Callable[[Chance], Tensor] | None = None,
        *,
        weighting: str = "none",
        compiled: bool = False,
    ):
        super().__init__()
        self.net = net
        self.precondition = precondition
        self.levels = levels or usual_levels(precondition)
        self.uncertainty = Uncertainty() if weighting == "learned" else None
        self.weigh = WEIGHTINGS[weighting]
        self._forward = torch.compile(net) if compiled else None

    def forward(self, x0: Tensor, rows: Tensor, chance: Chance) -> Tensor:
        noise = chance.normal(*x0.shape[1:])
        sigma = self.levels(chance)
        losses = self.losses(x0, rows, noise, sigma) * self.weigh(self.precondition, sigma)
        if self.uncertainty is not None:
            u = self.uncertainty((self.precondition.space.alpha(sigma) / sigma).log())
            losses = losses * (-u).exp() + u
        return losses.mean()

    def losses(self, x0: Tensor, rows: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Of each picture at its noise level, unweighted, [B]."""
        cond = {"words": self.net.words(rows)} if rows.shape[1] else None
        net = self.net if self._forward is None else _Compiled(self.net, self._forward)
        return loss(self.precondition, net, x0, noise, sigma, cond)


class Uncertainty(nn.Module):
    """u of a level's log-SNR [B] -> [B]; at first 0: one linear layer on waves, as EDM2 has it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(0.05, 1.0, FREQUENCIES), persistent=False)
        self.out = nn.Linear(2 * FREQUENCIES, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, log_snr: Tensor) -> Tensor:
        angles = log_snr.float()[:, None] * self.frequencies
        return self.out(torch.cat([angles.sin(), angles.cos()], dim=1)).squeeze(1)


def _min_snr(precondition: Precondition, sigma: Tensor) -> Tensor:
    snr = (precondition.space.alpha(sigma) / sigma) ** 2
    return torch.as_tensor(precondition.scalars(sigma).out) ** 2 * snr.clamp(max=MIN_SNR)


def _one(precondition: Precondition, sigma: Tensor) -> float:
    return 1.0


WEIGHTINGS = {"none": _one, "min_snr": _min_snr, "learned": _one}


class _Compiled:
    """A net whose forward pass is compiled and whose embedding is not."""

    def __init__(self, net: nn.Module, forward: Callable):
        self.embed, self.context, self.forward = net.embed, net.context, forward

    def __call__(self, x: Tensor, emb: Tensor, context: list[Tensor]) -> Tensor:
        return self.forward(x, emb, context)
