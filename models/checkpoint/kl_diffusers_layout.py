"""The KL autoencoder as the diffusers library stores it, with the attention's names of today or those of old."""

from dataclasses import replace

from . import kl_family
from .autoencoder_layout import AutoencoderMatch
from .header import Header

FAMILY = "KL autoencoder, diffusers"
NAMING = kl_family.Naming(
    down="down_blocks",
    up="up_blocks",
    up_first="latent size",
    block="resnets",
    skip="conv_shortcut",
    shrink="downsamplers.0.conv",
    grow="upsamplers.0.conv",
    middle=("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"),
    attention=("group_norm", ("to_q", "to_k", "to_v"), "to_out.0"),
    norm="conv_norm_out",
)
OLD_NAMING = replace(NAMING, attention=("group_norm", ("query", "key", "value"), "proj_attn"))


def match(header: Header, prefix: str) -> AutoencoderMatch | None:
    """Fits a file with tensors named PREFIXdecoder.up_blocks.N. Raises ValueError if they make no autoencoder."""
    is_old = f"{prefix}decoder.mid_block.attentions.0.query.weight" in header.tensors
    return kl_family.match(header, prefix, FAMILY, OLD_NAMING if is_old else NAMING)
