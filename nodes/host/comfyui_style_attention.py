"""Self-attention of ComfyUI's U-Nets and of Flux, in which rows that are drawn look at rows of a style too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import comfy.model_base
import torch
from comfy.ldm.flux.model import Flux
from comfy.ldm.modules.attention import SpatialTransformer, SpatialVideoTransformer, optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ...models.style.shared_attention import aligned, shared
from . import Style

if TYPE_CHECKING:
    from torch import Tensor

Block = tuple[str, int]


class Shared:
    """Self-attention of one call in `blocks`: of `parts` of its rows the first is drawn, the others are the style's."""

    def __init__(self, style: Style, blocks: set[Block]):
        self.style, self.blocks, self.parts = style, blocks, 1 + len(style.pictures)

    def enter(self, options: dict) -> None:
        """Put it into the transformer_options of the call, beside what other patches have there."""
        raise NotImplementedError

    def aligned(self, features: Tensor, tokens: slice = slice(None)) -> Tensor:
        """[rows, ..., L, D], of the rows drawn the `tokens` brought towards the style."""
        own, *styles = (part[..., tokens, :] for part in features.chunk(self.parts))
        features = features.clone()
        features[: len(own), ..., tokens, :] = aligned(own, styles, self.style.shares, self.style.strength)
        return features

    def attend(self, query: Tensor, key: Tensor, value: Tensor, beside: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Query [rows drawn, heads, L, D], key and value [rows, heads, K, D] -> [rows drawn, L, heads · D]."""
        own, *styles = zip(key.chunk(self.parts), value.chunk(self.parts), strict=True)
        drawn = shared(query, own, styles, self.style.shares, self.style.strength, beside)
        return drawn.transpose(1, 2).flatten(2)


class SharedInUNet(Shared):
    def enter(self, options: dict) -> None:
        replaced = options.get("patches_replace", {})
        others = replaced.get("attn1", {})
        free = self.blocks - {block[:2] for block in others}
        options["patches_replace"] = {**replaced, "attn1": {**others, **dict.fromkeys(free, self.attention)}}

    def attention(self, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        """[rows, L, heads · D] -> the same."""
        heads, count = options["n_heads"], len(query) // self.parts
        query, key = self.aligned(query), self.aligned(key)
        as_ever = {"attn_precision": options["attn_precision"], "transformer_options": options}
        styles = optimized_attention(query[count:], key[count:], value[count:], heads, **as_ever)
        split = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query[:count], key, value))
        return torch.cat([self.attend(*split), styles])


class SharedInFlux(Shared):
    """Only tokens of pictures look at tokens of pictures; those of the prompt, and of references, see their own row."""

    def enter(self, options: dict) -> None:
        patches = options.get("patches", {})
        options["patches"] = {**patches, "attn1_patch": [*patches.get("attn1_patch", []), self.before_rotation]}
        options["optimized_attention_override"] = partial(self.attention, options.get("optimized_attention_override"))

    def before_rotation(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict, **_rest: Any) -> dict:
        """[rows, heads, L, D] of the next attention, which learns here where in it the picture's tokens are."""
        if _block(extra_options) not in self.blocks:
            return {}
        start, stop = extra_options["img_slice"]
        self.picture = slice(start, stop - sum(extra_options.get("reference_image_num_tokens", ())))
        return {"q": self.aligned(q, self.picture), "k": self.aligned(k, self.picture)}

    def attention(
        self, former: Callable | None, function: Callable, *tensors: Any, mask: Tensor | None = None, **rest: Any
    ) -> Tensor:
        """[rows, heads, L, D] -> [rows, L, heads · D]. `former` is the override that another patch has set."""
        plain = partial(function if former is None else partial(former, function), mask=mask, **rest)
        if _block(rest["transformer_options"]) not in self.blocks:
            return plain(*tensors)
        if mask is not None:
            raise ValueError(
                "Style Model does not go with the attention mask that came with the CONDITIONING: "
                "set strength_type of Apply Style Model to multiply"
            )
        query, key, value, heads = tensors
        count, start, stop = len(query) // self.parts, self.picture.start, self.picture.stop
        styles = plain(query[count:], key[count:], value[count:], heads)
        before, own, after = query[:count].tensor_split((start, stop), 2)
        others = plain(torch.cat([before, after], 2), key[:count], value[:count], heads)
        beside = tuple(torch.cat([part[:count, :, :start], part[:count, :, stop:]], 2) for part in (key, value))
        drawn = self.attend(own, key[:, :, self.picture], value[:, :, self.picture], beside)
        return torch.cat([torch.cat([others[:, :start], drawn, others[:, start:]], 1), styles])


def _block(options: dict) -> Block:
    return options["block_type"], options["block_index"]


def where_to_share(model: Any, composition: bool) -> tuple[type[Shared], set[Block]]:
    """How a net's self-attention is reached, and in which blocks it draws style, or all of them."""
    net = model.diffusion_model
    if isinstance(net, Flux):
        return SharedInFlux, _blocks_of_flux(net, composition)
    if not isinstance(net, UNetModel):
        raise ValueError(
            "Style Model works in U-Nets, such as SD 1.5 and SDXL, and in Flux, and this MODEL is "
            f"{type(model).__name__}: unplug Style Model"
        )
    if any(isinstance(layer, SpatialVideoTransformer) for layer in net.modules()):
        raise ValueError("this MODEL draws videos; Style Model works in those that draw pictures")
    return SharedInUNet, _blocks_of_unet(net, composition, isinstance(model, comfy.model_base.SDXL))


def _blocks_of_flux(net: Flux, composition: bool) -> set[Block]:
    single = [("single", number) for number in range(len(net.single_blocks))]
    if composition:
        return {*(("double", number) for number in range(len(net.double_blocks))), *single}
    return set(single[len(single) // 2 :])


def _blocks_of_unet(net: UNetModel, composition: bool, sdxl: bool) -> set[Block]:
    parts = {"input": net.input_blocks, "middle": [net.middle_block or ()], "output": net.output_blocks}
    blocks = [
        (name, number)
        for name, part in parts.items()
        for number, layers in enumerate(part)
        if any(isinstance(layer, SpatialTransformer) for layer in layers)
    ]
    if composition:
        return set(blocks)
    decoder = [block for block in blocks if block[0] == "output"]
    # SDXL's layers of style begin at the second of its decoder's six, up_blocks.0.attentions.1 (Wang et al. 2024,
    # "InstantStyle"); those of Stable Diffusion 1 at the fourth of nine (Chung et al. 2024, "Style injection").
    return set(decoder[1 if sdxl else len(decoder) // 3 :])
