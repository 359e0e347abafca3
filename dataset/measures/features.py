"""Numbers that describe a picture without a trained net: where its colours lie, and its edges by size and direction."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from ..errors import DatasetError

NAME = "layout-edges"  # distances by these features are called FD-layout-edges and KD-layout-edges
SIDE = 32
LAYOUT = 4  # cells each way, of colours
SCALES = (32, 16, 8)
CELLS = 2  # each way, of edges
OPPONENT = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])  # brightness, red-green, yellow-blue
# So that over photographs each number has a spread of about 0.3.
LAYOUT_GAINS, EDGE_GAIN, COLOUR_GAIN = np.array([2.0, 5.0, 5.0]), 5.0, 10.0
COUNT = 3 * LAYOUT**2 + len(SCALES) * (4 * CELLS**2 + 2)
GREY = 128


def features(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Pictures [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], uint8, of any sizes -> [N, 102], float64.

    Of a picture scaled to 32 x 32, with antialiasing: the mean brightness, red-green and yellow-blue in 4 x 4 cells;
    then at 32, 16 and 8 pixels the root mean square slope of brightness in four directions in 2 x 2 cells, and how
    the two colours spread. Each kind has a gain, for they are of different sizes. What is transparent counts as grey.
    Raises DatasetError for a picture that is none, with its number from 0.
    """
    rows = [_of_one(_scaled(number, picture)) for number, picture in enumerate(pictures)]
    return np.stack(rows) if rows else np.zeros((0, COUNT))


def _scaled(number: int, picture: np.ndarray) -> np.ndarray:
    """[32, 32, 3], 0..1."""
    picture = np.asarray(picture)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3, 4) or 0 in picture.shape:
        raise DatasetError(
            f"picture {number}: it should be [H, W, 1, 3 or 4] of uint8, not {picture.shape} of {picture.dtype}"
        )
    colours = np.broadcast_to(picture[..., :3], (*picture.shape[:2], 3)).astype(np.float32)
    if picture.shape[2] == 4:
        colours = GREY + (colours - GREY) * (picture[..., 3:] / np.float32(255))
    planes = [Image.fromarray(np.ascontiguousarray(colours[..., channel])) for channel in range(3)]
    sized = [np.asarray(plane.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64) for plane in planes]
    return np.stack(sized, -1) / 255


def _of_one(picture: np.ndarray) -> np.ndarray:
    opponent = picture @ OPPONENT.T
    parts = [(LAYOUT_GAINS * _means(opponent, LAYOUT)).ravel()]
    for scale in SCALES:
        level = _means(opponent, scale)
        parts += [EDGE_GAIN * _edges(level[..., 0]), COLOUR_GAIN * level[..., 1:].std((0, 1))]
    return np.concatenate(parts)


def _means(plane: np.ndarray, cells: int) -> np.ndarray:
    """[S, S, ...] -> the means of cells x cells squares, [cells, cells, ...]."""
    side = len(plane) // cells
    return plane.reshape(cells, side, cells, side, *plane.shape[2:]).mean((1, 3))


def _edges(brightness: np.ndarray) -> np.ndarray:
    """The root mean square slope of [S, S] down, across and along both diagonals, in each cell: [16]."""
    padded = np.pad(brightness, 1, mode="edge")
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    slopes = np.stack([down, across, (down + across) / 2**0.5, (down - across) / 2**0.5], -1)
    return np.sqrt(_means(slopes**2, CELLS)).ravel()
