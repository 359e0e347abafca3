"""Trace: what the denoiser believed on the way."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from .drawing import cells, draw_sheet, image_out

if TYPE_CHECKING:
    from ..models.sampling.trace import Trace

LARGEST_SHOWN = 256  # pixels of a frame's longer side in the browser
LARGEST_SHARP = 64  # up to here every pixel counts, and JPEG would smear it


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
        rgb, alpha = trace.decode(trace.frames)
        trajectory = _trajectory(trace, cells(rgb, 1 - alpha, 1))
        frames = cells(rgb, 1 - alpha, scale)
        if layout == "strip":
            frames = [draw_sheet(frames, [f"sigma {sigma:.3g}" for sigma in trace.sigmas])]
        return {"ui": {"varifold_trajectory": [trajectory]}, "result": (image_out(frames),)}


def _trajectory(trace: Trace, frames: list[Image.Image]) -> dict[str, Any]:
    """What the browser steps through: the frames as one picture, and the σ, step, weight and error of each.

    The weights are those in the picture; where that is the last output alone, in the state that this was made from.
    """
    from ..models.explain.steps import weights_of
    from ..models.sampling.plan import Slot

    plan, weights = trace.plan, weights_of(trace.plan)
    steps = [plan.rows[row].step for row in trace.rows]
    return {
        "strip": _data_url(frames),
        "evaluations": [row + 1 for row in trace.rows],
        "of": plan.evaluations,
        "solver": plan.solver,
        "sigmas": trace.sigmas,
        "steps": [step + 1 for step in steps],
        "weights": [weights.get(Slot("d", row)) for row in trace.rows],
        "errors": [trace.errors[step] for step in steps],
    }


def _data_url(frames: list[Image.Image]) -> str:
    """The frames side by side, none larger than the browser shows them."""
    width, height = frames[0].size
    shrink = min(1.0, LARGEST_SHOWN / max(width, height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    strip = Image.new("RGB", (size[0] * len(frames), size[1]))
    for index, frame in enumerate(frames):
        strip.paste(frame if shrink == 1 else frame.resize(size, Image.LANCZOS), (index * size[0], 0))
    kind = "png" if max(size) <= LARGEST_SHARP else "jpeg"
    file = io.BytesIO()
    strip.save(file, kind, quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
