"""What the layout of an autoencoder says of a file that it can read."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from .errors import quote
from .header import Header
from .layout import Source

PREFIXES = ("", "first_stage_model.", "vae.")


@dataclass(frozen=True)
class AutoencoderMatch:
    """`source` tells where each tensor of the net is, and raises KeyError for a name that it does not know.

    `names` is a pattern of the file's tensors that are the autoencoder's, whether its net has them or not.
    `latents`, a key of LATENTS, is what a net that takes scaled latents was most likely made for; None for others.
    """

    family: str
    architecture: str
    config: dict
    source: Callable[[str], Source]
    proof: str
    names: str
    latents: str | None = None
    doubts: tuple[str, ...] = ()

    def owns(self, name: str) -> bool:
        """Whether a tensor of the file belongs to the autoencoder."""
        return re.match(self.names, name) is not None


def kernel_size(header: Header, key: str, dimension: int) -> int:
    """How many channels a convolution's weight has: 0 those that it makes, 1 those that it takes. Raises ValueError."""
    if key not in header.tensors:
        raise ValueError(f"tensor {key} is missing. Save or download it again")
    shape = header.tensors[key].shape
    if len(shape) != 4:
        raise ValueError(
            f"tensor {key} has shape {quote(str(list(shape)))}, an autoencoder of pictures needs four sizes"
        )
    return shape[dimension]


def count(header: Header, pattern: str) -> int:
    """One more than the largest number that the pattern's group finds in the names; 0 if it finds none."""
    found = (re.match(pattern, name) for name in header.tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)
