"""DiT as the diffusers library names it, DiTTransformer2DModel."""

from collections.abc import Callable

from ..nets.dit import DiTConfig
from .dit_family import Names, match_names, sources_of
from .header import Header
from .layout import Match, Source

FAMILY = "DiT or SiT, as diffusers saves it"

NAMES = Names(
    dialect="diffusers",
    time_in="transformer_blocks.0.norm1.emb.timestep_embedder.linear_1",
    time_out="transformer_blocks.0.norm1.emb.timestep_embedder.linear_2",
    labels="transformer_blocks.0.norm1.emb.class_embedder.embedding_table",
    patches="pos_embed.proj",
    positions="pos_embed.pos_embed",
    blocks="transformer_blocks.",
    modulate="norm1.linear",
    parts={
        "qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
        "out": ("attn1.to_out.0",),
        "widen": ("ff.net.0.proj",),
        "narrow": ("ff.net.2",),
    },
    end="proj_out_1",
    out="proj_out_2",
    repeated="norm1.emb.",
)


def match(header: Header) -> Match | None:
    """Fits a file with those names, perhaps after a prefix. Raises ValueError for one that is impossible or no DiT."""
    return match_names(header, FAMILY, NAMES)


def sources(config: DiTConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return sources_of(NAMES, "", config.depth).__getitem__
