"""What both layouts of Flux have in common: its sizes, read from the shapes of a few tensors."""

import re
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from typing import NamedTuple

from ..nets.flux import FluxConfig
from .errors import quote
from .header import Header
from .layout import Match, Source
from .spec import Spec

CHANNELS, PATCH = 16, 2
HEAD_WIDTH = 128  # of Flux itself
SIGMA_MIN, SIGMA_MAX = 0.001, 1.0
SHAPE = (CHANNELS, 128, 128)

# (what the name of a tensor holds, what the file seems to be)
RELATIVES = (
    ("distilled_guidance_layer.", "Chroma"),
    ("double_stream_modulation_img.", "Flux 2"),
    ("individual_token_refiner.", "Hunyuan Video"),
    (".img_mlp.gate_proj.", "Ovis Image"),
    ("controlnet_blocks.", "a ControlNet of Flux"),
    (".lora_", "a LoRA of Flux"),
)
SCALES = ("scaled_fp8", ".scale_weight", ".weight_scale", ".comfy_quant")


class Names(NamedTuple):
    """The tensors that tell the sizes, as a layout calls them.

    `guidance_in`, `double_blocks` and `single_blocks` are how several begin; of blocks, their number follows.
    `prefix` is how all tensors of the net begin.
    """

    image_in: str
    text_in: str
    vector_in: str
    guidance_in: str
    query_norm: str
    hidden: str
    double_blocks: str
    single_blocks: str
    prefix: str = ""


def flux_match(header: Header, layout: str, names: Names, source: Callable[[str], Source]) -> Match:
    """The match of a Flux in that layout. Raises ValueError for a relative of Flux, and for impossible sizes."""
    own = [name for name in header.tensors if name.startswith(names.prefix)]
    for part, relative in RELATIVES:
        if any(part in name for name in own):
            raise ValueError(f"it seems to be {relative}, which this loader does not read: use ComfyUI's own nodes")
    scales = [name for name in own if name.endswith(SCALES)]
    if scales:
        raise ValueError(
            f"its weights are stored with scales of their own ({quote(min(scales))}), which this loader does not read: "
            "use the bfloat16 or the plain fp8 file, or ComfyUI's own nodes"
        )

    config = FluxConfig(**_sizes(header, names))
    variant = "dev" if config.guidance else "schnell"
    spec = Spec(
        architecture="flux",
        config=asdict(config),
        prediction="flow",
        space="flow",
        shape=SHAPE,
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        channels="flux",
        title=f"Flux {variant}",
    )
    told = "is there" if config.guidance else "is not"
    proof = f"{names.query_norm} and {names.vector_in} are there; {names.guidance_in}* {told}: {variant}"
    return Match(f"Flux {variant}, {layout}", spec, source, proof, _doubts(config))


def _sizes(header: Header, names: Names) -> dict:
    width, values = _matrix(header, names.image_in)
    if values != CHANNELS * PATCH**2:
        raise ValueError(
            f"{names.image_in} reads {values} numbers of a patch, and Flux {CHANNELS * PATCH**2}: one that sees a "
            "second picture (Fill, Canny, Depth), or a relative of Flux. Use ComfyUI's own nodes"
        )
    (head,) = _shape(header, names.query_norm, 1)
    if width % head:
        raise ValueError(f"{names.query_norm} has {head} numbers, which do not divide the {width} of {names.image_in}")
    return {
        "in_channels": CHANNELS,
        "patch": PATCH,
        "width": width,
        "heads": width // head,
        "axes": axes(head),
        "double_blocks": _blocks(header, names.double_blocks),
        "single_blocks": _blocks(header, names.single_blocks),
        "hidden": _matrix(header, names.hidden)[0],
        "tokens": _matrix(header, names.text_in)[1],
        "vector": _matrix(header, names.vector_in)[1],
        "guidance": any(name.startswith(names.guidance_in) for name in header.tensors),
    }


def axes(head: int) -> tuple[int, int, int]:
    """How a head's numbers are dealt out to three coordinates: (16, 56, 56) of 128, and as nearly as can be of others.

    No file tells. Raises ValueError for an odd number.
    """
    if head % 2:
        raise ValueError(f"its heads have {head} numbers, and rotations need pairs of them")
    first = next(axis for axis in count(2 * ((head + 15) // 16), 2) if (head - axis) % 4 == 0)
    return first, (head - first) // 2, (head - first) // 2


def _doubts(config: FluxConfig) -> tuple[str, ...]:
    doubts = []
    head = config.width // config.heads
    if head != HEAD_WIDTH:
        doubts.append(f"how the {head} numbers of a head are dealt out to its axes: taken as {config.axes}")
    if config.guidance:
        doubts.append("whether it is dev or one of its kin with the same tensors, as Kontext: taken as dev")
    else:
        doubts.append("in how many steps it draws: schnell is made for 1 to 4, without guidance")
    return tuple(doubts)


def _blocks(header: Header, start: str) -> int:
    """One more than the highest number: a block that is not whole, or not there, is missed by whoever loads it."""
    number = re.compile(re.escape(start) + r"(\d{1,6})\.", re.ASCII)
    return max((int(found[1]) + 1 for name in header.tensors if (found := number.match(name))), default=0)


def _matrix(header: Header, name: str) -> tuple[int, ...]:
    return _shape(header, name, 2)


def _shape(header: Header, name: str, dims: int) -> tuple[int, ...]:
    if name not in header.tensors:
        raise ValueError(f"{name} is missing: it is no Flux, or a part of one. Download it again, or join its parts")
    shape = header.tensors[name].shape
    if len(shape) != dims or 0 in shape:
        raise ValueError(f"{name} has the shape {list(shape)}, and should have {dims} dimensions, none of them 0")
    return shape
