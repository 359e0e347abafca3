"""A picture of any kind and size brought to that of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

CROPS = ("centre", "random", "pad")
SCALINGS = ("smooth", "pixels")
GROUNDS = {"keep": None, "on white": (255, 255, 255), "on black": (0, 0, 0)}
MOST_PIXELS = 8192 * 8192
ROOM, LONGEST = 9 / 8, 2  # of a random crop: how much larger than it the picture is kept, and its sides to each other


@dataclass(frozen=True)
class Fit:
    """How a picture becomes one of `size` pixels a side.

    crop: "centre" covers the square and cuts the rest off, "random" keeps more, for draws to take different parts of,
    and "pad" keeps all of the picture and puts the ground around it, nothing where transparency is kept.
    scaling: "smooth" averages, "pixels" takes the nearest. transparency: "keep", or the ground to lay pictures on.
    """

    size: int
    crop: str = "centre"
    scaling: str = "smooth"
    transparency: str = "keep"

    def __call__(self, image: Image.Image) -> np.ndarray:
        """uint8 [h, w, 3], or 4 where something is transparent. Raises what Pillow does, and ValueError."""
        self._draft(image)
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"{width}×{height} is more than 8192×8192 pixels: scale it down, or cut it into tiles")
        image = ImageOps.exif_transpose(image)
        (left, top, right, bottom), size = self._measure(*image.size)
        if (left, top, right, bottom) != (0, 0, *image.size):
            image = image.crop((left, top, right, bottom))
        image, ground = _eight_bits(image), GROUNDS[self.transparency]
        if ground is not None and image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, (*ground, 255)), image).convert("RGB")
        image = self._scale(image, size)
        if self.crop == "pad" and size != (self.size, self.size):
            whole = Image.new("RGB" if ground else "RGBA", (self.size, self.size), ground or (0, 0, 0, 0))
            whole.paste(image, ((self.size - size[0]) // 2, (self.size - size[1]) // 2))
            image = whole
        pixels = np.array(image)
        return pixels if pixels.shape[2] == 4 and pixels[..., 3].min() < 128 else pixels[..., :3].copy()

    def _draft(self, image: Image.Image) -> None:
        """A JPEG is decoded at a part of its size where that is enough."""
        side = max(image.size) if self.crop == "pad" else min(image.size)
        if self.scaling == "smooth" and side > 2 * self.size:
            image.draft(None, tuple(max(1, length * 2 * self.size // side) for length in image.size))

    def _measure(self, width: int, height: int) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        """The part of a picture that is kept, and its size when scaled."""
        if self.crop == "pad":
            scale = self.size / max(width, height)
            return (0, 0, width, height), (max(1, round(width * scale)), max(1, round(height * scale)))
        short = min(width, height)
        longest = short if self.crop == "centre" else LONGEST * short
        wide, high = min(width, longest), min(height, longest)
        left, top = (width - wide) // 2, (height - high) // 2
        scaled = self.size
        if self.crop == "random" and short > self.size:
            scaled = min(short, math.ceil(ROOM * self.size))
        size = (max(scaled, round(wide * scaled / short)), max(scaled, round(high * scaled / short)))
        return (left, top, left + wide, top + high), size

    def _scale(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        if image.size == size:
            return image
        if self.scaling == "pixels":
            return image.resize(size, Image.Resampling.NEAREST)
        if image.mode == "RGB":
            return image.resize(size, Image.Resampling.BICUBIC)
        # Colours under what is transparent must not bleed into what is seen.
        return image.convert("RGBa").resize(size, Image.Resampling.BICUBIC).convert("RGBA")


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture as RGB or RGBA. Raises ValueError for numbers that tell no brightness."""
    if image.mode.startswith(("I", "F")):
        numbers = np.asarray(image).astype(np.float64)
        most = 1.0 if image.mode == "F" else 65535.0
        if not (np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() <= most):
            raise ValueError(f"its numbers are not from 0 to {most:g}: save it with 8 or 16 bits")
        image = Image.fromarray(np.rint(numbers * (255 / most)).astype(np.uint8))
    transparent = "transparency" in image.info or "A" in image.getbands()
    return image.convert("RGBA" if transparent else "RGB")
