"""What the layouts of DiT and SiT share: names to sources, shapes to a config, and what none of their files tells."""

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass

from ..denoising.timesteps import table
from ..nets.dit import LIMITS, DiTConfig
from .errors import quote
from .header import Header
from .layout import Match, Source
from .spec import Spec

CHANNELS = 4  # of Stable Diffusion's latents, which DiT and SiT draw
USUAL_SIDE = 32  # of those latents, for pictures of 256 pixels
SIZES = {(12, 384): "S", (12, 768): "B", (24, 1024): "L", (28, 1152): "XL"}  # by depth and width
XL_WIDTH, XL_HEADS, HEAD_WIDTH = 1152, 16, 64
FLOW_SIGMA_MIN = 1e-3
PREFIX = re.compile(r"([\w.-]{1,100}\.)?", re.ASCII)
AGAIN = "Save or download it again"


@dataclass(frozen=True)
class Names:
    """What a layout calls the layers of a DiT.

    `modulate` and `parts` are of a block, after `blocks`, its number and a dot. `repeated`: what each block may have a
    copy of, and the first one's is read. `positions`: of the fixed sines, which the net has by itself.
    """

    dialect: str
    time_in: str
    time_out: str
    labels: str
    patches: str
    positions: str
    blocks: str
    modulate: str
    parts: dict[str, tuple[str, ...]]
    end: str
    out: str
    repeated: str = ""


def match_names(header: Header, family: str, names: Names) -> Match | None:
    """Fits a file with these names, perhaps after a prefix: read as DiT, or as SiT if the user says so.

    Raises ValueError for a file that has them, but is impossible or of a relative that is no DiT.
    """
    prefixes = _prefixes(header, names)
    if not prefixes:
        return None
    prefix = min(prefixes, key=lambda p: ("ema" not in p, len(p), p))
    config = _config(header, names, prefix)
    sources = sources_of(names, prefix, config.depth)
    side = _side(header, f"{prefix}{names.positions}", config.patch)
    copies = _copies(header, f"{prefix}{names.blocks}", names.repeated, config.depth) if names.repeated else set()
    spare = copies | {f"{prefix}{names.positions}"} & set(header.tensors)
    _refuse_others(header, prefix, sources, spare)

    usual = math.ceil(USUAL_SIDE / config.patch) * config.patch
    doubts = [
        "the file does not say whether it is a DiT (eps) or a SiT (flow): taken as DiT; for SiT choose flow",
        f"it does not say how many heads it has: taken as {config.heads}, each {config.width // config.heads} wide",
    ]
    if side is None:
        doubts.append(f"it does not say for which size it was trained: taken as {8 * usual}×{8 * usual} pixels")
    if config.classes != 1000:
        doubts.append(f"the last of its {config.classes + 1} labels is taken to mean no class")
    if copies:
        doubts.append("the embedders of time and class in the later blocks are taken as copies of the first block's")
    if config.dialect == "diffusers":
        doubts.append("time is embedded as diffusers does it, with frequencies a little lower than in DiT's own code")
    if len(prefixes) > 1:
        doubts.append(f"the file has {len(prefixes)} such nets: the one whose names begin with {quote(prefix)} is read")

    shape = (config.in_channels, side or usual, side or usual)
    as_dit, as_sit = _as_dit(config, shape), _as_sit(config, shape)
    proof = (
        f"{quote(prefix + names.labels)} has {config.classes + 1} rows, and {config.depth} blocks have {names.modulate}"
    )
    return Match(family, as_dit, sources.__getitem__, proof, tuple(doubts), (as_sit,), frozenset(spare))


def _prefixes(header: Header, names: Names) -> list[str]:
    """What stands before the names; of the four by which they are known, one may be missing."""
    marks = [f"{name}.weight" for name in (names.labels, names.patches, f"{names.blocks}0.{names.modulate}", names.out)]
    counts = Counter(name.removesuffix(mark) for mark in marks for name in header.tensors if name.endswith(mark))
    return [prefix for prefix, count in counts.items() if count >= 3 and PREFIX.fullmatch(prefix)]


def _config(header: Header, names: Names, prefix: str) -> DiTConfig:
    rows, width = _shape(header, f"{prefix}{names.labels}.weight", 2)
    _, channels, patch, _ = _shape(header, f"{prefix}{names.patches}.weight", 4)
    said, _ = _shape(header, f"{prefix}{names.out}.weight", 2)
    if channels != CHANNELS:
        raise ValueError(f"it draws latents of {channels} channels, and only those of {CHANNELS} can be read")
    if said not in (channels * patch**2, 2 * channels * patch**2):
        raise ValueError(
            f"its last layer says {said} numbers for each patch of {patch}×{patch}: "
            f"neither {channels} channels nor twice as many"
        )
    if width % HEAD_WIDTH and width != XL_WIDTH:
        raise ValueError(f"it is {width} wide, and from that its number of heads cannot be told")
    return DiTConfig(
        in_channels=channels,
        patch=patch,
        width=width,
        depth=_depth(header, f"{prefix}{names.blocks}"),
        heads=XL_HEADS if width == XL_WIDTH else width // HEAD_WIDTH,
        classes=rows - 1,
        learn_sigma=said == 2 * channels * patch**2,
        dialect=names.dialect,
    )


