"""Nodes around a denoiser: load it, speak to it."""

from __future__ import annotations

from .conditions import conditioning_out, vocabulary_of
from .host import current, find
from .menu import path_on
from .training import trained_files

EMBEDDED = "Varifold pixel art (embedded)"
OWN = "the file's own"
PREDICTIONS = ["auto", "edm", "eps", "v", "x0", "flow"]
PRECISIONS = ["auto", "float32", "bfloat16", "float16"]
CATEGORY = "Varifold"
FOLDERS = "model folders"


def _files() -> dict[str, str | None]:
    """Name shown -> path; None is the embedded denoiser."""
    host = find()
    return {EMBEDDED: None, **(host.denoiser_files() if host else {}), **trained_files("denoiser")}


def _autoencoder_files() -> dict[str, str | None]:
    """Name shown -> path; None is the file's own."""
    host = find()
    return {OWN: None, **(host.autoencoder_files() if host else {})}


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
                    {
                        "tooltip": "What the net computes in. auto: float32 on the CPU, on a GPU a big net as "
                        "its file is. The state itself is always float32."
                    },
                ),
                "prediction": (
                    PREDICTIONS,
                    {"tooltip": "What the net's output means. auto: what the file says; overrule it if that is wrong."},
                ),
            },
            "optional": {
                "autoencoder": (
                    list(_autoencoder_files()),
                    {
                        "tooltip": "What makes pictures of latents: the file's own, or that of another file (a VAE or "
                        "a TAESD). A vae at Sampler goes before it."
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, file, precision, prediction, autoencoder=OWN):
        from ..models.checkpoint import fingerprint

        path, other = path_of(file), path_on(_autoencoder_files(), autoencoder, FOLDERS)
        return fingerprint(path) + ("" if other is None else fingerprint(other))

    def load(self, file, precision, prediction, autoencoder=OWN):
        from ..models.checkpoint import inspect, load_denoiser, natural_dtype, report

        path, host = path_of(file), current()
        dtype = natural_dtype(inspect(path), host.device()) if precision == "auto" else precision
        other = path_on(_autoencoder_files(), autoencoder, FOLDERS)
        denoiser = load_denoiser(path, dtype=dtype, prediction=prediction, autoencoder=other)
        host.adopt(denoiser)
        if denoiser.autoencoder is not None:
            host.adopt(denoiser.autoencoder)
        return denoiser, report(path, prediction, other)


def path_of(file: str) -> str | None:
    """The path of a file on Load Denoiser's menu, None for the embedded one. Raises ValueError if it is not there."""
    return path_on(_files(), file, FOLDERS)


class VarifoldPrompt:
    DESCRIPTION = (
        "Says in words what to draw, or by a class for denoisers that draw by classes. "
        "What the denoiser knows is in Load Denoiser's report."
    )
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
                        "tooltip": "A few words in any order: hero robe white, floor grass, potion red. "
                        "For a denoiser of classes its name or number: 207.",
                    },
                ),
                "unknown": (
                    ["nearest", "skip", "error"],
                    {"tooltip": "A word the denoiser does not know: read as the nearest one, left out, or an error."},
                ),
            }
        }

    def encode(self, denoiser, text, unknown):
        if denoiser.vocabulary is None and denoiser.labels is None:
            raise ValueError(
                "this denoiser knows no words: leave Sampler's positive unconnected, or take CLIPTextEncode for one "
                "that reads a text encoder's prompts"
            )
        cond, notes = denoiser.read(text, unknown)
        return {"ui": {"text": notes}, "result": (conditioning_out(cond, vocabulary_of(denoiser), notes),)}
