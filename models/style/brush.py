"""Brush strokes: laid one over another along a flow, each in one colour, with the marks of its bristles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .noise import noise
from .reduced import smaller
from .tensor import Flow

STRIP = 2**18  # pixels
GAP = 1.5  # from stroke to stroke, in half widths of the brush
LONG, SHORT = 3.2, 1.8  # half lengths of strokes, in half widths
CLASSES = 6  # strokes that are every sixth along a row and a column never meet, so they are painted at once
JITTER = 0.45  # of a gap
TILE = 512  # of bristle marks
FINE = 3  # bristle marks to a pixel


class Paint(NamedTuple):
    """What stands on the canvas: colours [3, H, W], and how high the paint is [H, W], about 0..1."""

    colour: Tensor
    height: Tensor


class Brush(NamedTuple):
    """`radius`: half its width, in pixels. `bristle`: the width of a bristle's mark, in pixels.

    `care`: the distance of colours beyond which a stroke stops at an edge. `missing`: where the canvas is nearer to the
    picture than this, no stroke is needed; 0: there is a stroke everywhere. `variety`: how much lightness and chroma
    differ from stroke to stroke. `body`: how thick its paint is.
    """

    radius: float
    bristle: float
    care: float
    missing: float
    variety: float
    body: float


def paint(canvas: Paint, picture: Tensor, edges: Flow, brush: Brush, generator: torch.Generator) -> None:
    """Lays one layer of strokes on the canvas, in the colours of `picture` [3, H, W].

    Strokes on a jittered grid, long where the flow agrees, curved as it curves, and only where the canvas still differs
    from the picture (Hertzmann 1998, "Painterly rendering with curved brush strokes of multiple sizes"); clipped at
    edges (Litwinowicz 1997), but softly. Which lies over which is by chance.
    """
    strokes = _strokes(canvas, picture, edges, brush, generator)
    marks = _marks(generator)
    order = torch.randperm(CLASSES**2, generator=generator).tolist()
    rows = max(1, STRIP // picture.shape[2])
    for top in range(0, picture.shape[1], rows):
        part = slice(top, min(top + rows, picture.shape[1]))
        under, high, seen = canvas.colour[:, part], canvas.height[part], picture[:, part]
        for number in order:
            cover, tone, thick = _one_class(divmod(number, CLASSES), strokes, marks, seen, part.start, brush)
            under.lerp_(tone, cover)
            high.lerp_(thick, cover)


class _Strokes(NamedTuple):
    """A grid of strokes [R, C] that goes on outside the picture; places in pixels."""

    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor
    bend: Tensor
    half: Tensor
    opaque: Tensor
    mark: Tensor
    colour: Tensor


def _strokes(canvas: Paint, picture: Tensor, edges: Flow, brush: Brush, generator: torch.Generator) -> _Strokes:
    height, width = picture.shape[1:]
    gap = GAP * brush.radius
    rows, columns = (math.ceil(side / gap) + 2 * CLASSES for side in (height, width))

    def random() -> Tensor:
        return torch.rand(rows, columns, generator=generator) * 2 - 1

    x = (torch.arange(columns) - CLASSES + 0.5 + JITTER * random()) * gap
    y = (torch.arange(rows)[:, None] - CLASSES + 0.5 + JITTER * random()) * gap
    missing = (canvas.colour - picture).abs().sum(0)
    planes = torch.stack([edges.cos, edges.sin, missing, *picture])
    times = max(1, round(brush.radius))
    planes = smaller(planes, times)[None]
    scale = 2 / times / torch.tensor(planes.shape[:1:-1])
    at = (torch.stack([x, y], -1) * scale - 1)[None]
    cos, sin, missing, *colour = F.grid_sample(planes, at, padding_mode="border", align_corners=False)[0]
    agreement = torch.hypot(cos, sin).clamp(0, 1)
    angle = torch.atan2(sin, cos) / 2 + 0.15 * random() * (1.5 - agreement)
    colour = torch.stack(colour)
    ahead = torch.stack([angle.cos(), angle.sin()], -1) * (LONG * brush.radius)
    ends = []
    for way in (1, -1):
        there = at + (way * ahead * scale)[None]
        c, s = F.grid_sample(planes[:, :2], there, padding_mode="border", align_corners=False)[0]
        turn = torch.atan2(s, c) / 2 - angle
        ends.append(torch.remainder(turn + math.pi / 2, math.pi) - math.pi / 2)
    bend = ((ends[0] - ends[1]) / (2 * LONG * brush.radius)).clamp(-0.5 / brush.radius, 0.5 / brush.radius) / 2
    half = brush.radius * (SHORT + (LONG - SHORT) * agreement) * (1 + 0.2 * random())
    half = half.clamp(max=(CLASSES / 2 - JITTER) * gap - 0.5 * brush.radius)
    opaque = torch.ones_like(missing)
    if brush.missing > 0:
        opaque = (missing / brush.missing - 1).clamp(0, 1)
    mean = colour.mean(0, keepdim=True)
    colour = mean + (colour - mean) * (1 + 3 * brush.variety * random()) + brush.variety * random()
    mark = torch.randint(0, TILE * TILE, (rows, columns), generator=generator)
    return _Strokes(x, y, angle.cos(), angle.sin(), bend, half, opaque, mark, colour)


def _marks(generator: torch.Generator) -> Tensor:
    """Marks of bristles, in 0..1, [TILE² + TILE²]: rows along the stroke, columns across; the tile goes on twice."""
    fine = noise(TILE, TILE, 2 * FINE, generator)
    broad = noise(TILE, TILE, 7 * FINE, generator)
    few = (fine + broad)[None, None, :: TILE // 16]
    long = F.interpolate(few, (TILE, TILE), mode="bicubic")[0, 0]
    marks = (0.5 + 0.22 * long).clamp(0, 1)
    return marks.repeat(2, 1).flatten()


def _one_class(
    which: tuple[int, int], strokes: _Strokes, marks: Tensor, seen: Tensor, top: int, brush: Brush
) -> tuple[Tensor, Tensor, Tensor]:
    """How much of the pixels of some rows strokes of one class cover, in which colour and how thickly."""
    gap = GAP * brush.radius
    _, height, width = seen.shape
    y = torch.arange(top, top + height) + 0.5
    x = torch.arange(width) + 0.5
    down, right = (
        ((places / gap - each - 0.5) / CLASSES + 1).round().long() * CLASSES + each
        for places, each in zip((y, x), which, strict=True)
    )
    first_row, first_column = int(down[0]), int(right[0])
    rows, columns = (down - first_row) // CLASSES, (right - first_column) // CLASSES
    some = (slice(first_row, int(down[-1]) + 1, CLASSES), slice(first_column, int(right[-1]) + 1, CLASSES))

    def here(plane: Tensor) -> Tensor:
        return plane[..., some[0], some[1]].index_select(-2, rows).index_select(-1, columns)

    opaque = here(strokes.opaque)
    away_x, away_y = x[None] - here(strokes.x), y[:, None] - here(strokes.y)
    cos, sin = here(strokes.cos), here(strokes.sin)
    along = away_x * cos + away_y * sin
    across = away_y * cos - away_x * sin - here(strokes.bend) * along * along
    row = (along * (FINE / (9 * brush.bristle))).long() & (TILE - 1)
    column = (across * (FINE / brush.bristle)).long() & (TILE - 1)
    mark = marks[row * TILE + column + here(strokes.mark)]
    v = across.abs() / brush.radius
    # Ends are ragged, as some bristles leave the canvas before others.
    half = here(strokes.half)
    u = along.abs() / (half * (0.75 + 0.35 * mark))
    soft = max(0.15, 1 / brush.radius)
    cover = ((1 - v) / soft + 0.5 * mark).clamp(0, 1) * ((1 - u) * 5).clamp(0, 1)
    colour = here(strokes.colour)
    apart = (seen - colour).abs().sum(0) / 3
    cover = cover * (2 - apart / brush.care).clamp(0, 1) * opaque
    tone = colour + (mark - 0.5) * brush.variety
    thick = brush.body * (0.5 + 0.35 * mark + 0.3 * v.clamp(0, 1) ** 4 - 0.3 * (along / half))
    return cover, tone, thick
