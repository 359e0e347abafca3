"""Denoisers and generators as nodes ask them for pictures: loaded, in parts, with the bar and the cancel button."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .host import current
from .model import ModelDenoiser

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.denoiser import Denoiser
    from ..models.explain.asking import Asked
    from ..models.generating import Generator
    from ..models.sampling.trace import Recorder
    from ..models.train.pictures import Pictures

AT_ONCE = 64  # pictures


class Bar:
    """The bar of the running node, counted on by one; stops the run when it is cancelled."""

    def __init__(self, total: int):
        self.host, self.done = current(), 0
        self.progress = self.host.progress(max(1, total))

    def tick(self, *_: Any) -> None:
        self.host.check_cancelled()
        self.done += 1
        self.progress.update(self.done)


def asked(model: Denoiser | Generator, steps: int, guidance: float) -> Asked:
    """What draws with a model, of a wire. Raises ValueError for what cannot be asked without more inputs."""
    from ..models.explain.asking import Asked

    if isinstance(model, ModelDenoiser):
        raise ValueError("this is a MODEL of the host's, whose inside is not to be seen: take Load Denoiser's")
    return Asked(model, steps, guidance)


def load(model: Denoiser | Generator) -> None:
    """Brings its weights, and those of the guide and the autoencoder that it may have, to the device."""
    others = [getattr(model, "autoencoder", None), getattr(getattr(model, "guidance", None), "guide", None)]
    current().load(model, *(other for other in others if other is not None))


def parts_of(asked: Asked, count: int) -> int:
    """How many calls of the net drawing so many pictures takes."""
    return -(-count // AT_ONCE) * asked.evaluations


def draw_all(asked: Asked, noise: Tensor, cond: Any, bar: Bar, recorder: Recorder | None = None) -> Tensor:
    """Noise [B, ...] and a condition for all or for each -> x0 [B, C, H, W] on the CPU."""
    import torch

    drawn = []
    for first in range(0, len(noise), AT_ONCE):
        part = noise[first : first + AT_ONCE]
        own = some_of(cond, slice(first, first + AT_ONCE))
        load(asked.model)
        drawn.append(asked.draw(part.to(asked.model.device), own, observe=bar.tick, recorder=recorder).cpu())
    return torch.cat(drawn)


def some_of(cond: Any, which: slice) -> Any:
    """A condition for some of a batch."""
    if cond is None:
        return None
    return {name: tensor if len(tensor) == 1 else tensor[which] for name, tensor in cond.items()}


def colours(asked: Asked, x0: Tensor) -> Tensor:
    """x0 -> pictures [B, H, W, 4] in 0..1, black where nothing is."""
    import torch

    rgb, alpha = (part.float().cpu() for part in asked.model.pictures(x0.to(asked.model.device)))
    return torch.cat([rgb, alpha[..., None]], -1)


def said_of(pictures: Pictures, numbers: Sequence[int]) -> list[str]:
    """What is said of some pictures of a training set, as text."""
    return [" ".join(pictures.words[row] for row in pictures.rows[number] if row) for number in numbers]


def check_fits(model: Denoiser | Generator, pictures: Pictures) -> None:
    """Raises ValueError unless a model draws pictures of the size and kind of a training set."""
    latents = getattr(model, "latents", None)
    scale, channels = (1, model.channels) if latents is None else (latents.downscale, "rgb")
    own, wired = (channels, *(side * scale for side in model.shape[1:])), (pictures.channels, *pictures.size)
    if own != wired:
        kinds = {"rgb": "opaque", "rgba": "with transparency"}
        told = [f"{wide}×{high}, {kinds.get(channels, channels)}" for channels, high, wide in (own, wired)]
        raise ValueError(f"the model's pictures are {told[0]}, and those wired {told[1]}: make Training Pictures alike")


def described(rgba: Tensor, bar: Bar | None = None) -> Any:
    """The features of pictures [N, H, W, 3 or 4] in 0..1, [N, D] float64."""
    import numpy as np

    from ..dataset.measures.features import features

    parts = [features([])]
    for part in rgba.split(AT_ONCE):
        parts.append(features((part.clamp(0, 1) * 255).round().byte().numpy()))
        if bar is not None:
            bar.tick()
    return np.concatenate(parts)
