"""What the layouts of Stable Diffusion's U-Nets share: from names and shapes to a family, a config and a Match."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import NamedTuple

from ..denoising.timesteps import table
from ..nets.latent_unet import LatentUNetConfig
from .errors import quote
from .header import Header
from .layout import Match, Source
from .spec import Spec

TRANSFORMER = {"norm": "norm", "into": "proj_in", "out": "proj_out"}
LAYER = {
    "norm1": ("norm1",),
    "self_attention.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "self_attention.out": ("attn1.to_out.0",),
    "norm2": ("norm2",),
    "cross_attention.q": ("attn2.to_q",),
    "cross_attention.kv": ("attn2.to_k", "attn2.to_v"),
    "cross_attention.out": ("attn2.to_out.0",),
    "norm3": ("norm3",),
    "feed_forward.into": ("ff.net.0.proj",),
    "feed_forward.out": ("ff.net.2",),
}
LATENT_CHANNELS = 4
INPAINTING_CHANNELS = 5  # a mask and the masked latent

# Marks that other programs leave in a file, as empty tensors or numbers.
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
EDM_MARKS = ("edm_mean", "edm_vpred.sigma_max")


class Family(NamedTuple):
    """What the width of a U-Net's text tells: how it attends, its vector, its latents and the side it draws best."""

    name: str
    heads: int
    head_width: int
    vector: int
    latents: str
    side: int


FAMILIES = {
    768: Family("Stable Diffusion 1", 8, 0, 0, "sd1", 64),
    1024: Family("Stable Diffusion 2", 0, 64, 0, "sd1", 64),
    1280: Family("Stable Diffusion XL refiner", 0, 64, 2560, "sdxl", 128),
    2048: Family("Stable Diffusion XL", 0, 64, 2816, "sdxl", 128),
}
SD2_V_SIDE = 96


class Names(ABC):
    """How a layout names the parts of a LatentUNet. Modules, not tensors; levels count down, steps count up again."""

    layout: str
    whole: dict[str, str]
    """The modules outside the blocks, by the net's name."""
    block: dict[str, str]
    """The modules of a block, by the net's name."""
    shift: str
    """A block's Linear for the embedding."""
    middle: tuple[str, str, str]
    """The middle's two blocks and, between them, its transformer."""

    @abstractmethod
    def size(self, tensors: "Tensors") -> tuple[int, int]:
        """How many levels there are, and how many blocks each has on the way down. Raises ValueError."""

    @abstractmethod
    def down(self, level: int, number: int, blocks: int) -> tuple[str, str]:
        """A block and its transformer on the way down."""

    @abstractmethod
    def shrink(self, level: int, blocks: int) -> str:
        """The convolution that halves the sides, from `level` to the next."""

    @abstractmethod
    def up(self, step: int, number: int, blocks: int) -> tuple[str, str]:
        """A block and its transformer on the way up."""

    @abstractmethod
    def grow(self, step: int, blocks: int, attends: bool) -> str:
        """The convolution after the sides have doubled, from `step` to the next."""


class Tensors:
    """The tensors of a file whose names begin with `prefix`, which is taken off."""

    def __init__(self, header: Header, prefix: str):
        self.prefix = prefix
        self.shapes = {
            name.removeprefix(prefix): info.shape for name, info in header.tensors.items() if name.startswith(prefix)
        }

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """The shape of a tensor. Raises ValueError if it is missing, or has another rank or no elements."""
        if name not in self.shapes:
            raise ValueError(f"tensor {self.prefix}{name} is missing. Save or download the file again")
        shape = self.shapes[name]
        if len(shape) != rank or 0 in shape:
            raise ValueError(f"tensor {self.prefix}{name} has the impossible shape {quote(str(list(shape)))}")
        return shape

    def count(self, pattern: str) -> dict[str, int]:
        """For a pattern of two groups, a place and a number: the place -> one more than its largest number."""
        counts: dict[str, int] = {}
        for name in self.shapes:
            if found := re.match(pattern, name):
                counts[found[1]] = max(counts.get(found[1], 0), int(found[2]) + 1)
        return counts


class _Block(NamedTuple):
    """A block of the net, its name in the file, that of its transformer, and how deep that is."""

    path: str
    name: str
    transformer: str
    depth: int


