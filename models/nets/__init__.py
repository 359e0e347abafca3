"""The architectures that Varifold can build, plain PyTorch."""

from dataclasses import fields

from torch import nn

from .dit import DiT, DiTConfig
from .flux import Flux, FluxConfig
from .gan import GANConfig, GANGenerator
from .kl_autoencoder import KLAutoencoder, KLAutoencoderConfig
from .latent_unet import LatentUNet, LatentUNetConfig
from .picture_autoencoder import PictureAutoencoder, PictureAutoencoderConfig
from .tiny_autoencoder import TinyAutoencoder, TinyAutoencoderConfig
from .unet import UNet, UNetConfig

ARCHITECTURES = {
    "unet": (UNetConfig, UNet),
    "latent_unet": (LatentUNetConfig, LatentUNet),
    "dit": (DiTConfig, DiT),
    "flux": (FluxConfig, Flux),
}

AUTOENCODERS = {
    "kl_autoencoder": (KLAutoencoderConfig, KLAutoencoder),
    "tiny_autoencoder": (TinyAutoencoderConfig, TinyAutoencoder),
}

GENERATORS = {
    "picture_autoencoder": (PictureAutoencoderConfig, PictureAutoencoder),
    "gan": (GANConfig, GANGenerator),
}


def build(architecture: str, config: dict, known: dict = ARCHITECTURES) -> nn.Module:
    """The net of that name. Raises ValueError for an unknown architecture or an impossible config."""
    if architecture not in known:
        raise ValueError(f"unknown architecture {architecture!r:.80}; known: {', '.join(known)}")
    config_class, net_class = known[architecture]
    unknown = set(config) - {field.name for field in fields(config_class)}
    if unknown:
        raise ValueError(f"{architecture} has no setting {min(unknown)!r:.80}; a newer Varifold may")
    return net_class(config_class(**config))
