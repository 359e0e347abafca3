"""LoRA: a denoiser's weights, changed by a small file."""

from __future__ import annotations

from .host import current, find
from .menu import path_on
from .model import ModelDenoiser

NONE = "none"
FOLDER = "LoRA folder"


def _files() -> dict[str, str | None]:
    """Name shown -> path; None changes nothing."""
    host = find()
    return {NONE: None, **(host.lora_files() if host else {})}


class VarifoldLoRA:
    DESCRIPTION = (
        "Changes a denoiser that Load Denoiser has read from a file by a LoRA: a style, a subject, fewer steps. "
        "For a MODEL take ComfyUI's own LoRA loader."
    )
    SEARCH_ALIASES = ["load lora", "lora loader", "locon", "adapter", "style lora", "merge lora"]
    CATEGORY = "Varifold"
    FUNCTION = "change"
    RETURN_TYPES = ("VARIFOLD_DENOISER", "STRING")
    RETURN_NAMES = ("denoiser", "report")
    OUTPUT_TOOLTIPS = (
        "The changed denoiser; the one given stays as it is. Several LoRAs: one node after another.",
        "How much was changed, and what of the file was not used.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "denoiser": ("VARIFOLD_DENOISER", {"tooltip": "Of Load Denoiser, or of another LoRA."}),
                "file": (
                    list(_files()),
                    {"tooltip": "A .safetensors file of the LoRA folder, made for the denoiser's family."},
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": -10.0,
                        "max": 10.0,
                        "step": 0.05,
                        "tooltip": "How much of the change. 0: none; below 0: the opposite.",
                    },
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, denoiser, file, strength):
        from ..models.checkpoint import identity

        path = path_on(_files(), file, FOLDER)
        return "" if path is None else identity(path)

    def change(self, denoiser, file, strength):
        from ..models.checkpoint import with_lora

        path = path_on(_files(), file, FOLDER)
        if isinstance(denoiser, ModelDenoiser):
            raise ValueError(
                "this denoiser is a MODEL: wire ComfyUI's LoraLoaderModelOnly in front of From Model instead"
            )
        if path is None:
            return denoiser, "no LoRA: the denoiser is as it was"
        changed, report = with_lora(denoiser, path, strength)
        if changed is not denoiser:
            current().adopt(changed)
        return changed, report
