"""Watercolour: transparent washes that dry with dark edges, pigment that settles in the grain, paper for the lights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .abstraction import abstraction
from .guided import strips
from .noise import noise, octaves
from .paper import slope, tooth
from .reduced import soft
from .tones import smoothstep, spread_tones

PAPER = (0.985, 0.98, 0.965)
DARKEST = 0.1
SPREAD = 0.3  # of the tones over all that paper and paint have
WASHES = 6  # from paper to the darkest
WATER = 0.68  # of the pigment that would be as dark as the picture
CHROMA = 1.35


def watercolour(
    picture: Tensor, lightness: Tensor, unit: float, structure: float, generator: torch.Generator
) -> Tensor:
    """A picture [3, H, W] in watercolour; `unit` pixels are one of a picture of 512.

    A wash is a density of pigment D that lets C through, and D more of it C - (C - C²)(D - 1) (Bousseau, Kaplan,
    Thollot & Sillion 2006, "Interactive watercolor rendering with temporal coherence and abstraction").
    """
    height, width = lightness.shape
    looser = 1.5 - structure
    picture = (picture * (spread_tones(lightness, SPREAD) / lightness.clamp(min=0.05)).clamp(max=1.6)).clamp(max=1)
    loose = abstraction(abstraction(picture, 7 * looser * unit), 5 * looser * unit)
    fine = _transparent(_wobbled(abstraction(picture, 2.5 * looser * unit), 1.0 * looser * unit, unit, generator))
    wash = _washes(_transparent(_wobbled(loose, 2.8 * looser * unit, unit, generator)), unit, generator)
    # What is much darker than the washes is drawn into them when they are dry, much lighter was left out.
    apart = soft((fine - wash).mean(0, keepdim=True).abs(), 1.2 * unit)
    wet = torch.lerp(wash, fine, smoothstep(0.03 * looser, 0.12 * looser, apart))
    grain = tooth(height, width, 4.5 * unit, generator)
    density = _density(wet, grain, unit, generator)
    dry = wet - (wet - wet.square()) * (density - 1)
    paper = torch.tensor(PAPER)[:, None, None] * (1 + 0.012 * torch.tanh(slope(grain) * max(unit, 0.5)))
    return dry.clamp(0, 1) * paper


def _transparent(picture: Tensor) -> Tensor:
    """Colours [3, H, W] as transparent paint has them: lighter, clearer, never black; lights are bare paper."""
    grey = picture.mean(0, keepdim=True)
    clear = (grey + (picture - grey) * CHROMA).clamp(0, 1)
    clear = (DARKEST + (1 - DARKEST) * clear) ** WATER
    return torch.lerp(clear, torch.ones_like(clear), smoothstep(0.7, 0.98, grey))


def _washes(colours: Tensor, unit: float, generator: torch.Generator) -> Tensor:
    """Colours [3, H, W] laid in few washes over each other, each with an edge, here and there run into the next."""
    height, width = colours.shape[1:]
    grey = colours.mean(0, keepdim=True)
    at = grey * WASHES + 0.22 * octaves(height, width, 50 * unit, 3, generator)
    step = at.floor()
    wet = 0.08 + 0.16 * smoothstep(-0.5, 1.5, noise(height, width, 70 * unit, generator))
    laid = (step + ((at - step - 0.5) / (2 * wet) + 0.5).clamp(0, 1)) / WASHES
    laid = torch.lerp(grey, laid, 0.55).clamp(0.05, 1)
    return (colours * (laid / grey.clamp(min=0.05))).clamp(0, 1)


def _wobbled(picture: Tensor, most: float, unit: float, generator: torch.Generator) -> Tensor:
    """A picture [3, H, W] whose edges run as water does, up to about `most` pixels away."""
    height, width = picture.shape[1:]
    moves = []
    for side in (width, height):
        slow, quick = (noise(height, width, wavelength * unit, generator) for wavelength in (22, 6))
        moves.append(slow.mul_(0.4 * most).add_(quick, alpha=0.22 * most).mul_(2 / side))
    moved = torch.empty_like(picture)
    x = (torch.arange(width) * 2 + 1) / width - 1
    for rows in strips(picture.movedim(0, -1)):
        y = (torch.arange(rows.start, rows.stop)[:, None] * 2 + 1) / height - 1
        grid = torch.stack([x + moves[0][rows], y + moves[1][rows]], -1)[None]
        moved[:, rows] = F.grid_sample(picture[None], grid, padding_mode="border", align_corners=False)[0]
    return moved


def _density(wet: Tensor, grain: Tensor, unit: float, generator: torch.Generator) -> Tensor:
    """How much more pigment than its mean dries at each pixel [H, W]."""
    height, width = grain.shape
    pigment = 1 - wet.mean(0)
    # Water carries it to the rim of a wash, from a little inside it.
    near, far = (pigment - soft(pigment[None], sigma * unit)[0] for sigma in (1.6, 5))
    rim = near.clamp(-0.05, 0.3) + 0.5 * far.clamp(-0.05, 0.3)
    flow = octaves(height, width, 110 * unit, 4, generator)
    # Where a drop runs into a wash that is nearly dry it pushes the pigment before it.
    bloom = smoothstep(1.0, 1.12, flow)
    back = bloom * (1 - bloom) * 1.6 - 0.5 * bloom
    settled = pigment * (1 - 0.5 * pigment)
    return 1 + 4.5 * rim + 0.24 * flow.clamp(-2, 1) + 0.3 * back + 0.28 * settled * -grain
