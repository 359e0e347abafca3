"""How well a picture keeps its content and reaches a style: measures of pictures [H, W, 3] in 0..1 of some 512 pixels.

Lightness and colour are Oklab's. `style` may be of another size than the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from varifold.models.style.oklab import oklab

WINDOW, STABLE = 1.5, (0.01**2, 0.03**2)  # of Wang et al. 2004
EDGE = 2.0  # pixels: what is finer is grain and strokes, not the drawing
SIZES, SCALES = (3, 7, 11), (1, 2, 4)  # patches of 3 to 44 pixels
DETAIL = 3.0  # pixels; finer than this, at each scale, is detail
DIRECTIONS = 64
PATCHES = 2**15  # of a picture at a scale, on an even grid
GRAIN = 1.0  # pixels
CALM, POOL = 1 / 255, 8.0  # of lightness per pixel: one level; over how many pixels it is averaged
MARKS = 4.0  # pixels: what is finer in a flat region is marks, not shade
JUST_SEEN = 0.02  # lightness; CSS Color 4 takes it for the just noticeable difference of Oklab
COVER_SIZE, COVER_SCALE = 7, 2
COVER_STEPS = (2, 4)  # how far apart patches are taken: of the result, of the style


def planes_of(picture: Tensor) -> Tensor:
    """Lightness, green to red, blue to yellow, [3, H, W]."""
    return oklab(picture).movedim(-1, 0)


def lightness(picture: Tensor) -> Tensor:
    return oklab(picture)[..., 0]


def gaussian(sigma: float, order: int = 0) -> Tensor:
    """Samples [2R + 1] of a Gaussian that sum to 1, or of its derivative that gives a ramp its slope; float64."""
    radius = int(3.5 * sigma + 0.5)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = (-(x**2) / (2 * sigma**2)).exp()
    weights = weights / weights.sum()
    return weights if order == 0 else weights * x / (weights * x**2).sum()


def filtered(planes: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Planes [C, H, W] correlated with one kernel down the columns and one across the rows; mirrored at the border."""
    planes = planes[:, None]
    high, wide = len(down) // 2, len(across) // 2
    planes = F.pad(planes, (wide, wide, high, high), mode="reflect")
    planes = F.conv2d(planes, down.to(planes)[None, None, :, None])
    return F.conv2d(planes, across.to(planes)[None, None, None])[:, 0]


def blurred(planes: Tensor, sigma: float) -> Tensor:
    return filtered(planes, gaussian(sigma), gaussian(sigma))


def high_pass(planes: Tensor, sigma: float) -> Tensor:
    return planes - blurred(planes, sigma)


def slope(plane: Tensor, sigma: float) -> Tensor:
    """How much a plane [H, W] rises per pixel, smoothed by `sigma` pixels, [H, W]."""
    smooth, along = gaussian(sigma), gaussian(sigma, 1)
    return torch.hypot(filtered(plane[None], smooth, along)[0], filtered(plane[None], along, smooth)[0])


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def ssim(result: Tensor, content: Tensor) -> float:
    """Structural similarity of lightness, 1 for the same picture (Wang et al. 2004, "Image quality assessment")."""
    left, right = lightness(result), lightness(content)
    means = blurred(torch.stack([left, right, left * left, right * right, left * right]), WINDOW)
    border = len(gaussian(WINDOW)) // 2
    mean_left, mean_right, *squares = means[:, border:-border, border:-border]
    variance_left, variance_right = squares[0] - mean_left**2, squares[1] - mean_right**2
    covariance = squares[2] - mean_left * mean_right
    light = (2 * mean_left * mean_right + STABLE[0]) / (mean_left**2 + mean_right**2 + STABLE[0])
    return float((light * (2 * covariance + STABLE[1]) / (variance_left + variance_right + STABLE[1])).mean())


def edge_correlation(result: Tensor, content: Tensor) -> float:
    """Pearson's correlation of the slopes of lightness, smoothed by 2 pixels; NaN where one has no edges."""
    slopes = torch.stack([slope(lightness(each), EDGE).flatten() for each in (result, content)])
    return float(slopes.corrcoef()[0, 1])


