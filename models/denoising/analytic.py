"""Denoisers in closed form: mixtures of Gaussians, for tests and teaching."""

from __future__ import annotations

import torch
from torch import Tensor

from .space import VE, Space


class GaussianMixture:
    """The exact denoiser E[x0 | x] of p(x0) = Σ w_k·N(m_k, v_k·1).

    `means` [K, *shape], `variances` [K], `log_weights` [K] (need not be normalised).
    `cond = {"label": [B]}` (long) knows the component of each sample: the class-conditional denoiser.
    """

    def __init__(self, means: Tensor, variances: Tensor, log_weights: Tensor, space: Space = VE):
        self.means, self.variances, self.log_weights = means, variances, log_weights.log_softmax(0)
        self.space = space
        self.shape = tuple(means.shape[1:])
        self.sigma_min, self.sigma_max = 0.002, min(80.0, space.sigma_limit)

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: dict | None = None) -> Tensor:
        """x [B, *shape], sigma a float or [B] -> x0 [B, *shape]."""
        flat, means = x.flatten(1), self.means.flatten(1)
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1)
        alpha = self.space.alpha(sigma)
        spread = alpha**2 * self.variances + sigma**2
        offset = flat[:, None] - (alpha * torch.ones_like(flat[:, :1]))[..., None] * means
        log_density = self.log_weights - flat.shape[1] / 2 * spread.log() - offset.square().sum(2) / (2 * spread)
        if cond is not None:
            known = torch.nn.functional.one_hot(cond["label"], len(means)).bool()
            log_density = log_density.masked_fill(~known, -torch.inf)
        posterior = log_density.softmax(1)
        gain = alpha * self.variances / spread
        x0 = posterior @ means + ((posterior * gain)[..., None] * offset).sum(1)
        return x0.view_as(x)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` samples of p(x0), [count, *shape]."""
        component = self.log_weights.exp().multinomial(count, replacement=True, generator=generator)
        means = self.means[component]
        noise = torch.randn(means.shape, generator=generator, dtype=means.dtype)
        return means + self.variances[component].sqrt().view(-1, *[1] * len(self.shape)) * noise