def match(header: Header, prefix: str, names: Names) -> Match:
    """The Match of a file with a U-Net whose tensors begin with `prefix`. Raises ValueError for an impossible one."""
    for mark in EDM_MARKS:
        if mark in header.tensors:
            raise ValueError(f"its tensor {mark} marks a model trained at EDM's noise levels, which is not read yet")
    tensors = Tensors(header, prefix)
    depths = tensors.count(r"(.+)\.transformer_blocks\.(\d{1,3})\.")
    family, proof = _family(tensors, names)
    config = _config(tensors, names, family, depths)
    for block in _blocks(names, config):
        if depths.get(block.transformer, 0) != block.depth:
            raise ValueError(
                f"{prefix}{block.transformer} is not as deep as its level's others: a variant that is not read"
            )
    modules = _modules(names, config)
    if foreign := _foreign(tensors, modules):
        raise ValueError(
            f"its U-Net has {len(foreign)} tensors more than {family.name}, the first is {quote(prefix + foreign[0])}: "
            "a variant that is not read"
        )

    marks = {mark: {mark, prefix + mark} & header.tensors.keys() for mark in (V_MARK, ZERO_SNR_MARK)}
    spec, doubts, others = _readings({mark for mark, found in marks.items() if found}, family, config)
    spare = frozenset().union(*marks.values())
    return Match(f"{spec.title}, {names.layout}", spec, _source(modules, prefix), proof, doubts, others, spare)


def sources(names: Names, config: LatentUNetConfig) -> Callable[[str], Source]:
    """Where the tensors of a net of that config are in a file without a prefix."""
    return _source(_modules(names, config), "")


def _source(modules: dict[str, tuple[str, ...]], prefix: str) -> Callable[[str], Source]:
    def source(name: str) -> Source:
        module, _, kind = name.rpartition(".")
        return Source(tuple(f"{prefix}{key}.{kind}" for key in modules[module]))

    return source


def _family(tensors: Tensors, names: Names) -> tuple[Family, str]:
    """The family that the widths of text and vector prove, and the proof in words."""
    key = f"{names.middle[2]}.transformer_blocks.0.attn2.to_k.weight"
    context = tensors.shape(key, 2)[1]
    if context not in FAMILIES:
        raise ValueError(f"its text is {context} wide; those of Stable Diffusion are {', '.join(map(str, FAMILIES))}")
    family, proof = FAMILIES[context], f"{tensors.prefix}{key} has {context} columns"
    key, vector = f"{names.whole['vector_in']}.weight", 0
    if family.vector or key in tensors.shapes:
        vector = tensors.shape(key, 2)[1]
        proof += f" and {tensors.prefix}{key} {vector}"
    if vector != family.vector:
        raise ValueError(
            f"its text is {context} wide as in {family.name}, but the vector beside it is {vector} wide and not "
            f"{family.vector}: a variant that is not read"
        )
    return family, proof


