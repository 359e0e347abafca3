"""What makes a picture or a mask useless for training, told in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GREY_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Filters:
    """Limits; None switches one off.

    blank: the least spread of brightness, as a standard deviation in 0..255. blurred: the least sharpness (see there;
    a photograph has 0.2, the same with a blur of 4 pixels 0.07). clipped: the largest share of visible pixels that are
    pure black or white in all channels. smallest_mask: pixels; every mask must have as many.
    fewest_objects: how many objects must be marked in a picture.
    """

    blank: float | None = 2.0
    blurred: float | None = 0.02
    clipped: float | None = None
    smallest_mask: int | None = 16
    fewest_objects: int | None = None

    def complaint(self, picture: np.ndarray, masks: Sequence[np.ndarray] = (), objects: int = 0) -> str | None:
        """Why a picture [H, W, 3 or 4], uint8, with masks [H, W], bool, and so many objects is refused, or None."""
        brightness = picture[..., :3].astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32)
        visible = picture[..., 3] > 0 if picture.shape[-1] == 4 else np.ones(brightness.shape, bool)
        if self.blank is not None and (spread := _spread(brightness, visible)) < self.blank:
            return f"blank: its brightness spreads by {spread:.1f} of 255, less than {self.blank:g}"
        if self.blurred is not None and (sharp := sharpness(brightness)) < self.blurred:
            return f"blurred: its sharpness is {sharp:.3f}, less than {self.blurred:g}"
        if self.clipped is not None and (share := _clipped_share(picture, visible)) > self.clipped:
            return f"clipped: {share:.0%} of it is pure black or white, more than {self.clipped:.0%}"
        if self.fewest_objects is not None and objects < self.fewest_objects:
            return f"too few objects: {objects} marked, fewer than {self.fewest_objects:g}"
        if self.smallest_mask is not None:
            for number, mask in enumerate(masks, 1):
                if (size := int(np.count_nonzero(mask))) < self.smallest_mask:
                    return f"too small: mask {number} has {size} pixels, fewer than {self.smallest_mask:g}"
        return None


def sharpness(brightness: np.ndarray) -> float:
    """How much of the contrast of [H, W] lies between neighbours: 0 in a smooth picture, √2 in white noise.

    The root of the mean squared difference of neighbours, down and across, over the variance. A picture smaller than
    2 x 2, or of one colour, counts as 1.
    """
    variance = float(brightness.var())
    if min(brightness.shape) < 2 or variance == 0:
        return 1.0
    down, across = np.diff(brightness, axis=0), np.diff(brightness, axis=1)
    return float(np.sqrt((np.square(down).mean() + np.square(across).mean()) / 2 / variance))


def _spread(brightness: np.ndarray, visible: np.ndarray) -> float:
    if not visible.any():
        return 0.0
    return (
        float(brightness.std()) if visible.all() else max(float(brightness[visible].std()), 255 * float(visible.std()))
    )


def _clipped_share(picture: np.ndarray, visible: np.ndarray) -> float:
    colours = picture[..., :3][visible]
    return float(((colours == 0).all(axis=-1) | (colours == 255).all(axis=-1)).mean()) if len(colours) else 0.0
