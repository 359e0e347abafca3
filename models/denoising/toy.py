"""Toys: distributions in the plane as denoisers in closed form. A picture is a crowd of points."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from . import pixels
from .guidance import CFG, Guidance
from .space import VE, Space
from .strokes import MODES, SHAPES, SPREAD, Stroke

MOST_PAIRS = 2**21


class Cloud(nn.Module):
    """Equal Gaussians of deviation `spread` around `centres` [K, 2]: nothing to learn, but a net for hosts to move."""

    def __init__(self, centres: Tensor, spread: float):
        super().__init__()
        self.register_buffer("centres", centres)
        self.spread = spread

    def forward(self, x: Tensor, sigma: Tensor, space: Space) -> Tensor:
        """E[x0 | x] of points x [N, 2] at noise levels sigma [N, 1]."""
        centres, alpha = self.centres.to(x), space.alpha(sigma)
        variance = alpha**2 * self.spread**2 + sigma**2
        # |x − α·m|² without |x|², which is the same for all.
        log_density = (alpha * (x @ centres.T) - alpha**2 * centres.square().sum(1) / 2) / variance
        mean = log_density.softmax(1) @ centres
        return (sigma**2 * mean + alpha * self.spread**2 * x) / variance


class Toy:
    """The exact denoiser of a distribution in the plane, for pictures whose every pixel is one of its points.

    States are [B, 2, H, W]: x and y of H·W points, each denoised by itself. `shape` is one of `SHAPES`, of `modes`
    moons, rings, arms or humps (1..12), drawn with a brush of deviation `spread` (0.02..0.5). The mean is 0 and the
    variance 1, of x and y together; only a mixture of one mode has no more than its spread.
    Raises ValueError for a shape or knob that there is not.
    """

    channels = "plane"
    shape = (2, 32, 32)
    sigma_min = 0.01
    vocabulary = labels = latents = None
    conditions = ()

    @torch.inference_mode(False)
    def __init__(self, shape: str = "moons", modes: int = 2, spread: float = 0.05, space: Space = VE):
        if shape not in SHAPES:
            raise ValueError(f"unknown shape {shape!r}: use one of {', '.join(SHAPES)}")
        for name, value, (low, high) in (("modes", modes, MODES), ("spread", spread, SPREAD)):
            if not low <= value <= high:
                raise ValueError(f"{name} should be from {low:g} to {high:g}, and is {value:g}")
        self.net = Cloud(torch.from_numpy(_centres(SHAPES[shape](modes), spread)).float(), spread)
        self.identity = f"toy {shape} {modes} {spread:g} {space.name}"
        self.space = space
        self.sigma_max = min(10.0, space.sigma_limit)
        self.guidance = CFG

    @property
    def device(self) -> torch.device:
        return self.net.centres.device

    def with_guidance(self, guidance: Guidance) -> Toy:
        """The same toy; without conditions guidance has nothing to steer by."""
        changed = copy.copy(self)
        changed.guidance = guidance
        return changed

    def pictures(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """x0 [B, 2, H, W] -> its points as colours [B, h, w, 3] and alpha [B, h, w]."""
        return pixels.decode(x0, self.channels)

    glimpse = pictures

    def check_shape(self, shape: Sequence[int]) -> None:
        """Raise ValueError for a state that is not [B, 2, H, W]."""
        if len(shape) != 4 or shape[1] != 2:
            raise ValueError(f"a toy takes states [B, 2, H, W], x and y of each point, not of shape {tuple(shape)}")

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: None = None) -> Tensor:
        """x [B, 2, H, W], sigma a float or [B] -> x0 [B, 2, H, W], computed in x's dtype."""
        self.check_shape(x.shape)
        if cond is not None:
            raise ValueError("a toy takes no condition: leave cond out")
        batch, _, height, width = x.shape
        points = x.permute(0, 2, 3, 1).reshape(-1, 2)
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1).expand(batch)
        sigma = sigma.repeat_interleave(height * width)[:, None]
        at_once = max(1, MOST_PAIRS // len(self.net.centres))
        parts = zip(points.split(at_once), sigma.split(at_once), strict=True)
        x0 = torch.cat([self.net(*part, self.space) for part in parts])
        return x0.view(batch, height, width, 2).permute(0, 3, 1, 2).contiguous()

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` points of the distribution, [count, 2] float32 on the CPU."""
        centres = self.net.centres.cpu()
        means = centres[torch.randint(len(centres), (count,), generator=generator)]
        return means + self.net.spread * torch.randn(count, 2, generator=generator)


def _centres(strokes: list[Stroke], spread: float) -> np.ndarray:
    """Where the Gaussians are, [K, 2].

    Neighbours are at most 2·spread apart: the density along a stroke is then even to 3 %.
    """
    core = math.sqrt(1 - spread**2)  # the brush brings the rest of the variance
    size = _deviation(_beads(strokes, 0.01)) or core
    centres = _beads(strokes, 2 * spread * size / core)
    centres = centres - centres.mean(0)
    return centres * (core / (_deviation(centres) or core))


def _beads(strokes: list[Stroke], apart: float) -> np.ndarray:
    """Points [K, 2] evenly along each stroke, at most `apart` from one another."""
    beads = []
    for stroke in strokes:
        walked = np.concatenate([[0.0], np.hypot(*np.diff(stroke, axis=0).T).cumsum()])
        count = max(1, math.ceil(walked[-1] / apart))
        middles = (np.arange(count) + 0.5) / count * walked[-1]
        beads.append(np.stack([np.interp(middles, walked, axis) for axis in stroke.T], 1))
    return np.concatenate(beads)


def _deviation(points: np.ndarray) -> float:
    """√ of the mean variance of x and y."""
    return math.sqrt(points.var(0).mean())
