"""Pictures for a training that lie in no folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from ..pixel_art import tiles
from .picture_files import Source


def embedded_tiles() -> list[Source]:
    """The tiles that the embedded denoiser learned from, with their kinds as labels and their words as captions.

    Held out are those that it never saw.
    """
    return [
        Source(path, partial(_picture, rgba.movedim(0, -1)), kind, " ".join(words), part)
        for part in ("train", "held")
        for own in [tiles.load("tiles", part)]
        for rgba, kind, words, path in zip(own.rgba, own.kinds, own.words, own.paths, strict=True)
    ]


def given(pictures: Sequence[tuple[Tensor, Tensor]], texts: Sequence[str]) -> list[Source]:
    """Pictures, each as colours [H, W, 3] and alpha [H, W] in 0..1, with a text for each: its label and its caption."""
    return [
        Source(f"picture {number}", partial(_picture, torch.cat([rgb, alpha[..., None]], -1)), text, text)
        for number, ((rgb, alpha), text) in enumerate(zip(pictures, texts, strict=True))
    ]


def _picture(levels: Tensor) -> Image.Image:
    return Image.fromarray((levels.clamp(0, 1) * 255).round().byte().cpu().numpy())
