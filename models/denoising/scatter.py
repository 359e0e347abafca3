"""A crowd of points in the plane as a picture that glows where they are many."""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 320
REACH = 2.75
GROUND, LINES, LIGHT = (0.035, 0.04, 0.065), (0.06, 0.066, 0.09), (0.28, 0.62, 1.0)
DOT, HALO = 0.9, 4.0  # deviations in pixels


def scatter(points: Tensor) -> Tensor:
    """points [B, N, 2] -> [B, 320, 320, 3] float32 in 0..1; x to the right and y upwards from −2.75 to 2.75."""
    return torch.stack([_picture(crowd) for crowd in points.float()])


def _picture(points: Tensor) -> Tensor:
    at = (points * points.new_tensor([1, -1]) / REACH + 1) * (SIDE / 2) - 0.5
    at = at[((at > -8) & (at < SIDE + 8)).all(1)]
    light = _dots(at)
    light = light + 2.5 * _blurred(light, HALO)
    # Light adds up and then saturates, blue last: a dot is blue, a crowd is white.
    glow = 1 - torch.exp(-light[..., None] * light.new_tensor(LIGHT))
    ground = _ground(light)
    return ground + (1 - ground) * glow


def _dots(at: Tensor) -> Tensor:
    """Round soft dots at pixel coordinates `at` [N, 2], added up, [SIDE, SIDE]."""
    steps = torch.arange(-4, 5, device=at.device)
    near = torch.cartesian_prod(steps, steps)
    pixels = at.round().long()[:, None] + near
    weight = torch.exp(-(pixels - at[:, None]).square().sum(-1) / (2 * DOT**2))
    inside = ((pixels >= 0) & (pixels < SIDE)).all(-1)
    places = pixels[..., 1] * SIDE + pixels[..., 0]
    canvas = at.new_zeros(SIDE * SIDE).index_add_(0, places[inside], weight[inside])
    return canvas.view(SIDE, SIDE)


def _blurred(light: Tensor, deviation: float) -> Tensor:
    reach = round(3 * deviation)
    kernel = torch.exp(-torch.arange(-reach, reach + 1, device=light.device).square() / (2 * deviation**2))
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(light[None, None], [reach] * 4)
    rows = torch.nn.functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return torch.nn.functional.conv2d(rows, kernel.view(1, 1, -1, 1))[0, 0]


def _ground(light: Tensor) -> Tensor:
    """The dark paper, with a line at every unit and a stronger one at 0."""
    ground = light.new_tensor(GROUND).repeat(SIDE, SIDE, 1)
    for unit in range(-2, 3):
        line = round((unit / REACH + 1) * SIDE / 2)
        strength = light.new_tensor(LINES) * (1.0 if unit == 0 else 0.4)
        ground[line] += strength
        ground[:, line] += strength
    return ground
