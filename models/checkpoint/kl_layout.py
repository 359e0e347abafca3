"""The KL autoencoder as its authors store it, and full checkpoints with it."""

from . import kl_family
from .autoencoder_layout import AutoencoderMatch
from .header import Header

FAMILY = "KL autoencoder, single file"
NAMING = kl_family.Naming(
    down="down",
    up="up",
    up_first="full size",
    block="block",
    skip="nin_shortcut",
    shrink="downsample.conv",
    grow="upsample.conv",
    middle=("mid.block_1", "mid.attn_1", "mid.block_2"),
    attention=("norm", ("q", "k", "v"), "proj_out"),
    norm="norm_out",
)


def match(header: Header, prefix: str) -> AutoencoderMatch | None:
    """Fits a file with tensors named PREFIXdecoder.up.N. Raises ValueError if they make no autoencoder."""
    return kl_family.match(header, prefix, FAMILY, NAMING)