def _config(tensors: Tensors, names: Names, family: Family, depths: dict[str, int]) -> LatentUNetConfig:
    width, channels = tensors.shape(f"{names.whole['stem']}.weight", 4)[:2]
    if channels not in (LATENT_CHANNELS, LATENT_CHANNELS + INPAINTING_CHANNELS):
        raise ValueError(f"its U-Net takes {channels} channels: 4, or 9 to inpaint, are read")
    count, blocks = names.size(tensors)
    levels = []
    for level in range(count):
        found = set()
        for number in range(blocks):
            name, transformer = names.down(level, number, blocks)
            c_out = tensors.shape(f"{name}.{names.block['conv1']}.weight", 4)[0]
            found.add((c_out, depths.get(transformer, 0)))
        if len(found) > 1:
            raise ValueError(f"the blocks of its level {level} differ in width or depth: a variant that is not read")
        levels += found
    for c_out, _ in levels:
        if c_out % width:
            raise ValueError(f"a level of {c_out} channels is no multiple of the {width} of its first convolution")
    return LatentUNetConfig(
        in_channels=LATENT_CHANNELS,
        image_channels=channels - LATENT_CHANNELS,
        width=width,
        multipliers=tuple(c_out // width for c_out, _ in levels),
        blocks=blocks,
        depths=tuple(depth for _, depth in levels),
        middle_depth=depths[names.middle[2]],
        context=next(context for context, known in FAMILIES.items() if known == family),
        vector=family.vector,
        heads=family.heads,
        head_width=family.head_width,
    )


def _blocks(names: Names, config: LatentUNetConfig) -> Iterator[_Block]:
    """All blocks, in the net's order."""
    count, blocks = len(config.multipliers), config.blocks
    for level, depth in enumerate(config.depths):
        for number in range(blocks):
            yield _Block(f"down.{level * (blocks + 1) + number}", *names.down(level, number, blocks), depth)
    first, second, transformer = names.middle
    yield _Block("middle.0", first, transformer, config.middle_depth)
    yield _Block("middle.1", second, "", 0)
    for step in range(count):
        for number in range(blocks + 1):
            path = f"up.{step * (blocks + 2) + number}"
            yield _Block(path, *names.up(step, number, blocks), config.depths[count - 1 - step])


def _modules(names: Names, config: LatentUNetConfig) -> dict[str, tuple[str, ...]]:
    """The net's modules -> those of the file that they are joined of."""
    modules = {ours: (theirs,) for ours, theirs in names.whole.items()}
    modules["shift"] = tuple(f"{block.name}.{names.shift}" for block in _blocks(names, config))
    for path, name, transformer, depth in _blocks(names, config):
        modules |= {f"{path}.{ours}": (f"{name}.{theirs}",) for ours, theirs in names.block.items()}
        if depth:
            modules |= {
                f"{path}.transformer.{ours}": (f"{transformer}.{theirs}",) for ours, theirs in TRANSFORMER.items()
            }
        for number in range(depth):
            for ours, theirs in LAYER.items():
                keys = tuple(f"{transformer}.transformer_blocks.{number}.{part}" for part in theirs)
                modules[f"{path}.transformer.layers.{number}.{ours}"] = keys
    count, blocks = len(config.multipliers), config.blocks
    for level in range(count - 1):
        modules[f"down.{level * (blocks + 1) + blocks}"] = (names.shrink(level, blocks),)
        step = count - 2 - level
        grow = names.grow(step, blocks, bool(config.depths[level + 1]))
        modules[f"up.{step * (blocks + 2) + blocks + 1}.conv"] = (grow,)
    return modules


def _foreign(tensors: Tensors, modules: dict[str, tuple[str, ...]]) -> list[str]:
    """The tensors of the U-Net's parts that are none of its modules'."""
    known = {name for names in modules.values() for name in names}
    parts = {name.partition(".")[0] for name in known}
    return sorted(
        name for name in tensors.shapes if name.partition(".")[0] in parts and name.rpartition(".")[0] not in known
    )


def _readings(
    marks: set[str], family: Family, config: LatentUNetConfig
) -> tuple[Spec, tuple[str, ...], tuple[Spec, ...]]:
    """What the file's net predicts; what is doubtful about that; and the other reading."""
    second = family.name == FAMILIES[1024].name

    def reading(prediction: str, betas: str = "scaled_linear") -> Spec:
        side = SD2_V_SIDE if second and prediction == "v" else family.side
        return Spec(
            architecture="latent_unet",
            config=asdict(config),
            prediction=prediction,
            shape=(LATENT_CHANNELS, side, side),
            sigma_min=table(betas)[0],
            sigma_max=table(betas)[-1],
            channels=family.latents,
            title=family.name + (", inpainting" if config.image_channels else ""),
            betas=betas,
        )

    if V_MARK in marks:
        return reading("v", "zero_snr" if ZERO_SNR_MARK in marks else "scaled_linear"), (), ()
    if second and not config.image_channels:
        doubt = "whether its net predicts v, as those for 768 pixels do, or eps, as those for 512: taken as v"
        return (
            reading("v"),
            (f"the file does not say {doubt}; choose eps in prediction if pictures are noise",),
            (reading("eps"),),
        )
    doubt = "the file does not say whether its net predicts eps, as nearly all of its family do, or v: taken as eps"
    return reading("eps"), (doubt,), (reading("v"),)
