"""Sample Picture: pictures that come with the pack, so that a shared graph runs on a stranger's machine."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"
PICTURES = {
    "cat": "cat.jpg",
    "coffee": "coffee.jpg",
    "hero (transparent)": "hero.png",
    "wave": "wave.jpg",
    "village": "village.jpg",
}


class VarifoldSamplePicture:
    DESCRIPTION = "A picture that comes with Varifold, CC0 or in the public domain, for trying things out."
    SEARCH_ALIASES = ["example image", "test image", "demo picture", "load image"]
    CATEGORY = "Varifold"
    FUNCTION = "load"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    OUTPUT_TOOLTIPS = ("The picture.", "What is transparent: 1 − alpha, zeros if opaque.")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "which": (
                    list(PICTURES),
                    {
                        "tooltip": "cat and coffee are photographs; hero is a sprite; "
                        "wave is a woodblock print by Hokusai, village an oil painting by van Gogh."
                    },
                )
            }
        }

    def load(self, which):
        import numpy as np
        import torch
        from PIL import Image

        with Image.open(FOLDER / PICTURES[which]) as file:
            rgba = torch.from_numpy(np.array(file.convert("RGBA"))).float() / 255
        return rgba[None, ..., :3], 1 - rgba[None, ..., 3]
