"""The architectures that Varifold can build, plain PyTorch."""

from dataclasses import fields

from torch import nn

from .unet import UNet, UNetConfig

ARCHITECTURES = {"unet": (UNetConfig, UNet)}


def build(architecture: str, config: dict) -> nn.Module:
    """The net of that name. Raises ValueError for an unknown architecture or an impossible config."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r:.80}; known: {', '.join(ARCHITECTURES)}")
    config_class, net_class = ARCHITECTURES[architecture]
    unknown = set(config) - {field.name for field in fields(config_class)}
    if unknown:
        raise ValueError(f"{architecture} has no setting {min(unknown)!r:.80}; a newer Varifold may")
    return net_class(config_class(**config))
