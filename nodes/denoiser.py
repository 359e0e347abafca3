"""Nodes around a denoiser: load it, speak to it."""

from __future__ import annotations

from . import wires
from .host import current, find

EMBEDDED = "Varifold pixel art (embedded)"
PREDICTIONS = ["auto", "edm", "eps", "v", "x0", "flow"]
PRECISIONS = ["auto", "float32", "bfloat16", "float16"]
CATEGORY = "Varifold"


def _files() -> dict[str, str | None]:
    """Name shown -> path; None is the embedded denoiser."""
    host = find()
    return {EMBEDDED: None, **(host.denoiser_files() if host else {})}


class VarifoldLoadDenoiser:
    DESCRIPTION = "Loads a denoiser: the pixel-art one that comes with Varifold, or a file of the model folders."
    SEARCH_ALIASES = ["load model", "checkpoint loader", "diffusion model", "pixel art model", "denoiser"]
    CATEGORY = CATEGORY
    FUNCTION = "load"
    RETURN_TYPES = ("VARIFOLD_DENOISER", "STRING")
    RETURN_NAMES = ("denoiser", "report")
    OUTPUT_TOOLTIPS = (
        "The denoiser, for Prompt, Noise Schedule, Guidance and Sampler.",
        "What the file is: what its keys proved, its words, size and σ range, and what was unused.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "file": (
                    list(_files()),
                    {"tooltip": "The embedded denoiser, or a .safetensors file of the model folders."},
                ),
                "precision": (
                    PRECISIONS,
                    {"tooltip": "What the net computes in. auto: float32. The state itself is always float32."},
                ),
                "prediction": (
                    PREDICTIONS,
                    {"tooltip": "What the net's output means. auto: what the file says; overrule it if that is wrong."},
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, file, precision, prediction):
        from ..models.checkpoint import identity, inspect

        path = path_of(file)
        inspect(path)  # a file that cannot be read is not worth hashing, and may be of many GB
        return identity(path)

    def load(self, file, precision, prediction):
        import torch

        from ..models.checkpoint import load_denoiser, report

        dtype = None if precision == "auto" else getattr(torch, precision)
        path = path_of(file)
        denoiser = load_denoiser(path, dtype=dtype, prediction=prediction)
        current().adopt(denoiser)
        return denoiser, report(path, prediction)


def path_of(file: str) -> str | None:
    """The path of a file on Load Denoiser's menu, None for the embedded one. Raises ValueError if it is not there."""
    files = _files()
    if file not in files:
        raise ValueError(f"there is no {file!r} in the model folders: choose another file, or put it there")
    return files[file]


class VarifoldPrompt:
    DESCRIPTION = "Says in words what to draw. Words the denoiser knows are in Load Denoiser's report."
    SEARCH_ALIASES = ["text encode", "positive prompt", "negative prompt", "conditioning", "words"]
    CATEGORY = CATEGORY
    FUNCTION = "encode"
    RETURN_TYPES = ("CONDITIONING",)
    RETURN_NAMES = ("conditioning",)
    OUTPUT_TOOLTIPS = ("The prompt, for Sampler's positive or negative. Concat, Average and Combine work on it.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "denoiser": ("VARIFOLD_DENOISER", {"tooltip": "Whose words these are."}),
                "text": (
                    "STRING",
                    {
                        "default": "hero robe",
                        "multiline": True,
                        "tooltip": "A few words in any order: hero robe white, floor grass, potion red.",
                    },
                ),
                "unknown": (
                    ["nearest", "skip", "error"],
                    {"tooltip": "A word the denoiser does not know: read as the nearest one, left out, or an error."},
                ),
            }
        }

    def encode(self, denoiser, text, unknown):
        if denoiser.vocabulary is None:
            raise ValueError(
                "this denoiser knows no words: leave Sampler's positive unconnected, or for a MODEL take CLIPTextEncode"
            )
        _, notes = denoiser.vocabulary.indices(text, unknown)
        conditioning = wires.conditioning_out(denoiser.prompt(text, unknown), wires.vocabulary_of(denoiser), notes)
        return {"ui": {"text": notes}, "result": (conditioning,)}