def sliced_wasserstein(left: Tensor, right: Tensor, directions: Tensor) -> float:
    """The root mean square over `directions` [D, K] of the 2-Wasserstein distance of points [N, D] to others [M, D].

    Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures"; exact along each direction where
    one of N and M divides the other.
    """
    # NumPy sorts numbers several times as fast.
    ordered = [torch.from_numpy(np.sort((points @ directions).T.contiguous().numpy())) for points in (left, right)]
    count = max(len(left), len(right))
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return rms(ordered[0][:, (levels * len(left)).long()] - ordered[1][:, (levels * len(right)).long()])


def directions_of(dimensions: int, dtype: torch.dtype) -> Tensor:
    """Unit vectors [D, 64], always the same."""
    drawn = torch.randn(
        dimensions, DIRECTIONS, generator=torch.Generator().manual_seed(dimensions), dtype=torch.float64
    )
    return (drawn / drawn.norm(dim=0)).to(dtype)


def patches_of(planes: Tensor, size: int, step: int = 0) -> Tensor:
    """Patches [N, C·size²] of planes [C, H, W] on a grid of `step` pixels; 0 for the finest of at most 32,768."""
    step = step or math.ceil(math.sqrt(planes[0].numel() / PATCHES))
    return F.unfold(planes[None], size, stride=step)[0].T


def smaller(planes: Tensor, scale: int) -> Tensor:
    return F.avg_pool2d(planes[None], scale)[0]


def colour_distance(result: Tensor, style: Tensor) -> float:
    """Sliced Wasserstein distance of the colours."""
    points = (patches_of(planes_of(each), 1) for each in (result, style))
    return sliced_wasserstein(*points, directions_of(3, result.dtype))


def patch_distance(result: Tensor, style: Tensor) -> float:
    """Mean sliced Wasserstein distance of patches in colour, of 3 sizes at each of 3 scales."""
    return _patch_distance(*(planes_of(each) for each in (result, style)), prepared=lambda planes: planes)


def detail_distance(result: Tensor, style: Tensor) -> float:
    """The same of lightness without what is coarser than 3 pixels of each scale: no change of colours reaches it."""
    planes = (lightness(each)[None] for each in (result, style))
    return _patch_distance(*planes, prepared=lambda planes: high_pass(planes, DETAIL))


def _patch_distance(result: Tensor, style: Tensor, prepared: Callable[[Tensor], Tensor]) -> float:
    distances = []
    for scale in SCALES:
        left, right = (prepared(smaller(each, scale)) for each in (result, style))
        for size in SIZES:
            directions = directions_of(len(left) * size**2, left.dtype)
            distances.append(sliced_wasserstein(patches_of(left, size), patches_of(right, size), directions))
    return sum(distances) / len(distances)


def chroma_grain(picture: Tensor) -> float:
    """The root mean square of what a blur by 1 pixel takes out of green to red and blue to yellow."""
    return rms(high_pass(planes_of(picture)[1:], GRAIN))


def chroma_noise(result: Tensor, content: Tensor, style: Tensor) -> float:
    """The chroma grain of the result over the greater of its content's and its style's: more than 1 was added."""
    return chroma_grain(result) / max(chroma_grain(content), chroma_grain(style))


def total_variation(picture: Tensor) -> float:
    """Mean size of the difference of lightness to the next pixel, down and across."""
    plane = lightness(picture)
    return float(plane.diff(dim=0).abs().mean() + plane.diff(dim=1).abs().mean())


def flat_regions(content: Tensor) -> Tensor:
    """Where, [H, W], lightness rises by less than a level of 255 a pixel, root mean square, over some 8 pixels."""
    energy = slope(lightness(content), EDGE).square()
    return blurred(energy[None], POOL)[0] < CALM**2


def marks_in_flats(result: Tensor, content: Tensor) -> float:
    """High-pass lightness in the flat regions of the content over the most that leaves them flat; NaN without any.

    That is what the content has there and one just noticeable difference: less cannot be seen as marks.
    """
    flat = flat_regions(content)
    found, given = (rms(high_pass(lightness(each)[None], MARKS)[0][flat]) for each in (result, content))
    return found / (given + JUST_SEEN)


def coverage(result: Tensor, style: Tensor) -> float:
    """The share of the style's patches that are the nearest of some patch of the result, in colour, at half size."""
    mine, theirs = (
        patches_of(smaller(planes_of(each), COVER_SCALE), COVER_SIZE, step)
        for each, step in zip((result, style), COVER_STEPS, strict=True)
    )
    nearest = torch.cat([torch.cdist(part, theirs).argmin(1) for part in mine.split(4096)])
    return len(nearest.unique()) / len(theirs)
