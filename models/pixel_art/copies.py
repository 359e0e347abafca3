"""How much of what a denoiser draws is copied from its training pictures.

    python -m varifold.models.pixel_art.copies [DENOISER.safetensors] [--sheet PAIRS.png]

Draws what the naming figure draws, and prints for a threshold the share of it that is nearer than that to a training
tile, beside the same share of held-out tiles, which nobody copied, and of planted copies, which are.

A picture's distance to a training tile is what is left of it after the tile, shifted, flipped and recoloured to fit it
best, is taken away: the least squares of picture ≈ A·tile over the 4×4 matrices A on (r·a, g·a, b·a, a), divided by
what is left when the picture's own silhouette in one colour is taken away. 0 is a copy; 1 is nothing in common.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import load_denoiser
from . import tiles
from .colours import rotate_hue
from .prompts import NAMING, SEEDS
from .sheets import draw, sheet

SHIFTS = range(-2, 3)
CHUNK = 64
THRESHOLDS = (0.05, 0.1, 0.2)
RIDGE = 1e-6  # of the tile's own size: colours that it hardly has tell nothing


def views(rgba: Tensor) -> list[Tensor]:
    """Every shift and flip of [N, 4, 32, 32], as premultiplied features [N, 4, 1024]."""
    features = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1).double()
    moved = [
        mirrored.roll((down, right), (2, 3))
        for mirrored in (features, features.flip(3))
        for down in SHIFTS
        for right in SHIFTS
    ]
    return [view.flatten(2) for view in moved]


def distances(pictures: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each picture [N, 4, 32, 32] to the nearest reference, and which one that is: [N] and [N].

    An empty picture is infinitely far from all.
    """
    features = views(pictures)[len(SHIFTS) ** 2 // 2]
    alpha = features[:, 3]
    whole = features.square().sum((1, 2))
    mean = (features @ alpha[:, :, None])[..., 0] / alpha.sum(1, keepdim=True).clamp(min=1)
    plain = (features - mean[:, :, None] * alpha[:, None]).square().sum((1, 2))
    best = torch.full((len(pictures),), torch.inf, dtype=torch.float64)
    which = torch.zeros(len(pictures), dtype=torch.long)
    for view in views(references):
        for start in range(0, len(view), CHUNK):
            part = view[start : start + CHUNK]
            gram = part @ part.mT
            ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-6)
            inverse = torch.linalg.inv(gram + ridge[:, None, None] * torch.eye(4, dtype=torch.float64))
            cross = torch.einsum("qcp,rdp->qrcd", features, part)
            explained = torch.einsum("qrcd,rde,qrce->qr", cross, inverse, cross)
            left = (whole[:, None] - explained).clamp(min=0) / plain.clamp(min=1e-6)[:, None]
            least, row = left.min(1)
            closer = (least < best) & (alpha.sum(1) > 0)
            best, which = torch.where(closer, least, best), torch.where(closer, row + start, which)
    return best.float(), which


def snapped(rgba: Tensor) -> Tensor:
    """With alpha 0 or 1 and transparent pixels black, as the denoiser learns and draws them."""
    alpha = (rgba[:, 3:] > 0.5).float()
    return torch.cat([rgba[:, :3] * alpha, alpha], 1)


def plant(rgba: Tensor, generator: torch.Generator) -> Tensor:
    """Copies of tiles [N, 4, 32, 32] as a denoiser might make them: moved, mirrored, recoloured, and a little noisy."""
    count = len(rgba)
    angle = torch.rand(count, generator=generator) * 2 * math.pi
    colour = rotate_hue(rgba[:, :3], angle)
    colour = (colour + 0.03 * torch.randn(colour.shape, generator=generator)).clamp(0, 1)
    copies = torch.cat([colour * rgba[:, 3:], rgba[:, 3:]], 1)
    shift = torch.randint(min(SHIFTS), max(SHIFTS) + 1, (count, 2), generator=generator).tolist()
    flip = torch.rand(count, generator=generator) < 0.5
    copies = torch.where(flip[:, None, None, None], copies.flip(3), copies)
    return torch.stack([copy.roll(by, (1, 2)) for copy, by in zip(copies, shift, strict=True)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="copies", description="Measure how much a denoiser copies.")
    parser.add_argument("denoiser", type=Path, nargs="?", help="a .safetensors file (default: the embedded one)")
    parser.add_argument("--sheet", type=Path, help="a picture to write: what was drawn, above the nearest tiles")
    options = parser.parse_args(arguments)

    train, held = (snapped(tiles.load("tiles", split).rgba) for split in ("train", "held"))
    generator = torch.Generator().manual_seed(0)
    planted = plant(train[torch.randperm(len(train), generator=generator)[:200]], generator)
    drawn = draw(load_denoiser(options.denoiser), list(NAMING.values()), SEEDS)
    nearest, which = distances(drawn, train)
    columns = {"drawn": nearest, "held-out tiles": distances(held, train)[0], "planted": distances(planted, train)[0]}
    print("nearer than  " + "  ".join(f"{name:>14}" for name in columns))
    for threshold in THRESHOLDS:
        shares = (f"{(column < threshold).float().mean():14.1%}" for column in columns.values())
        print(f"{threshold:11}  " + "  ".join(shares))
    print("\nshare nearer than", THRESHOLDS[1], "by prompt:")
    for name, row in zip(NAMING, nearest.reshape(len(NAMING), -1), strict=True):
        print(
            f"{name:12} {(row < THRESHOLDS[1]).float().mean():6.0%}   least {row.min():.3f}, median {row.median():.3f}"
        )
    if options.sheet:
        order = nearest.argsort()[:48].reshape(-1, 12)
        rows = [half for part in order for half in (drawn[part], train[which[part]])]
        sheet(torch.cat(rows), 12).save(options.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
