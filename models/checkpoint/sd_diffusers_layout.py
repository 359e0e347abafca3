"""The U-Net of Stable Diffusion as the diffusers library names its tensors (UNet2DConditionModel)."""

from collections.abc import Callable

from ..nets.latent_unet import LatentUNetConfig
from . import sd_family
from .header import Header
from .layout import Match, Source

FAMILY = "Stable Diffusion 1, 2 and XL as the U-Net of diffusers"


class Diffusers(sd_family.Names):
    layout = "diffusers"
    whole = {
        "time_in": "time_embedding.linear_1",
        "time_out": "time_embedding.linear_2",
        "vector_in": "add_embedding.linear_1",
        "vector_out": "add_embedding.linear_2",
        "stem": "conv_in",
        "norm_out": "conv_norm_out",
        "out": "conv_out",
    }
    block = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "skip": "conv_shortcut"}
    shift = "time_emb_proj"
    middle = ("mid_block.resnets.0", "mid_block.resnets.1", "mid_block.attentions.0")

    def size(self, tensors):
        levels = tensors.count(r"(down_blocks)\.(\d{1,3})\.").get("down_blocks", 0)
        return levels, tensors.count(r"(down_blocks\.0)\.resnets\.(\d{1,3})\.").get("down_blocks.0", 0)

    def down(self, level, number, blocks):
        return f"down_blocks.{level}.resnets.{number}", f"down_blocks.{level}.attentions.{number}"

    def shrink(self, level, blocks):
        return f"down_blocks.{level}.downsamplers.0.conv"

    def up(self, step, number, blocks):
        return f"up_blocks.{step}.resnets.{number}", f"up_blocks.{step}.attentions.{number}"

    def grow(self, step, blocks, attends):
        return f"up_blocks.{step}.upsamplers.0.conv"


def match(header: Header) -> Match | None:
    """Fits a UNet2DConditionModel that looks at a text. Raises ValueError for one that is not Stable Diffusion's."""
    names = header.tensors
    if all(any(name.startswith(part) for name in names) for part in ("down_blocks.", "up_blocks.")) and any(
        name.startswith("down_blocks.") and ".attn2." in name for name in names
    ):
        return sd_family.match(header, "", Diffusers())
    return None


def sources(config: LatentUNetConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return sd_family.sources(Diffusers(), config)
