"""What a variational autoencoder knows of a picture's likelihood (Kingma & Welling 2014, arXiv:1312.6114)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..nets.picture_autoencoder import PictureAutoencoder, Posterior

LOG_2PI = math.log(2 * math.pi)


def kl(posterior: Posterior) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats per picture, [B] (ibid., appendix B)."""
    mean, log_variance = posterior
    return (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1) / 2


def log_normal(x: Tensor, mean: Tensor | float, log_spread: Tensor | float) -> Tensor:
    """ln N(x; mean, exp(log_spread)²) in nats, summed over all but the first dimension, [B]."""
    log_spread = torch.as_tensor(log_spread, dtype=x.dtype, device=x.device)
    terms = ((x - mean) * (-log_spread).exp()).square() + 2 * log_spread + LOG_2PI
    return -terms.flatten(1).sum(1) / 2


def log_weight(net: PictureAutoencoder, x0: Tensor, emb: Tensor, posterior: Posterior, noise: Tensor) -> Tensor:
    """ln p(x0|z) + ln p(z) − ln q(z|x0) at the z that unit normals [B, *latent] give, in nats per picture, [B]."""
    z = posterior.sample(noise)
    likelihood = log_normal(x0, net.decode(z, emb), net.log_spread)
    return likelihood + log_normal(z, 0.0, 0.0) - log_normal(z, posterior.mean, posterior.log_variance / 2)


@torch.no_grad()
def bound(net: PictureAutoencoder, x0: Tensor, emb: Tensor, noise: Tensor) -> Tensor:
    """An upper bound, in the mean over noise, of −ln p(x0|words) as a density, in nats per picture, [B].

    noise [B, K, *latent]: with one sample it is the evidence bound, with more the importance-weighted one, which
    tightens with K (Burda et al. 2016, arXiv:1509.00519, equation 8).
    """
    posterior = net.encode(x0, emb)
    weights = torch.stack([log_weight(net, x0, emb, posterior, one) for one in noise.unbind(1)])
    return math.log(len(weights)) - weights.logsumexp(0)
