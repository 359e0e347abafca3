"""Lines in the plane that toys are drawn along. Free of torch, so that menus can list them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Stroke = np.ndarray
"""Corners [M, 2] of a line in the plane; a single corner is a dot."""

MODES = (1, 12)
SPREAD = (0.02, 0.5)


def moons(modes: int) -> list[Stroke]:
    """A chain of half circles, each hooked into the one before."""
    angle = np.linspace(0, math.pi, 400)
    up, down = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([np.cos(angle), 0.5 - np.sin(angle)], 1)
    return [np.array([1.1 * index, 0]) + (down if index % 2 else up) for index in range(modes)]


def rings(modes: int) -> list[Stroke]:
    """Circles around one centre."""
    angle = np.linspace(0, 2 * math.pi, 800)
    return [radius * np.stack([np.cos(angle), np.sin(angle)], 1) for radius in range(1, modes + 1)]


def spiral(modes: int) -> list[Stroke]:
    """Arms that leave the centre and wind around it, a turn and a half when alone, less when there are many."""
    angle = np.linspace(0, 3 * math.pi / math.sqrt(modes), 800)
    radius = 0.15 + angle / angle[-1]
    turns = [2 * math.pi * index / modes for index in range(modes)]
    return [radius[:, None] * np.stack([np.cos(angle + turn), np.sin(angle + turn)], 1) for turn in turns]


def mixture(modes: int) -> list[Stroke]:
    """Gaussians on a circle, two of them at the bottom; one alone is at its centre."""
    angle = math.pi * (2 * np.arange(modes) + 1) / modes - math.pi / 2
    return list(np.stack([np.cos(angle), np.sin(angle)], 1)[:, None])


SHAPES: dict[str, Callable[[int], list[Stroke]]] = {
    "moons": moons,
    "rings": rings,
    "spiral": spiral,
    "mixture": mixture,
}
