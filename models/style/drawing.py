"""Styles that are drawn and not painted: how to tell, and a picture's contours in their ink."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .guide import EDGES, LEAST_SPREAD, Ground
from .lines import lines
from .tensor import blur, flow

PAPER = 0.08  # lightness around a drawing's paper that is still paper
MUCH_PAPER = (0.4, 0.6)  # shares of a picture: none of a drawing, all of one
THIN = (0.3, 0.5)  # shares of its variance that abstraction removes
INK = 0.01  # the darkest share of a drawing
PEN, LENGTH = 1.0, 4.0  # of contours, in pixels
CONTOUR, FAINT, FIRMNESS = 25.0, 0.15, 1.5


def drawn(ground: Ground) -> float:
    """How much a picture is thin lines on paper, 0..1: of paper it has much, and what is not paper is thin."""
    lightness = ground.picture[0]
    levels = torch.histc(blur(lightness, 1.0), 64, 0, 1)
    paper = (float(levels.argmax()) + 0.5) / 64
    share = float(((lightness - paper).abs() < PAPER).float().mean())
    thin = float(ground.detail[0].var() / lightness.var().clamp(min=LEAST_SPREAD**2))
    return _between(share, *MUCH_PAPER) * _between(thin, *THIN)


def _between(x: float, none: float, all_: float) -> float:
    return min(max((x - none) / (all_ - none), 0.0), 1.0)


def contoured(lightness: Tensor, own: Ground, grounds: Sequence[Ground], structure: float) -> Tensor:
    """The lightness [H, W] of a drawing with the content's contours in the ink of its styles."""
    ink = torch.stack([ground.picture[0].flatten().quantile(INK) for ground in grounds]).mean()
    edges = flow(own.picture[0], EDGES * own.unit)
    line = (CONTOUR * lines(own.picture[0], edges, PEN * own.unit, LENGTH * own.unit) - FAINT).clamp(0, 1)
    return lightness - min(1.0, FIRMNESS * structure) * line * (lightness - ink).clamp(min=0)
