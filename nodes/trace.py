"""Trace: what the denoiser believed on the way."""

from __future__ import annotations

from ..models.denoising import pixels
from .drawing import cells, draw_sheet, image_out


class VarifoldTrace:
    DESCRIPTION = "Shows how picture 0 of a run came about: what the denoiser believed at each noise level."
    SEARCH_ALIASES = ["trajectory", "denoising steps", "intermediate", "x0 prediction", "animation", "filmstrip"]
    CATEGORY = "Varifold"
    FUNCTION = "show"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("frames: a picture for each evaluation. strip: all of them on one sheet, with their σ.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "trace": ("VARIFOLD_TRACE", {"tooltip": "Of Sampler (Varifold)."}),
                "layout": (
                    ["frames", "strip"],
                    {"tooltip": "frames: a batch, for an animation. strip: one labelled sheet."},
                ),
                "scale": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 32,
                        "tooltip": "How many pixels each pixel becomes. 0: small pictures grow to 128 and more.",
                    },
                ),
            }
        }

    def show(self, trace, layout, scale):
        rgb, alpha = pixels.decode(trace.frames, trace.channels)
        frames = cells(rgb, 1 - alpha, scale)
        if layout == "strip":
            frames = [draw_sheet(frames, [f"sigma {sigma:.3g}" for sigma in trace.sigmas])]
        return (image_out(frames),)
