"""The Studio's side of nodes/host: what a node may ask for where there is no ComfyUI."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from . import folders
from .errors import Cancelled
from .memory import Memory

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ..models.denoising.autoencoder import Autoencoder
    from ..models.denoising.denoiser import Denoiser
    from ..models.generating import Generator
    from ..nodes.host import Models

NO_MODEL = "a MODEL comes from ComfyUI's loaders; run this workflow in ComfyUI"


@dataclass(frozen=True)
class Sampler:
    """What travels on SAMPLER wires, under the name that ComfyUI's KSAMPLER gives it."""

    sampler_function: Callable


@dataclass(frozen=True)
class Bar:
    host: StudioHost
    node: str | None
    total: int
    wants_preview: bool

    def update(self, done: int, preview: Image.Image | None = None, note: str = "") -> None:
        told = {"note": note} if note else {}
        self.host.listener("progress", {"value": done, "max": self.total, "node": self.node, **told})
        if preview is not None and self.wants_preview:
            self.host.listener("preview", {"node": self.node, "image": preview})


@dataclass
class StudioHost:
    """`listener(event, data)` hears what happens; set `cancel` from any thread to stop the run within a step.

    `running` is the id of the node at work. `part` (i, N) is the part of a run that this process does.
    """

    listener: Callable[[str, dict], None] = lambda event, data: None
    wants_preview: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)
    running: str | None = None
    part: tuple[int, int] = (0, 1)

    def device(self) -> torch.device:
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def check_cancelled(self) -> None:
        if self.cancel.is_set():
            raise Cancelled

    def progress(self, total: int) -> Bar:
        bar = Bar(self, self.running, total, self.wants_preview)
        bar.update(0)
        return bar

    def denoiser_files(self) -> dict[str, str]:
        return safetensors_in(models_folder())

    def autoencoder_files(self) -> dict[str, str]:
        return safetensors_in(models_folder())

    def lora_files(self) -> dict[str, str]:
        return safetensors_in(models_folder())

    def cache_folder(self) -> Path:
        return Path(os.environ.get("VARIFOLD_CACHE") or Path.home() / ".cache/varifold/fits")

    def output_folder(self) -> Path:
        return folders.current().output

    def input_folders(self) -> tuple[Path, ...]:
        return folders.current().input

    def temp_folder(self) -> Path:
        return folders.current().temp

    def named_file(self, name: str) -> Path | None:
        try:
            return folders.current().find(name)
        except (OSError, ValueError):
            path = safetensors_in(models_folder()).get(name)
            return path and Path(path)

    def adopt(self, loaded: Denoiser | Autoencoder | Generator) -> None:
        """Nothing to do: `load` knows all that it brought."""

    def load(self, *adopted: Denoiser | Autoencoder | Generator) -> None:
        self.memory.bring(*(each.net for each in adopted))

    @cached_property
    def memory(self) -> Memory:
        """What of the weights lies on `device()`."""
        import torch

        device = self.device()

        def free() -> int:
            # What PyTorch has taken and does not use now counts: it gives that out first.
            unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return torch.cuda.mem_get_info(device)[0] + unused

        return Memory(device, free if device.type == "cuda" else lambda: 0)

    @property
    def models(self) -> Models:
        raise ValueError(NO_MODEL)

    def sampler(self, function: Callable) -> Sampler:
        return Sampler(function)


def models_folder() -> Path:
    """Where checkpoints lie: $VARIFOLD_MODELS, else ~/.local/share/varifold/models."""
    return Path(os.environ.get("VARIFOLD_MODELS") or Path.home() / ".local/share/varifold/models")


def safetensors_in(folder: Path) -> dict[str, str]:
    """Names relative to the folder -> paths; files that a link takes out of the folder are left out."""
    root = folder.resolve()
    return {
        path.relative_to(folder).as_posix(): str(path)
        for path in sorted(folder.rglob("*.safetensors"))
        if path.is_file() and path.resolve().is_relative_to(root)
    }
