"""CONDITIONING, as it travels on ComfyUI's wires, and the conditions that our own nets follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.denoiser import Denoiser

VOCABULARY = "varifold_vocabulary"
NOTES = "varifold_notes"
_HARMLESS = {VOCABULARY, NOTES, "pooled_output"}
SIZES = ("height", "width", "crop_h", "crop_w", "target_height", "target_width")
GUIDANCE = 3.5
AESTHETIC_SCORE = 6.0

Cond = dict[str, "Tensor"]


def vocabulary_of(denoiser: Denoiser) -> str:
    """What tells a denoiser's words or classes from those of any other: they and its weights."""
    return f"{(denoiser.vocabulary or denoiser.labels).hash}-{denoiser.identity}"


def conditioning_out(cond: Cond, vocabulary: str, notes: list[str]) -> list:
    """Words or a class as a CONDITIONING, so that ComfyUI's Average and Combine work on it, and Concat on words."""
    tensor = cond["words"] if "words" in cond else cond["label"][:, None]
    return [[tensor.float().cpu(), {VOCABULARY: vocabulary, NOTES: notes}]]


def conditioning_in(conditioning: list | None, denoiser: Denoiser, size: Sequence[int]) -> tuple[list, list[str]]:
    """CONDITIONING -> conditions whose predictions are to be averaged, and notes for the report.

    `size` is the height and width of the state that they are for. Raises ValueError for one that this denoiser does not
    understand, and for areas, masks, hooks and the like.
    """
    if conditioning is None:
        return [None], []
    own = denoiser.vocabulary is not None or denoiser.labels is not None
    if not own and "tokens" not in denoiser.conditions:
        raise ValueError("this denoiser takes no prompt: unplug positive and negative")
    read = _own if own else _tokens
    conds, notes = [], []
    for tensor, extras in conditioning:
        cond, used = read(tensor.detach().clone(), extras, denoiser, size)
        foreign = sorted(name for name in set(extras) - used - _HARMLESS if extras[name] is not None)
        if foreign:
            raise ValueError(f"this denoiser cannot follow a CONDITIONING with {', '.join(foreign)}: prompts only")
        conds.append(cond)
        notes += extras.get(NOTES, [])
    return conds, notes


def check_prompts(positive: Any, negative: Any, needs_negative: bool) -> None:
    """Raises ValueError for CONDITIONING that a denoiser which reads a text encoder's prompts cannot be guided by."""
    if positive is None:
        raise ValueError("this denoiser draws by a prompt: wire positive, of CLIPTextEncode for instance")
    if negative is None and needs_negative:
        raise ValueError("guidance pulls away from negative: wire it, or set guidance to 1 and take no CFG++ solver")
    for name, conditioning in (("positive", positive), ("negative", negative)):
        if any(VOCABULARY in extras for _, extras in conditioning or ()):
            raise ValueError(
                f"{name} was made by Prompt (Varifold), which this denoiser does not read: take CLIPTextEncode"
            )


def with_empty_prompt(denoiser: Denoiser, size: Sequence[int]) -> Denoiser:
    """The same denoiser, the empty prompt that its guidance may need read as conditions."""
    guidance = denoiser.guidance
    if guidance.empty is None or guidance.other != "empty":
        return denoiser
    return denoiser.with_guidance(replace(guidance, empty=conditioning_in(guidance.empty, denoiser, size)[0]))


def _own(tensor: Tensor, extras: dict, denoiser: Denoiser, size: Sequence[int]) -> tuple[Cond, set[str]]:
    """What Prompt said."""
    if extras.get(VOCABULARY) != vocabulary_of(denoiser):
        raise ValueError(
            "this CONDITIONING was not made for this denoiser: make it with Prompt (Varifold), "
            "wired to the same denoiser"
        )
    if denoiser.vocabulary is not None:
        return {"words": tensor}, set()
    if tensor.shape[1] != 1:
        raise ValueError("a picture is of one class: mix classes with Average or Combine instead of Concat")
    return {"label": tensor[:, 0]}, set()


def _tokens(tokens: Tensor, extras: dict, denoiser: Denoiser, size: Sequence[int]) -> tuple[Cond, set[str]]:
    """What a text encoder said, and the parts that the net wants beside it."""
    cond, used = {"tokens": tokens}, set()
    for name in denoiser.conditions:
        if name in PARTS:
            cond[name], keys = PARTS[name](extras, denoiser, size)
            used |= keys
    return cond, used


def _vector(extras: dict, denoiser: Denoiser, size: Sequence[int]) -> tuple[Tensor, set[str]]:
    """The pooled prompt, and behind it the sizes that SDXL is told."""
    from ..models.denoising.sizes import size_embedding

    pooled, length = extras.get("pooled_output"), denoiser.net.config.vector
    if pooled is None:
        raise ValueError("this CONDITIONING has no pooled_output: encode the prompt with the CLIP of the same family")
    height, width = (side * denoiser.latents.downscale for side in size)
    told = {"height": height, "width": width, "crop_h": 0, "crop_w": 0}
    told |= {name: extras[name] for name in SIZES if name in extras}
    told = {"target_height": told["height"], "target_width": told["width"], **told}
    sizes = [told[name] for name in SIZES]
    if length == pooled.shape[-1]:
        return pooled, set()
    vector = size_embedding(pooled, sizes)
    if vector.shape[-1] != length:
        vector = size_embedding(pooled, [*sizes[:4], extras.get("aesthetic_score", AESTHETIC_SCORE)])
    if vector.shape[-1] != length:
        raise ValueError(
            f"this CONDITIONING's pooled_output is {pooled.shape[-1]} wide and does not fit the denoiser: "
            "encode the prompt with the CLIP of the same family"
        )
    return vector, {*SIZES, "aesthetic_score"}


def _guidance(extras: dict, denoiser: Denoiser, size: Sequence[int]) -> tuple[Tensor, set[str]]:
    import torch

    scale = extras.get("guidance", GUIDANCE)
    if scale is None:
        raise ValueError("this denoiser is always told a guidance: leave FluxDisableGuidance out, or draw with a MODEL")
    return torch.tensor([float(scale)]), {"guidance"}


def _picture(extras: dict, denoiser: Denoiser, size: Sequence[int]) -> tuple[Tensor, set[str]]:
    """The mask and what it leaves of the picture, that a net made for inpainting sees beside the state."""
    import torch
    from torch.nn.functional import interpolate

    latent, mask = extras.get("concat_latent_image"), extras.get("concat_mask")
    if latent is None or mask is None:
        raise ValueError(
            "this denoiser repaints pictures: take InpaintModelConditioning's positive, negative and latent"
        )
    latent = denoiser.latents.from_wire(latent.float())
    mask = mask.float().reshape(-1, 1, *mask.shape[-2:])
    latent, mask = (
        part if tuple(part.shape[-2:]) == tuple(size) else interpolate(part, tuple(size), mode="bilinear")
        for part in (latent, mask)
    )
    count = max(len(latent), len(mask))
    return torch.cat([part.expand(count, -1, -1, -1) for part in (mask.round(), latent)], 1), {
        "concat_latent_image",
        "concat_mask",
    }


PARTS: dict[str, Callable[[dict, Any, Sequence[int]], tuple[Tensor, set[str]]]] = {
    "vector": _vector,
    "guidance": _guidance,
    "image": _picture,
}
