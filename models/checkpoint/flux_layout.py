"""Flux in one file, with the names of Black Forest Labs, as they are or inside a checkpoint of ComfyUI."""

from collections.abc import Callable

from ..nets.flux import FluxConfig
from .flux_family import Names, flux_match
from .header import Header
from .layout import Match, Source

FAMILY = "Flux in a single file"
PREFIXES = ("", "model.diffusion_model.")

MLP = {"up": "in_layer", "down": "out_layer"}
ENDS = {
    **{
        f"{part}.{ours}": f"{part}.{theirs}"
        for part in ("time_in", "vector_in", "guidance_in")
        for ours, theirs in MLP.items()
    },
    "image_in": "img_in",
    "text_in": "txt_in",
    "modulate": "final_layer.adaLN_modulation.1",
    "out": "final_layer.linear",
}
STREAMS = {"image": "img", "text": "txt"}
STREAM = {
    "modulate": "mod.lin",
    "qkv": "attn.qkv",
    "query_norm": "attn.norm.query_norm",
    "key_norm": "attn.norm.key_norm",
    "out": "attn.proj",
    "mlp.up": "mlp.0",
    "mlp.down": "mlp.2",
}
SINGLE = {
    "modulate": "modulation.lin",
    "qkv_up": "linear1",
    "query_norm": "norm.query_norm",
    "key_norm": "norm.key_norm",
    "out_down": "linear2",
}


def match(header: Header) -> Match | None:
    """Fits a file with double-stream blocks and a pooled vector. Raises ValueError if that cannot be used."""
    for prefix in PREFIXES:
        if f"{prefix}double_blocks.0.img_attn.qkv.weight" in header.tensors:
            return _match(header, prefix)
    return None


def _match(header: Header, prefix: str) -> Match:
    norm = f"{prefix}double_blocks.0.img_attn.norm.query_norm"
    # ComfyUI saves what Black Forest Labs call scale as weight.
    scale = "scale" if f"{norm}.scale" in header.tensors else "weight"
    names = Names(
        image_in=f"{prefix}img_in.weight",
        text_in=f"{prefix}txt_in.weight",
        vector_in=f"{prefix}vector_in.in_layer.weight",
        guidance_in=f"{prefix}guidance_in.",
        query_norm=f"{norm}.{scale}",
        hidden=f"{prefix}double_blocks.0.img_mlp.0.weight",
        double_blocks=f"{prefix}double_blocks.",
        single_blocks=f"{prefix}single_blocks.",
        prefix=prefix,
    )

    return flux_match(header, "single file", names, _source(prefix, scale))


def sources(config: FluxConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return _source("", "scale")


def _source(prefix: str, scale: str) -> Callable[[str], Source]:
    def source(name: str) -> Source:
        module, _, leaf = name.rpartition(".")
        if module.endswith("_norm"):
            leaf = scale
        return Source((f"{prefix}{_module(module)}.{leaf}",))

    return source


def _module(name: str) -> str:
    match name.split(".", 3):
        case ["double_blocks", number, stream, *rest]:
            return f"double_blocks.{number}.{STREAMS[stream]}_{STREAM['.'.join(rest)]}"
        case ["single_blocks", number, *rest]:
            return f"single_blocks.{number}.{SINGLE['.'.join(rest)]}"
    return ENDS[name]
