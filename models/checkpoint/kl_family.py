"""The KL autoencoder in a file: its config from names and shapes, for any of the ways to name its layers."""

import re
from dataclasses import dataclass

from .autoencoder_layout import AutoencoderMatch, count, kernel_size
from .header import Header
from .layout import Source

QUANT = {"quant": "quant_conv", "unquant": "post_quant_conv"}


@dataclass(frozen=True)
class Naming:
    """How a layout calls the parts of an encoder or decoder.

    `down`, `up` are their levels, `up_first` the decoder's level of number 0: "full size" or "latent size".
    `attention` holds the names of norm, of query, key and value, and of the last layer.
    """

    down: str
    up: str
    up_first: str
    block: str
    skip: str
    shrink: str
    grow: str
    middle: tuple[str, str, str]
    attention: tuple[str, tuple[str, str, str], str]
    norm: str

    def up_level(self, number: int, levels: int) -> str:
        """The decoder's level of that number, in the order of work."""
        return f"{self.up}.{number if self.up_first == 'latent size' else levels - 1 - number}"

    def keys(self, name: str, levels: int) -> list[str]:
        """A tensor of our net -> the tensors of the file that make it. Raises KeyError."""
        norm, qkv, out = self.attention
        ends = {"stem": "conv_in", "norm": self.norm, "out": "conv_out"}
        match name.split("."):
            case ["quant" | "unquant" as layer, kind]:
                return [f"{QUANT[layer]}.{kind}"]
            case [half, "stem" | "norm" | "out" as layer, kind]:
                return [f"{half}.{ends[layer]}.{kind}"]
            case [half, "middle", "1", layer, kind]:
                parts = {"norm": (norm,), "qkv": qkv, "out": (out,)}[layer]
                return [f"{half}.{self.middle[1]}.{part}.{kind}" for part in parts]
            case [half, "middle", number, layer, kind]:
                return [f"{half}.{self.middle[int(number)]}.{layer}.{kind}"]
            case [half, "levels", number, *rest]:
                level = f"{self.down}.{number}" if half == "encoder" else self.up_level(int(number), levels)
                match rest:
                    case ["blocks", block, layer, kind]:
                        return [f"{half}.{level}.{self.block}.{block}.{self.skip if layer == 'skip' else layer}.{kind}"]
                    case ["shrink", kind]:
                        return [f"{half}.{level}.{self.shrink}.{kind}"]
                    case ["grow", kind]:
                        return [f"{half}.{level}.{self.grow}.{kind}"]
        raise KeyError(name)


def match(header: Header, prefix: str, family: str, naming: Naming) -> AutoencoderMatch | None:
    """Fits a file with a decoder's levels, so named after the prefix. Raises ValueError if they make no autoencoder."""
    up = re.escape(f"{prefix}decoder.{naming.up}.")
    levels = count(header, up + r"(\d\d?)\.")
    if not levels:
        return None
    stem = f"{prefix}decoder.conv_in.weight"
    channels = kernel_size(header, stem, 1)
    widths = [
        kernel_size(header, f"{prefix}decoder.{naming.up_level(number, levels)}.{naming.block}.0.conv1.weight", 0)
        for number in reversed(range(levels))
    ]
    config = {
        "latent_channels": channels,
        "widths": widths,
        "blocks": count(header, up + rf"\d+\.{naming.block}\.(\d\d?)\.") - 1,
        "quant": any(f"{prefix}{layer}.weight" in header.tensors for layer in QUANT.values()),
    }
    return AutoencoderMatch(
        family,
        "kl_autoencoder",
        config,
        lambda name: Source(tuple(prefix + key for key in naming.keys(name, levels))),
        f"it has tensors {prefix}decoder.{naming.up}.*, and {stem} takes {channels} channels",
        re.escape(prefix) + rf"(encoder|decoder|{'|'.join(QUANT.values())})\.",
    )
