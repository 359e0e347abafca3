"""Pictures on disk to and from ComfyUI's IMAGE and MASK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    import torch

MOST_PIXELS = 1 << 29


def load_picture(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All frames of a picture: IMAGE [B,H,W,3] in 0..1 and MASK [B,H,W] = 1 - alpha.

    Without transparency the mask is [B,64,64] zeros; a palette counts as transparency, as in ComfyUI. 16-bit
    grey keeps its depth. Raises ValueError for what is no picture, damaged, or too large.
    """
    import torch

    try:
        with Image.open(path) as picture:
            frames, alphas = _frames(picture, path)
    except (Image.DecompressionBombError, UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"cannot load {path.name}: {_reason(error)}") from error
    image = torch.from_numpy(np.stack(frames))
    mask = 1.0 - torch.from_numpy(np.stack(alphas)) if alphas else torch.zeros(len(frames), 64, 64)
    return image, mask


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"{error}; scale it down first"
    if isinstance(error, UnidentifiedImageError):
        return "it is not a picture that Pillow can read"
    return f"{error}; the file seems to be damaged"


def _frames(picture: Image.Image, path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    frames: list[np.ndarray] = []
    alphas: list[np.ndarray] = []
    transparent = "A" in picture.getbands() or "transparency" in picture.info or picture.mode in ("P", "PA")
    size, pixels = None, 0
    for frame in ImageSequence.Iterator(picture):
        frame = ImageOps.exif_transpose(frame)
        size = size or frame.size
        if frame.size != size:
            continue
        pixels += frame.width * frame.height
        if pixels > MOST_PIXELS:
            raise ValueError(f"cannot load {path.name}: its frames have more than {MOST_PIXELS} pixels in all")
        colour, alpha = _planes(frame, transparent)
        frames.append(colour)
        if alpha is not None:
            alphas.append(alpha)
        if picture.format == "MPO":  # the other frames are thumbnails and depth
            break
    return frames, alphas


def _planes(frame: Image.Image, transparent: bool) -> tuple[np.ndarray, np.ndarray | None]:
    if frame.mode.startswith("I"):
        grey = np.asarray(frame).astype(np.float32) / np.float32(65535)
        return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2), None
    pixels = np.asarray(frame.convert("RGBA" if transparent else "RGB")).astype(np.float32) / 255
    return np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] if transparent else None


def picture_of(image: torch.Tensor) -> Image.Image:
    """One [H,W,C] picture in 0..1, clipped and cut to 8 bits as ComfyUI does; four channels are RGBA."""
    pixels = np.clip(255.0 * image.detach().float().cpu().numpy(), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def write_png(file: BinaryIO, picture: Image.Image, texts: dict[str, Any], compress_level: int) -> None:
    """A PNG with a tEXt chunk of JSON for each of `texts`: `prompt`, `workflow`."""
    chunks = PngInfo()
    for key, value in texts.items():
        chunks.add_text(key, json.dumps(value))
    picture.save(file, format="PNG", pnginfo=chunks, compress_level=compress_level)
