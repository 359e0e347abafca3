"""TAESD: layers by their number in a sequence, the halves in files of their own, in one, or as diffusers has them.

All hold the same weights, for colours in 0..1; the diffusers class rescales from and to -1..1 itself.
"""

import re
from typing import NamedTuple

from .autoencoder_layout import AutoencoderMatch, kernel_size
from .header import Header
from .layout import Source

FAMILY = "TAESD"
ENCODERS = ("taesd_encoder.", "encoder.layers.", "encoder.")
DECODERS = ("taesd_decoder.", "decoder.layers.", "decoder.")
SCALE = {"scale": "vae_scale", "shift": "vae_shift"}
LATENTS = {4: ("sd1", "Stable Diffusion 1's or XL's"), 16: ("flux", "Flux's or Stable Diffusion 3's")}
OUT = {"encoder": 14, "decoder": 19}


class Half(NamedTuple):
    """What its tensors' names begin with, and by how much its numbers differ from those of the authors' file."""

    start: str
    offset: int = 0

    def key(self, number: int, rest: str) -> str:
        return f"{self.start}{number + self.offset}.{rest}"


def match(header: Header, prefix: str) -> AutoencoderMatch | None:
    """Fits a file with numbered layers, blocks among them. Raises ValueError if they make no autoencoder."""
    halves = {}
    for name, starts in (("encoder", ENCODERS), ("decoder", DECODERS)):
        for start in starts:
            # In diffusers the clamp at the decoder's start is no layer.
            half = Half(prefix + start, -1 if start == "decoder.layers." else 0)
            if _has_blocks(header, half):
                halves.setdefault(name, half)
    if not halves and _has_blocks(header, Half(prefix)):
        halves["encoder" if f"{prefix}0.weight" in header.tensors else "decoder"] = Half(prefix)
    if not halves:
        return None
    if "decoder" in halves:
        stem = halves["decoder"].key(1, "weight")
        channels, width = kernel_size(header, stem, 1), kernel_size(header, stem, 0)
    else:
        stem = halves["encoder"].key(0, "weight")
        channels = kernel_size(header, halves["encoder"].key(OUT["encoder"], "weight"), 0)
        width = kernel_size(header, stem, 0)
    scaled = any(prefix + key in header.tensors for key in SCALE.values())
    config = {"latent_channels": channels, "width": width, "scaled": scaled}
    config |= {"encodes": "encoder" in halves, "decodes": "decoder" in halves}
    if not scaled and channels not in LATENTS:
        raise ValueError(
            f"its latents have {channels} channels, and TAESDs are known for {' or '.join(map(str, LATENTS))}"
        )
    latents, choice = (None, "") if scaled else LATENTS[channels]
    doubt = f"the file does not say whether its latents are {choice}: taken as {latents}; choose in latents"
    return AutoencoderMatch(
        FAMILY + ("" if len(halves) == 2 else f", {min(halves)} alone"),
        "tiny_autoencoder",
        config,
        lambda name: Source((prefix + SCALE[name] if name in SCALE else _key(name, halves),)),
        f"layers are numbered, and the first is {stem}",
        "|".join(re.escape(half.start) + r"\d+\." for half in halves.values()),
        latents,
        (doubt,) if latents else (),
    )


def _has_blocks(header: Header, half: Half) -> bool:
    block = re.compile(re.escape(half.start) + r"\d+\.conv\.[024]\.weight$")
    return any(block.match(name) for name in header.tensors)


def _key(name: str, halves: dict[str, Half]) -> str:
    match name.split("."):
        case [half, "stem", kind]:
            return halves[half].key(0 if half == "encoder" else 1, kind)
        case [half, "out", kind]:
            return halves[half].key(OUT[half], kind)
        case ["encoder" as half, "levels", level, "shrink", kind]:
            return halves[half].key(4 * int(level) - 2, kind)
        case ["decoder" as half, "levels", level, "grow", kind]:
            return halves[half].key(5 * int(level) + 7, kind)
        case [half, "levels", level, "blocks", block, layer, kind]:
            first = 5 * int(level) + 3 if half == "decoder" else 4 * int(level) - 1 if int(level) else 1
            number = {"conv1": 0, "conv2": 2, "conv3": 4}[layer]
            return halves[half].key(first + int(block), f"conv.{number}.{kind}")
    raise KeyError(name)
