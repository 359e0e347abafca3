"""Small denoisers for tests: a real net with random weights, and denoisers that count how they are asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.precondition import Precondition, edm
from varifold.models.nets.unet import UNet, UNetConfig

EMBEDDING = 16


def small_denoiser(precondition: Precondition | None = None, dtype: torch.dtype = torch.float32, seed: int = 0):
    """A Denoiser of a tiny UNet on [4, 8, 8] whose every weight is random, the last convolutions too."""
    net = UNet(UNetConfig(in_channels=4, width=16, multipliers=(1, 2), embedding=EMBEDDING, vocabulary=9)).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    precondition = precondition or edm()
    sigma_max = min(80.0, precondition.space.sigma_limit)
    return Denoiser(net.to(dtype), precondition, shape=(4, 8, 8), sigma_min=0.002, sigma_max=sigma_max)


def words(seed: int, batch: int = 1, count: int = 2) -> dict[str, Tensor]:
    return {"words": torch.randn(batch, count, EMBEDDING, generator=torch.Generator().manual_seed(seed))}


class CountingNet(nn.Module):
    """Answers with what its condition says, and remembers the batch of each call."""

    multiple = 2
    conditions = paddable = ("say",)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.batches: list[int] = []
        self.embedded: list[int] = []

    def embed(self, c_noise, cond):
        self.embedded.append(len(c_noise))
        say = torch.zeros(len(c_noise), 1) if cond is None else cond["say"].float()
        return say.expand(len(c_noise), -1)

    def context(self, cond):
        return []

    def forward(self, x, embedding, context):
        self.batches.append(len(x))
        return embedding.view(-1, 1, 1, 1).expand_as(x)


def says(*values: float) -> dict[str, Tensor]:
    """A condition for `CountingNet`, a value a sample."""
    return {"say": torch.tensor(values).view(-1, 1)}


class Plain:
    """A plain function of (x, sigma, cond) that remembers its calls; x0 is what its condition says."""

    def __init__(self):
        self.calls: list[tuple[int, float, object]] = []

    def __call__(self, x, sigma, cond):
        self.calls.append((len(x), sigma, cond))
        return torch.full_like(x, 0.0 if cond is None else cond)
