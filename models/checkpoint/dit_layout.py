"""DiT and SiT as their own repositories name them (github.com/facebookresearch/DiT, github.com/willisma/SiT)."""

from collections.abc import Callable

from ..nets.dit import DiTConfig
from .dit_family import Names, match_names, sources_of
from .header import Header
from .layout import Match, Source

FAMILY = "DiT or SiT, as their repositories save it"

NAMES = Names(
    dialect="original",
    time_in="t_embedder.mlp.0",
    time_out="t_embedder.mlp.2",
    labels="y_embedder.embedding_table",
    patches="x_embedder.proj",
    positions="pos_embed",
    blocks="blocks.",
    modulate="adaLN_modulation.1",
    parts={"qkv": ("attn.qkv",), "out": ("attn.proj",), "widen": ("mlp.fc1",), "narrow": ("mlp.fc2",)},
    end="final_layer.adaLN_modulation.1",
    out="final_layer.linear",
)


def match(header: Header) -> Match | None:
    """Fits a file with those names, perhaps after a prefix. Raises ValueError for one that is impossible or no DiT."""
    return match_names(header, FAMILY, NAMES)


def sources(config: DiTConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return sources_of(NAMES, "", config.depth).__getitem__
