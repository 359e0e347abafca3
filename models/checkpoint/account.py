"""Every tensor accounted for: those that a net needs, and those of the file that it does not."""

import math
from collections.abc import Callable, Iterable

from torch import nn

from .header import Header
from .layout import Source
from .weights import WEIGHT_DTYPES

SCALES = ("scale_weight", "weight_scale", "comfy_quant")  # behind a module's name


def account(header: Header, source: Callable[[str], Source], net: nn.Module) -> dict[str, Source]:
    """Where each tensor of the net is. Raises ValueError for what is missing, of another shape or no weight."""
    wanted, sources, missing = net.state_dict(), {}, []
    for name in wanted:
        try:
            sources[name] = source(name)
            missing += [key for key in sources[name].keys if key not in header.tensors]
        except KeyError:
            missing.append(name)
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}. Save or download it again")
    scaled = {
        key.removesuffix("weight") + scale for source in sources.values() for key in source.keys for scale in SCALES
    }
    if found := scaled & header.tensors.keys():
        raise ValueError(
            f"its weights are stored with scales of their own ({min(found)}), which are not read: take the float16, "
            "bfloat16 or plain fp8 file, or ComfyUI's own nodes"
        )
    for name, (keys, _) in sources.items():
        parts = [header.tensors[key] for key in keys]
        for key, info in zip(keys, parts, strict=True):
            if info.dtype not in WEIGHT_DTYPES:
                raise ValueError(f"tensor {key} has dtype {info.dtype}, weights need {', '.join(WEIGHT_DTYPES)}")
        found, needed = [info.shape for info in parts], tuple(wanted[name].shape)
        if not _fits(found, needed):
            shown = " and ".join(str(list(shape)) for shape in found)
            raise ValueError(f"tensor {' and '.join(keys)} has shape {shown}, its config needs {list(needed)}")
    return sources


def unused(header: Header, sources: Iterable[Source]) -> tuple[str, ...]:
    """The names of the file's tensors that none of the sources is made of."""
    return tuple(sorted(set(header.tensors).difference(*(source.keys for source in sources))))


def _fits(found: list[tuple[int, ...]], needed: tuple[int, ...]) -> bool:
    """Whether tensors, joined along their first dimension, are the one needed, but for ones at the end of a shape."""
    if found == [needed]:
        return True
    rows, rests = [shape[:1] for shape in found], {without_ones(shape[1:]) for shape in found}
    if () in rows or not needed:
        return False
    return rests == {without_ones(needed[1:])} and sum(math.prod(row) for row in rows) == needed[0]


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape but for the ones at its end: a convolution of one pixel is a Linear."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
