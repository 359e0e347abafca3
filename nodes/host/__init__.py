"""The one door to a host: the protocol that nodes talk to, and which host answers it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...models.denoising.denoiser import Denoiser


class Progress(Protocol):
    """A bar of the node that is running."""

    wants_preview: bool

    def update(self, done: int, preview: Image.Image | None = None) -> None:
        """Show that `done` of the total is done, with a picture of the state if there is one."""


class Host(Protocol):
    """What a node may ask of the program that it runs in."""

    def device(self) -> torch.device:
        """Where denoisers run."""

    def check_cancelled(self) -> None:
        """Raise the host's own cancellation error if the user has cancelled the run."""

    def progress(self, total: int) -> Progress:
        """Start the bar of the running node at 0 of `total`."""

    def denoiser_files(self) -> dict[str, str]:
        """Safetensors files of the host's model folders: name shown to the user -> path."""

    def load(self, denoiser: Denoiser) -> None:
        """Bring the weights to `device()`; the host may evict them once the node has run."""

    def sampler(self, function: Callable) -> Any:
        """The object that travels on this host's SAMPLER wires, with `function` as its `sampler_function`."""


_current: Host | None = None


def use(host: Host | None) -> None:
    """Answer nodes with `host` from now on; None returns to the default."""
    global _current
    _current = host


def current() -> Host:
    """The host in use: the one given to `use`, else ComfyUI where it runs in this process."""
    global _current
    if _current is None:
        if "comfy.model_management" not in sys.modules:
            raise RuntimeError("no host: run this graph with `varifold run` or inside ComfyUI")
        from .comfyui import ComfyHost

        _current = ComfyHost()
    return _current
