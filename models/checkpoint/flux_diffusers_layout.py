"""Flux with the names of the diffusers library's FluxTransformer2DModel."""

from collections.abc import Callable

from ..nets.flux import FluxConfig
from .flux_family import Names, flux_match
from .header import Header
from .layout import Match, Source

FAMILY = "Flux, as diffusers saves it"

EMBEDDERS = {"time_in": "timestep_embedder", "vector_in": "text_embedder", "guidance_in": "guidance_embedder"}
MLP = {"up": "linear_1", "down": "linear_2"}
ENDS = {
    **{
        f"{part}.{ours}": f"time_text_embed.{embedder}.{theirs}"
        for part, embedder in EMBEDDERS.items()
        for ours, theirs in MLP.items()
    },
    "image_in": "x_embedder",
    "text_in": "context_embedder",
    "modulate": "norm_out.linear",
    "out": "proj_out",
}
STREAMS = {
    "image": {
        "modulate": ("norm1.linear",),
        "qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
        "query_norm": ("attn.norm_q",),
        "key_norm": ("attn.norm_k",),
        "out": ("attn.to_out.0",),
        "mlp.up": ("ff.net.0.proj",),
        "mlp.down": ("ff.net.2",),
    },
    "text": {
        "modulate": ("norm1_context.linear",),
        "qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        "query_norm": ("attn.norm_added_q",),
        "key_norm": ("attn.norm_added_k",),
        "out": ("attn.to_add_out",),
        "mlp.up": ("ff_context.net.0.proj",),
        "mlp.down": ("ff_context.net.2",),
    },
}
SINGLE = {
    "modulate": ("norm.linear",),
    "qkv_up": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "query_norm": ("attn.norm_q",),
    "key_norm": ("attn.norm_k",),
    "out_down": ("proj_out",),
}
NAMES = Names(
    image_in="x_embedder.weight",
    text_in="context_embedder.weight",
    vector_in="time_text_embed.text_embedder.linear_1.weight",
    guidance_in="time_text_embed.guidance_embedder.",
    query_norm="transformer_blocks.0.attn.norm_q.weight",
    hidden="transformer_blocks.0.ff.net.0.proj.weight",
    double_blocks="transformer_blocks.",
    single_blocks="single_transformer_blocks.",
)


def match(header: Header) -> Match | None:
    """Fits a file with double-stream blocks, a pooled vector and no convolution. Raises ValueError if it is no use."""
    if not {NAMES.image_in, NAMES.vector_in, "transformer_blocks.0.attn.add_q_proj.weight"} <= header.tensors.keys():
        return None
    return flux_match(header, "diffusers", NAMES, source)


def sources(config: FluxConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return source


def source(name: str) -> Source:
    module, _, leaf = name.rpartition(".")
    keys = tuple(f"{key}.{leaf}" for key in _modules(module))
    # Here the scale of the last modulation comes before its shift.
    return Source(keys, swapped=module == "modulate")


def _modules(name: str) -> tuple[str, ...]:
    match name.split(".", 3):
        case ["double_blocks", number, stream, *rest]:
            return tuple(f"transformer_blocks.{number}.{key}" for key in STREAMS[stream][".".join(rest)])
        case ["single_blocks", number, *rest]:
            return tuple(f"single_transformer_blocks.{number}.{key}" for key in SINGLE[".".join(rest)])
    return (ENDS[name],)
