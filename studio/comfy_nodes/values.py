"""Other values: shown as text, and schedules cut in two."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class PreviewAny:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "main"
    OUTPUT_NODE = True
    CATEGORY = "utilities"
    DESCRIPTION = "Preview any input value as text."

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"source": ("*", {})}}

    def main(self, source: Any = None):
        text = _text(source)
        return {"ui": {"text": (text,)}, "result": (text,)}


def _text(value: Any) -> str:
    if isinstance(value, (str, int, float)) or value is None:
        return str(value)
    try:
        return json.dumps(value, indent=4)
    except (TypeError, ValueError, RecursionError):
        return _with_more_edges(value)


def _with_more_edges(value: Any) -> str:
    """As Python shows it, but six numbers of either end of a tensor."""
    import torch

    torch.set_printoptions(edgeitems=6)
    try:
        return str(value)
    finally:
        torch.set_printoptions(profile="default")


class SplitSigmas:
    RETURN_TYPES = ("SIGMAS", "SIGMAS")
    RETURN_NAMES = ("high_sigmas", "low_sigmas")
    FUNCTION = "execute"
    CATEGORY = "model/sampling/sigmas"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sigmas": ("SIGMAS",), "step": ("INT", {"default": 0, "min": 0, "max": 10000})}}

    def execute(self, sigmas: torch.Tensor, step: int):
        return sigmas[: step + 1], sigmas[step:]


NODES: dict[str, tuple[str, type]] = {
    "PreviewAny": ("Preview as Text", PreviewAny),
    "SplitSigmas": ("Split Sigmas", SplitSigmas),
}
