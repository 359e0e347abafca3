"""What a LoRA file holds, told by the names and shapes of its tensors.

Trainers in the manner of kohya write lora_unet_<module>.lora_down.weight with _ for each dot of the module's name;
diffusers and PEFT write unet.<module>.lora_A.weight, and older diffusers <module>.lora.down.weight or
<module's block>.processor.to_q_lora.down.weight.
"""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .account import without_ones
from .errors import CheckpointError, quote
from .header import Header, read_header
from .sd_family import FAMILIES
from .weights import READABLE, WEIGHT_DTYPES

TEXT = ("lora_te", "text_encoder", "clip_l.", "clip_g.", "t5xxl.")
BEFORE = re.compile(
    r"((base_model\.model|model\.diffusion_model|diffusion_model|unet|transformer)\.|(lora_unet|lora_transformer|lycoris)_)*"
)
ROLES = {
    f"{before}{ours}{after}.weight": role
    for before, after, names in (
        (".lora_", "", {"down": "down", "up": "up", "mid": "mid", "A": "down", "B": "up"}),
        (".lora_", ".default", {"A": "down", "B": "up"}),
        (".lora.", "", {"down": "down", "up": "up"}),
        ("_lora.", "", {"down": "down", "up": "up"}),
    )
    for ours, role in names.items()
} | {".alpha": "alpha"}
OTHER_KINDS = {
    "DoRA": re.compile(r"\.(dora_scale|lora_magnitude_vector(\.default)?(\.weight)?)$"),
    "LoHa": re.compile(r"\.hada_\w+$"),
    "LoKr": re.compile(r"\.lokr_\w+$"),
    "IA3": re.compile(r"\.on_input$"),
    "OFT": re.compile(r"\.oft_\w+$"),
    "LoRA with biases": re.compile(r"\.lora_B(\.default)?\.bias$"),
    "whole differences": re.compile(r"\.(diff|diff_b|w_norm|b_norm)$"),
}
# (what the name of a module holds, what its net seems to be)
HINTS = (
    ("double_blocks_", "Flux or one of its kin"),
    ("single_transformer_blocks_", "Flux or one of its kin"),
    ("joint_blocks_", "Stable Diffusion 3"),
    ("_txt_mlp_", "Qwen Image"),
    ("_cross_attn_", "Wan"),
    ("down_blocks_", "a U-Net of Stable Diffusion"),
    ("input_blocks_", "a U-Net of Stable Diffusion"),
)
MAX_RANK = 4096


class Factors(NamedTuple):
    """A change of one module by two small tensors, perhaps with `mid` between them: their names in the file.

    `rank` is their common size, `shape` that of the change.
    """

    up: str
    down: str
    mid: str | None
    alpha: str | None
    rank: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class LoraFile:
    """`factors` by module, its name with _ for each dot; `others` are modules that are changed in another way, and how.

    `text` counts the tensors for text encoders, `strange` names those that are none of these.
    """

    path: Path
    header: Header
    factors: dict[str, Factors]
    others: dict[str, str]
    text: int
    strange: tuple[str, ...]

    @property
    def seems(self) -> str:
        """What it was made for, in words, as far as that can be told."""
        for module, factors in self.factors.items():
            if module.endswith("attn2_to_k") and factors.shape[1] in FAMILIES:
                return FAMILIES[factors.shape[1]].name
        modules = [*self.factors, *self.others]
        return next(
            (net for part, net in HINTS if any(part in module for module in modules)),
            "a net that is not known here",
        )


def read_lora(path: str | os.PathLike) -> LoraFile:
    """Reads a LoRA file's header. Raises CheckpointError, also for factors that do not belong together."""
    header, path = read_header(path), Path(path)
    roles: dict[str, dict[str, str]] = defaultdict(dict)
    others, text, rest = {}, 0, []
    for name in header.tensors:
        kind = next(((kind, found) for kind, end in OTHER_KINDS.items() if (found := end.search(name))), None)
        if name.startswith(TEXT):
            text += 1
        elif kind:
            others[_module(name[: kind[1].start()])] = kind[0]
        elif end := next((end for end in ROLES if name.endswith(end)), None):
            module, role = _module(name.removesuffix(end)), ROLES[end]
            if role in roles[module]:
                raise CheckpointError(f"{path} names one module twice: {quote(roles[module][role])} and {quote(name)}")
            roles[module][role] = name
        else:
            rest.append(name)
    strange = [name for name in rest if _module(name.rpartition(".")[0]) not in others]
    factors = {}
    for module, names in roles.items():
        if module in others:
            continue
        if names.keys() == {"alpha"}:
            strange.append(names["alpha"])
        else:
            factors[module] = _factors(path, header, names)
    return LoraFile(path, header, factors, others, text, tuple(sorted(strange)))


def _module(name: str) -> str:
    name = name[BEFORE.match(name).end() :].replace(".processor.", ".")
    # The oldest names leave out that what follows an attention is a list, of a Linear and of nothing.
    return (f"{name}.0" if name.endswith(".to_out") else name).replace(".", "_")


def _factors(path: Path, header: Header, names: dict[str, str]) -> Factors:
    for role, other in (("up", "down"), ("down", "up")):
        if role not in names:
            there = names.get(other) or next(iter(names.values()))
            raise CheckpointError(f"{path}: {quote(there)} has no {role} beside it. Save or download it again")
    for role, name in names.items():
        known = READABLE if role == "alpha" else WEIGHT_DTYPES
        if header.tensors[name].dtype not in known:
            raise CheckpointError(
                f"{path}: {quote(name)} has dtype {header.tensors[name].dtype}; read are {', '.join(known)}"
            )
    shapes = {role: header.tensors[name].shape for role, name in names.items()}
    if not _belong_together(**shapes):
        shown = ", ".join(f"{quote(name)} {list(shapes[role])}" for role, name in names.items())
        raise CheckpointError(f"{path} holds shapes that do not belong together: {shown}. Save or download it again")
    rank, columns, *kernel = shapes["down"]
    if "mid" in shapes:
        kernel = shapes["mid"][2:]
    shape = (shapes["up"][0], columns, *kernel)
    return Factors(names["up"], names["down"], names.get("mid"), names.get("alpha"), rank, shape)


def _belong_together(
    up: tuple[int, ...], down: tuple[int, ...], mid: tuple[int, ...] | None = None, alpha: tuple[int, ...] = ()
) -> bool:
    factors = [up, down] if mid is None else [up, mid, down]
    if any(len(shape) < 2 or 0 in shape for shape in factors) or alpha not in ((), (1,)):
        return False
    inner = [rank for after, before in pairwise(factors) for rank in (after[1], before[0])]
    of_one_pixel = [up] if mid is None else [up, down]
    return (
        inner[0::2] == inner[1::2]
        and max(inner) <= MAX_RANK
        and all(len(without_ones(shape)) <= 2 for shape in of_one_pixel)
    )
