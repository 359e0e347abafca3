"""Pen and ink: lines that swell, hatching and cross-hatching by tone, solid blacks, on warm paper."""

from __future__ import annotations

import torch
from torch import Tensor

from .abstraction import abstraction
from .hatching import hatching
from .lines import lines
from .noise import noise
from .paper import tooth
from .reduced import soft
from .tensor import flow
from .tones import smoothstep, spread_tones

PAPER = (0.965, 0.94, 0.88)
INK = (0.075, 0.07, 0.085)
HAND = -0.8  # radians
# angle to the hand, gap in pixels at 512, from which darkness on, to which darkness it grows, half its greatest width
STROKES = ((0.0, 4.6, 0.3, 0.8, 1.15), (1.25, 5.0, 0.52, 0.9, 1.1), (0.55, 4.2, 0.7, 0.86, 2.0))
FINEST = 0.7  # of what a pen draws at 512: finer lines are no lines in pixels
SOLID = 0.84
RELIEF = 14.0  # pixels at 512 that a hatching bends from black to white


def ink(picture: Tensor, lightness: Tensor, unit: float, structure: float, generator: torch.Generator) -> Tensor:
    """A picture [3, H, W] in ink; `unit` pixels are one of a picture of 512."""
    height, width = lightness.shape
    pen = max(unit, FINEST)
    calm = abstraction(lightness[None], (5 - 3 * structure) * unit)[0]
    dark = 1 - spread_tones(calm, 0.5)
    form = soft(calm[None], 5 * unit)[0] * (RELIEF * unit)
    hand = noise(height, width, 9 * unit, generator)
    black = _covered(soft(dark[None], 2 * unit)[0] - SOLID, 0.008)
    for turn, gap, first, last, half in STROKES:
        strokes = hatching(height, width, HAND + turn, gap * pen, 60 * pen, generator, form)
        force = smoothstep(first, last, dark + 0.02 * hand)
        there = smoothstep(first, first + 0.06, dark + 0.02 * hand)
        press = torch.lerp(strokes.pressure, torch.full_like(force, 0.8), force)
        wide = (0.35 + (half - 0.35) * force) * press * there * pen
        black = torch.maximum(black, _covered(wide - strokes.distance, 1.0) * (wide * 2).clamp(0, 1))
    black = torch.maximum(black, _contours(lightness, unit, structure, hand))
    grain = tooth(height, width, 3 * unit, generator)
    paper = torch.tensor(PAPER)[:, None, None] * (1 + 0.006 * grain)
    return torch.lerp(paper, torch.tensor(INK)[:, None, None], black * (0.98 + 0.008 * hand).clamp(0.9, 1))


def _covered(inside: Tensor, soft: float) -> Tensor:
    return (inside / soft + 0.5).clamp(0, 1)


def _contours(lightness: Tensor, unit: float, structure: float, hand: Tensor) -> Tensor:
    edges = flow(lightness, 2.4 * unit)
    covered = torch.zeros_like(lightness)
    for sigma, least in ((0.9, 0.02), (1.8, 0.024), (3.2, 0.03)):
        darker = lines(lightness, edges, max(0.5, sigma * unit), 9 * unit)
        # Where little is seen, little is enough for a line.
        around = soft(darker.abs()[None], 24 * unit)[0]
        least = least * (1.25 - 0.5 * structure) * (1 + 0.15 * hand) * (0.6 + 50 * around).clamp(max=1.1)
        covered = torch.maximum(covered, _covered(darker / least - 1, 0.8))
    return covered
