"""The one door to a host: the protocol that nodes talk to, and which host answers it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from ...models.denoising.autoencoder import Autoencoder
    from ...models.denoising.denoiser import Denoiser
    from ...models.denoising.guidance import Guidance
    from ...models.denoising.space import Space
    from ...models.generating import Generator


class Progress(Protocol):
    """A bar of the node that is running."""

    wants_preview: bool

    def update(self, done: int, preview: Image.Image | None = None, note: str = "") -> None:
        """Show that `done` of the total is done, with a picture of the state and a note on it if there are."""


Run = Callable[["Callable[[Tensor, float], Tensor]", "Tensor"], "Tensor"]
"""run(D, x): what walks a state down with D(x, sigma) -> x0."""


class Facts(NamedTuple):
    """What there is to know of a MODEL: its noise levels, and its latents [B, channels, height, width].

    `dimensions` is 2 for pictures and 3 for videos, `downscale` the pixels of a latent's side, `side` the size that it
    draws best, in pixels, `noise_scale` the spread of its noise at σ = 1.
    """

    space: Space
    sigma_min: float
    sigma_max: float
    channels: int
    dimensions: int
    downscale: int
    side: int
    noise_scale: float = 1.0


class Style(NamedTuple):
    """What a MODEL should draw like: `pictures` [1, 3, H, W] in 0..1, and what `shares`, of the sum 1, they have.

    `strength` goes from 0 to 1, `start` and `end` are parts of the way from σ_max to 0; with `composition` it acts in
    all self-attention, else where that draws style. `seed` is that of the noise on the pictures.
    """

    pictures: list[Tensor]
    shares: list[float]
    strength: float
    composition: bool
    start: float
    end: float
    seed: int


class Models(Protocol):
    """What a node may do with the MODELs and VAEs of a host."""

    def facts(self, model: Any) -> Facts:
        """What kind of MODEL it is."""

    def identity(self, model: Any) -> tuple[str, str]:
        """What kind of net it is, the same anywhere, and what tells it from any other patched one, in this process."""

    def sigma_table(self, model: Any) -> list[float]:
        """Its ascending σ's."""

    def model_inside(self, model: Any) -> Any:
        """The MODEL behind the model that a SAMPLER's function is called with."""

    def catching_negatives(self, extra_args: dict) -> tuple[dict, Callable[[], Tensor]]:
        """The `extra_args` of a SAMPLER's function, changed, and what then gives the last x0 without the prompt."""

    def fitted(self, model: Any, latent: dict[str, Any]) -> Tensor:
        """The samples of a LATENT, an empty one's with the channels and of the scale that the MODEL has."""

    def draw(
        self,
        model: Any,
        run: Run,
        *,
        positive: list,
        negative: list,
        guidance: Guidance,
        scale: float,
        sigmas: Tensor,
        seed: int,
        noise: Tensor,
        latent: Tensor,
        mask: Tensor | None,
        pairs: bool,
    ) -> Tensor:
        """Samples for a LATENT wire, by `run` with the MODEL guided, its patches, hooks and areas acting.

        With `pairs` D gives x0 and what it would be without the prompt.
        `noise` and `latent` [B, C, H, W]: unit normals, and what to start from, zeros for nothing. `mask` [B, 1, h, w]:
        1 is repainted. Of `run`, x0 and state are in the MODEL's own scale.
        """

    def to_wire(self, model: Any, x0: Tensor) -> Tensor:
        """x0 of a run, as it travels on LATENT wires."""

    def from_wire(self, model: Any, samples: Tensor) -> Tensor:
        """Samples of a LATENT wire, as they are in a run."""

    def rough(self, model: Any, x0: Tensor) -> Tensor:
        """x0 of a run as small colours [B, h, w, 3] in 0..1: a rough view that costs nothing."""

    def styled(self, model: Any, vae: Any, style: Style) -> Any:
        """The MODEL, drawing in a style. Raises ValueError where that cannot be, or the VAE is another MODEL's."""

    def encode(self, vae: Any, rgb: Tensor) -> Tensor:
        """Colours [B, H, W, 3] -> samples for a LATENT wire."""

    def decode(self, vae: Any, samples: Tensor) -> Tensor:
        """Samples of a LATENT wire -> colours [B, H, W, 3], float32, on the CPU."""


class Host(Protocol):
    """What a node may ask of the program that it runs in."""

    def device(self) -> torch.device:
        """Where denoisers run."""

    @property
    def part(self) -> tuple[int, int]:
        """Part i of the N into which several processes divide a run, as (i, N); (0, 1) is the whole."""

    def check_cancelled(self) -> None:
        """Raise the host's own cancellation error if the user has cancelled the run."""

    def progress(self, total: int) -> Progress:
        """Start the bar of the running node at 0 of `total`."""

    def denoiser_files(self) -> dict[str, str]:
        """Safetensors files of the host's model folders: name shown to the user -> path."""

    def autoencoder_files(self) -> dict[str, str]:
        """Safetensors files that may hold an autoencoder: name shown to the user -> path."""

    def lora_files(self) -> dict[str, str]:
        """Safetensors files that may hold a LoRA: name shown to the user -> path."""

    def adopt(self, loaded: Denoiser | Autoencoder | Generator) -> None:
        """Put what was freshly loaded under the host's management of memory."""

    def load(self, *adopted: Denoiser | Autoencoder | Generator) -> None:
        """Bring weights of what was adopted to `device()`; the host may evict them once the node has run."""

    def cache_folder(self) -> Path:
        """Where results may be kept that took long to find."""

    def output_folder(self) -> Path:
        """Where what a workflow makes is kept."""

    def input_folders(self) -> tuple[Path, ...]:
        """Where a user puts what workflows read, in the order in which they are searched."""

    def temp_folder(self) -> Path:
        """Where pictures lie that a node only shows."""

    def named_file(self, name: str) -> Path | None:
        """The file of the folders of pictures or of models that a node's widget names, if there is one."""

    @property
    def models(self) -> Models:
        """Its MODELs and VAEs. Raises ValueError if this host has none."""

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
