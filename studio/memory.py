"""The weights on the Studio's device: brought when used, and sent away, the oldest first, when memory is short."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

RESERVE = 1 << 30  # bytes that a run is left beside its weights


class Memory:
    """`free()` is the number of free bytes of `device`. Nets are held weakly: a cleared workflow lets go of its own."""

    def __init__(self, device: torch.device, free: Callable[[], int]):
        self.device, self.free = device, free
        self._nets: list[weakref.ref[nn.Module]] = []

    def bring(self, *nets: nn.Module) -> None:
        """Move the nets to the device, for as long as no others need its memory."""
        import torch

        needed = sum(bytes_of(net) for net in nets if not self._has(net))
        with torch.inference_mode(False):
            for net in self._others(nets):
                if self.free() >= needed + RESERVE:
                    break
                net.to("cpu")
            for net in nets:
                net.to(self.device)
        self._nets = [*map(weakref.ref, self._others(nets)), *map(weakref.ref, nets)]

    def _has(self, net: nn.Module) -> bool:
        return all(tensor.device.type == self.device.type for tensor in net.state_dict().values())

    def _others(self, nets: tuple[nn.Module, ...]) -> list[nn.Module]:
        known = [found for ref in self._nets if (found := ref()) is not None]
        return [net for net in known if all(net is not each for each in nets)]


def bytes_of(net: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
