"""The one door to a host: the protocol that nodes talk to, and which host answers it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...models.denoising.denoiser import Denoiser
    from ...models.denoising.space import Space


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

    def adopt(self, denoiser: Denoiser) -> None:
        """Put a freshly loaded denoiser under the host's management of memory."""

    def load(self, denoiser: Denoiser) -> None:
        """Bring the weights of an adopted denoiser to `device()`; the host may evict them once the node has run."""

    def sigma_table(self, model: Any) -> list[float]:
        """The ascending σ's of what travels on this host's MODEL wires."""

    def space(self, model: Any) -> Space:
        """The space of the model that a SAMPLER's function is called with."""

    def sampler(self, function: Callable) -> Any:
        """The object that travels on this host's SAMPLER wires, with `function` as its `sampler_function`."""


_current: Host | None = None


def use(host: Host | None) -> None:
    """Answer nodes with `host` from now on; None returns to the default."""
    global _current
    _current = host


def find() -> Host | None:
    """The host in use: the one given to `use`, else ComfyUI where it runs in this process, else None."""
    global _current
    if _current is None and "comfy.model_management" in sys.modules:
        from .comfyui import ComfyHost

        _current = ComfyHost()
    return _current


def open_routes(answer: Callable[[str, Any], dict]) -> None:
    """Where ComfyUI's server runs in this process, let it serve answer(name, question) under /varifold."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    if getattr(server, "instance", None) is not None:
        from .comfyui_routes import add

        add(server.instance.routes, answer)


def current() -> Host:
    """The host in use. Raises RuntimeError where there is none."""
    host = find()
    if host is None:
        raise RuntimeError("no host: run this graph with `varifold run` or inside ComfyUI")
    return host