def _shape(header: Header, key: str, rank: int) -> tuple[int, ...]:
    if key not in header.tensors:
        raise ValueError(f"tensor {quote(key)} is missing. {AGAIN}")
    shape = header.tensors[key].shape
    if len(shape) != rank or 0 in shape:
        raise ValueError(f"tensor {quote(key)} has shape {list(shape)}, and should have {rank} dimensions above 0")
    return shape


def _depth(header: Header, blocks: str) -> int:
    numbers = {name.removeprefix(blocks).partition(".")[0] for name in header.tensors if name.startswith(blocks)}
    depth = 1 + max((int(number) for number in numbers if re.fullmatch("[0-9]{1,6}", number)), default=-1)
    low, high = LIMITS["depth"]
    if not low <= depth <= high:
        raise ValueError(f"it should have {low} to {high} blocks, and has {depth}")
    return depth


def _side(header: Header, key: str, patch: int) -> int | None:
    """The side of the latents it was trained on, if the file has the positions of their patches."""
    if key not in header.tensors:
        return None
    _, patches, _ = _shape(header, key, 3)
    side = math.isqrt(patches)
    if side**2 != patches:
        raise ValueError(f"tensor {quote(key)} is for {patches} patches, which make no square")
    return side * patch


def sources_of(names: Names, prefix: str, depth: int) -> dict[str, Source]:
    """Where the tensors of a net of that depth are."""
    of_blocks = [f"{names.blocks}{index}." for index in range(depth)]
    layers = {
        "time_in": [names.time_in],
        "time_out": [names.time_out],
        "patches": [names.patches],
        "modulate": [*(block + names.modulate for block in of_blocks), names.end],
        "out": [names.out],
    }
    for index, block in enumerate(of_blocks):
        layers |= {f"blocks.{index}.{part}": [block + name for name in theirs] for part, theirs in names.parts.items()}
    sources = {
        f"{layer}.{kind}": Source(tuple(f"{prefix}{name}.{kind}" for name in theirs))
        for layer, theirs in layers.items()
        for kind in ("weight", "bias")
    }
    return {**sources, "labels": Source((f"{prefix}{names.labels}.weight",))}


def _copies(header: Header, blocks: str, repeated: str, depth: int) -> set[str]:
    """What the later blocks have of `repeated`. Raises ValueError for a tensor that is no copy of the first block's."""
    starts, copies = tuple(f"{blocks}{index}.{repeated}" for index in range(1, depth)), set()
    for key in [name for name in header.tensors if name.startswith(starts)]:
        original = f"{blocks}0.{repeated}{key[len(blocks) :].partition(repeated)[2]}"
        if original not in header.tensors:
            continue
        if header.tensors[key].shape != header.tensors[original].shape:
            raise ValueError(f"tensor {quote(key)} has another shape than {quote(original)}, whose copy it should be")
        copies.add(key)
    return copies


def _refuse_others(header: Header, prefix: str, sources: dict[str, Source], spare: set[str]) -> None:
    """Raises ValueError for a tensor inside the net that a DiT has not, as relatives have that normalise queries."""
    used = {key for source in sources.values() for key in source.keys}
    roots = tuple({f"{prefix}{key.removeprefix(prefix).partition('.')[0]}." for key in used})
    strange = sorted(key for key in header.tensors if key.startswith(roots) and key not in used | spare)
    if strange:
        raise ValueError(f"no DiT has a tensor {quote(strange[0])}: it is a relative, which this loader cannot read")


def _as_dit(config: DiTConfig, shape: tuple[int, int, int]) -> Spec:
    levels = table("linear")
    return Spec(
        architecture="dit",
        config=asdict(config),
        prediction="eps",
        shape=shape,
        betas="linear",
        sigma_min=levels[0],
        sigma_max=levels[-1],
        channels="sd1",
        title=f"DiT-{_size(config)}",
    )


def _as_sit(config: DiTConfig, shape: tuple[int, int, int]) -> Spec:
    return Spec(
        architecture="dit",
        config={**asdict(config), "mirrored": True},
        prediction="flow",
        space="flow",
        shape=shape,
        sigma_min=FLOW_SIGMA_MIN,
        sigma_max=1.0,
        channels="sd1",
        title=f"SiT-{_size(config)}",
    )


def _size(config: DiTConfig) -> str:
    size = SIZES.get((config.depth, config.width), f"{config.depth}×{config.width}")
    return f"{size}/{config.patch}"
