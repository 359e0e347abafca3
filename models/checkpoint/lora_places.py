"""Where the modules that LoRA files name are in our nets, which join some of them into one layer."""

from typing import NamedTuple

from torch import nn

from . import dit_diffusers_layout, dit_layout, flux_diffusers_layout, flux_layout, sd_diffusers_layout, sd_layout

LAYOUTS = {
    "latent_unet": (sd_layout, sd_diffusers_layout),
    "dit": (dit_layout, dit_diffusers_layout),
    "flux": (flux_layout, flux_diffusers_layout),
}


class Place(NamedTuple):
    """`rows` rows of a net's tensor, from `first` on. With `swapped` the second half of the file's comes first."""

    tensor: str
    first: int
    rows: int
    swapped: bool


def places(architecture: str, net: nn.Module) -> dict[str, Place]:
    """The names of modules in every layout of a family, with _ for each dot -> their places in the net."""
    found = {}
    weights = {name: tensor for name, tensor in net.state_dict().items() if name.endswith(".weight")}
    for layout in LAYOUTS[architecture]:
        source = layout.sources(net.config)
        for name, weight in weights.items():
            if weight.ndim < 2:
                continue
            keys, swapped = source(name)
            first = 0
            for key, rows in zip(keys, _rows(net, name, weight.shape[0], len(keys)), strict=True):
                found[key.removesuffix(".weight").replace(".", "_")] = Place(name, first, rows, swapped)
                first += rows
    return found


def _rows(net: nn.Module, name: str, total: int, parts: int) -> list[int]:
    """How many rows each part of a layer has: all the same, where they are of one kind."""
    match name.split(".")[-2]:
        case "shift":
            return net.shifts
        case "qkv_up" if parts > 1:
            return [net.config.width] * 3 + [net.config.hidden]
        case "modulate" if parts > 1:  # six vectors for each block of a DiT, and two at its end
            return [6 * net.config.width] * (parts - 1) + [2 * net.config.width]
    return [total // parts] * parts
