"""A pencil sketch: contours gone over twice, hatching by a hand, graphite that the grain of the paper catches."""

from __future__ import annotations

import torch
from torch import Tensor

from .abstraction import abstraction
from .hatching import hatching
from .line_integral import line_integral
from .lines import lines
from .noise import noise
from .paper import tooth
from .reduced import larger, smaller
from .steady import CLEAR, steady
from .tensor import Flow, flow
from .tones import smoothstep, spread_tones

PAPER = (0.968, 0.964, 0.954)
GRAPHITE = (0.15, 0.15, 0.16)
HAND = -0.9  # radians: a right hand's strokes rise to the right
# angle to the hand, gap and length in pixels at 512, from which darkness to which they come, how dark they are
STROKES = (
    (0.0, 5.0, 62.0, 0.05, 0.6, 0.5),
    (0.3, 4.3, 40.0, 0.28, 0.85, 0.5),
    (-0.45, 3.8, 34.0, 0.5, 1.0, 0.55),
)
HALF = 0.8  # pixels at 512: half the width of a light stroke
FINEST = 0.7  # of a stroke at 512: finer ones are no strokes in pixels


def sketch(picture: Tensor, lightness: Tensor, unit: float, structure: float, generator: torch.Generator) -> Tensor:
    """A picture [3, H, W] in pencil; `unit` pixels are one of a picture of 512."""
    height, width = lightness.shape
    grain = tooth(height, width, 2.5 * unit, generator)
    calm = abstraction(lightness[None], (6.5 - 5 * structure) * unit)[0]
    dark = 1 - spread_tones(calm, 0.4)
    dark = (1.1 * dark - 0.1).clamp(0, 1) ** 1.25
    left = _shaded(dark, calm, grain, unit, generator)
    left *= 1 - _contours(lightness, grain, unit, structure, generator)
    paper = torch.tensor(PAPER)[:, None, None] * (1 + 0.006 * grain)
    return torch.lerp(torch.tensor(GRAPHITE)[:, None, None], paper, left)


def _shaded(dark: Tensor, calm: Tensor, grain: Tensor, unit: float, generator: torch.Generator) -> Tensor:
    """How much of the paper is left where it is shaded to look about as `dark`."""
    height, width = dark.shape
    lead = max(unit, FINEST)
    form = steady(calm, (4 * unit, 12 * unit), HAND, CLEAR / unit)
    times = max(1, int(unit / 2))
    form = Flow(*smaller(torch.stack(form), times))
    fibres = noise(*form.cos.shape, 1.3 * unit / times, generator)[None]
    fibres = larger(line_integral(fibres, form, 16 * unit / times), times, height, width)[0]
    fibres = fibres / fibres.square().mean().sqrt().clamp(min=1e-3)
    # A soft pencil fills the grain where it is pressed hardest.
    rough = 4 * dark * (1 - dark)
    side = dark * (0.16 + 0.42 * dark) + rough * (0.05 * fibres + 0.05 * grain)
    left = 1 - side.clamp(0, 0.95)
    for turn, gap, length, first, last, depth in STROKES:
        strokes = hatching(height, width, HAND + turn, gap * lead, length * lead, generator)
        force = smoothstep(first, last, dark)
        press = force * torch.lerp(strokes.pressure, torch.ones_like(force), 0.7 * force)
        wide = HALF * lead * (0.8 + 0.6 * force + 0.9 * force**4)
        line = ((wide - strokes.distance) / max(lead, 1) + 0.5).clamp(0, 1)
        left *= 1 - depth * line * (press * (1 + 0.3 * grain * (1 - force))).clamp(0, 1)
    return left


def _contours(lightness: Tensor, grain: Tensor, unit: float, structure: float, generator: torch.Generator) -> Tensor:
    height, width = lightness.shape
    edges = flow(lightness, 2.2 * unit)
    covered = torch.zeros_like(lightness)
    for sigma, strong in ((0.8, 0.85), (1.5, 0.75), (2.8, 0.4)):
        darker = lines(lightness, edges, max(0.5, sigma * unit), 9 * unit)
        line = torch.tanh((darker - 0.014 + 0.012 * structure).clamp(min=0) * 32)
        press = 0.8 + 0.25 * noise(height, width, 30 * unit, generator)
        covered = torch.maximum(covered, strong * line * press.clamp(0.2, 1.2))
    return (covered * (1 + 0.15 * grain)).clamp(0, 0.96)
