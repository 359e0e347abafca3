"""Stable Diffusion in a single file, as the original repositories name its tensors."""

import re
from collections.abc import Callable

from ..nets.latent_unet import LatentUNetConfig
from . import sd_family
from .header import Header
from .layout import Match, Source

FAMILY = "Stable Diffusion 1, 2 and XL in a single file"
PREFIX = "model.diffusion_model."


class SingleFile(sd_family.Names):
    layout = "single file"
    whole = {
        "time_in": "time_embed.0",
        "time_out": "time_embed.2",
        "vector_in": "label_emb.0.0",
        "vector_out": "label_emb.0.2",
        "stem": "input_blocks.0.0",
        "norm_out": "out.0",
        "out": "out.2",
    }
    block = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "skip": "skip_connection",
    }
    shift = "emb_layers.1"
    middle = ("middle_block.0", "middle_block.2", "middle_block.1")

    def size(self, tensors):
        count = tensors.count(r"(input_blocks)\.(\d{1,3})\.").get("input_blocks", 0)
        shrinking = (re.match(r"input_blocks\.(\d{1,3})\.0\.op\.", name) for name in tensors.shapes)
        per_level = min((int(found[1]) for found in shrinking if found), default=count)
        if not per_level or count % per_level:
            raise ValueError(f"its {count} input_blocks are not levels of {per_level}")
        return count // per_level, per_level - 1

    def down(self, level, number, blocks):
        place = f"input_blocks.{level * (blocks + 1) + number + 1}"
        return f"{place}.0", f"{place}.1"

    def shrink(self, level, blocks):
        return f"input_blocks.{(level + 1) * (blocks + 1)}.0.op"

    def up(self, step, number, blocks):
        place = f"output_blocks.{step * (blocks + 1) + number}"
        return f"{place}.0", f"{place}.1"

    def grow(self, step, blocks, attends):
        return f"output_blocks.{step * (blocks + 1) + blocks}.{2 if attends else 1}.conv"


def match(header: Header) -> Match | None:
    """Fits a whole checkpoint or its U-Net alone, with `model.diffusion_model.` before its names or not.

    Raises ValueError for a U-Net that is none of Stable Diffusion's.
    """
    for prefix in (PREFIX, ""):
        parts = [f"{prefix}{part}_blocks." for part in ("input", "output")]
        if all(any(name.startswith(part) for name in header.tensors) for part in parts) and any(
            name.startswith(parts[0]) and ".attn2." in name for name in header.tensors
        ):
            return sd_family.match(header, prefix, SingleFile())
    return None


def sources(config: LatentUNetConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return sd_family.sources(SingleFile(), config)
