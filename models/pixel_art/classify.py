"""Whether a recogniser that learned from real tiles names what a denoiser draws.

    python -m varifold.models.pixel_art.classify [DENOISER.safetensors]

A small convolutional net learns the 12 classes of `prompts.CLASSES` from the train split, then names the held-out tiles
and 20 sprites of each class. Prints how often it is right, each class counting the same, and what it took for what.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint import load_denoiser
from . import tiles
from .batches import SHIFT
from .colours import rotate_hue
from .copies import snapped
from .heroes import Wardrobe
from .prompts import CLASSES
from .sheets import draw

STEPS, BATCH, RATE = 1500, 60, 2e-3
DRAWN = range(100, 120)  # seeds
HEROES = 30


def recogniser() -> nn.Sequential:
    """[N, 4, 32, 32] in 0..1 -> a score for each class."""

    def stage(c_in: int, c_out: int) -> list[nn.Module]:
        return [nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU(), nn.MaxPool2d(2)]

    body = [*stage(4, 32), *stage(32, 64), *stage(64, 128)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, len(CLASSES)))


def examples(split: str, seed: int) -> list[Tensor]:
    """The real pictures of each class; heroes are put together, the held-out ones wear held-out clothes."""
    pictures, layers = tiles.load("tiles", split), tiles.load("layers", split)
    if split == "held":
        others = tiles.load("layers", "train")
        keep = [row for row, kind in enumerate(others.kinds) if kind != "body"]
        layers = layers.join(others.select(keep))
    generator = torch.Generator().manual_seed(seed)
    heroes = Wardrobe(layers).dress(600 if split == "train" else HEROES, generator)[0]
    return [snapped(heroes if kind == "hero" else pictures.of(kind).rgba) for kind in CLASSES]


def vary(rgba: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored, moved and recoloured at random."""
    count = len(rgba)
    flip, turned = (torch.rand(count, generator=generator) < 0.5 for _ in range(2))
    rgba = torch.where(flip[:, None, None, None], rgba.flip(3), rgba)
    angle = torch.rand(count, generator=generator) * 2 * math.pi * turned
    rgba = torch.cat([rotate_hue(rgba[:, :3], angle), rgba[:, 3:]], 1)
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    return rgba.roll((down, right), (2, 3))


def learn(classes: list[Tensor], seed: int = 0) -> nn.Sequential:
    """A recogniser of the classes, every one as often as any other."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = recogniser().train()
    optimiser = torch.optim.AdamW(net.parameters(), RATE)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    labels = torch.arange(len(classes)).repeat_interleave(BATCH // len(classes))
    for _ in range(STEPS):
        picks = [c[torch.randint(len(c), (BATCH // len(classes),), generator=generator)] for c in classes]
        loss = F.cross_entropy(net(vary(torch.cat(picks), generator)), labels, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    return net.eval()


@torch.no_grad()
def confusion(net: nn.Module, classes: list[Tensor]) -> Tensor:
    """How many of class i (row) were named j (column)."""
    return torch.stack([net(pictures).argmax(1).bincount(minlength=len(CLASSES)) for pictures in classes])


def show(title: str, matrix: Tensor) -> None:
    right = matrix.diagonal() / matrix.sum(1)
    print(f"{title}: {right.mean():.1%} right, classes counting the same ({int(matrix.sum())} pictures)")
    print(" " * 9 + "".join(f"{name[:6]:>7}" for name in CLASSES))
    for name, row in zip(CLASSES, matrix.tolist(), strict=True):
        print(f"{name:9}" + "".join(f"{number or '.':>7}" for number in row))
    print()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="classify", description="Have a recogniser of real tiles name drawn ones.")
    parser.add_argument("denoiser", type=Path, nargs="?", help="a .safetensors file (default: the embedded one)")
    options = parser.parse_args(arguments)
    net = learn(examples("train", 0))
    show("held-out tiles", confusion(net, examples("held", 1)))
    drawn = draw(load_denoiser(options.denoiser), list(CLASSES.values()), DRAWN)
    show("drawn", confusion(net, list(drawn.chunk(len(CLASSES)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
