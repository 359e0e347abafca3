"""Sheets of what a denoiser draws, a prompt a row, on the grey that shows both outlines and transparency.

    python -m varifold.models.pixel_art.sheets FOLDER [DENOISER.safetensors]

writes one for each number of steps: sheet_8.png, sheet_12.png, sheet_20.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..checkpoint import load_denoiser
from ..denoising.denoiser import Denoiser
from ..denoising.pixels import decode
from ..sampling import schedule
from ..sampling.sample import sample
from .prompts import GUIDANCE, SHEET, SOLVER, STEPS
from .tiles import SIDE

PAPER = 96 / 255
GAP = 2
SHOWN = range(12)  # seeds of a sheet
NUMBERS_OF_STEPS = (8, 12, 20)


def draw(
    denoiser: Denoiser, prompts: Sequence[str], seeds: Sequence[int], *, steps: int = STEPS, solver: str = SOLVER
) -> Tensor:
    """Sprites as straight RGBA [prompts × seeds, 4, 32, 32] in 0..1; one of a seed is the same in any set."""
    sigmas = schedule.karras(steps, denoiser.sigma_min, denoiser.sigma_max)
    rows = []
    for prompt in prompts:
        options = {"solver": solver, "batch": len(seeds), "indices": list(seeds), "guidance": GUIDANCE}
        rgb, alpha = decode(sample(denoiser, sigmas, cond=denoiser.prompt(prompt), **options), denoiser.channels)
        rows.append(torch.cat([rgb, alpha[..., None]], -1).movedim(-1, 1))
    return torch.cat(rows)


def sheet(rgba: Tensor, columns: int, zoom: int = 2) -> Image.Image:
    """Sprites [N, 4, 32, 32] side by side, each pixel `zoom` wide."""
    colour, alpha = rgba[:, :3], rgba[:, 3:]
    cells = torch.nn.functional.pad(colour * alpha + PAPER * (1 - alpha), [GAP] * 4, value=PAPER)
    rows = -(-len(cells) // columns)
    blank = torch.full((rows * columns - len(cells), *cells.shape[1:]), PAPER)
    side = SIDE + 2 * GAP
    grid = torch.cat([cells, blank]).reshape(rows, columns, 3, side, side).permute(0, 3, 1, 4, 2)
    picture = Image.fromarray((grid.reshape(rows * side, columns * side, 3) * 255).round().byte().numpy())
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sheets", description="Draw sheets with few and with many steps.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("denoiser", type=Path, nargs="?", help="a .safetensors file (default: the embedded one)")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    denoiser = load_denoiser(options.denoiser)
    for steps in NUMBERS_OF_STEPS:
        path = options.folder / f"sheet_{steps}.png"
        sheet(draw(denoiser, SHEET, SHOWN, steps=steps), len(SHOWN)).save(path)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
