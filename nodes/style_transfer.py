"""Style Transfer: pictures in the strokes of others, or in a medium of art."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from . import wires
from .host import current
from .model import ModelDenoiser
from .preview import preview
from .resize import cover
from .start import masks_of
from .style_denoiser import own_options, transfer_with_model
from .style_model import filled

if TYPE_CHECKING:
    from torch import Tensor

STROKES, STATISTICS, ATTENTION, DISTIL = "strokes", "statistics", "attention", "distil"
NONE, OIL, WATERCOLOUR, SKETCH, INK = "none", "oil", "watercolour", "sketch", "ink"


def _weight(name: str) -> tuple[str, dict]:
    return (
        "FLOAT",
        {
            "default": 1.0,
            "min": 0.0,
            "max": 10.0,
            "step": 0.05,
            "tooltip": f"How much {name} counts beside the other styles; 0: not at all.",
        },
    )


class VarifoldStyleTransfer:
    DESCRIPTION = (
        "Paints pictures over in the strokes and colours of a style picture, or in a medium with no style picture at "
        "all. Needs no model; with a denoiser there are three more methods."
    )
    SEARCH_ALIASES = [
        "neural style",
        "painting",
        "painterly",
        "image analogies",
        "oil painting",
        "watercolor",
        "sketch",
        "pencil",
        "ink",
        "style image",
    ]
    CATEGORY = "Varifold"
    FUNCTION = "transfer"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The content in the style, of its own size; its alpha, if it has any, is left alone.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "content": ("IMAGE", {"tooltip": "The pictures to restyle, of any size; a batch is done one by one."}),
                "method": (
                    [STROKES, STATISTICS, ATTENTION, DISTIL],
                    {
                        "tooltip": "strokes: patches of the style's brushwork along the content's edges; no model.\n"
                        "statistics: a denoiser draws the content with the style's means and spreads.\n"
                        "attention: a denoiser looks at the style while it redraws the content.\n"
                        "distil: the picture is optimised until the denoiser sees the style in it; best and slowest."
                    },
                ),
                "preset": (
                    [NONE, OIL, WATERCOLOUR, SKETCH, INK],
                    {
                        "tooltip": "A medium instead of a style's strokes. It needs no style picture; "
                        "with one, the medium takes its colours."
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "0: the content as it is; 1: all style.",
                    },
                ),
                "structure": (
                    "FLOAT",
                    {
                        "default": 0.5,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "How much of the content's fine detail stays: more for faces, less for looseness.",
                    },
                ),
                "keep_colours": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "The content's own colours, in the style's light and strokes."},
                ),
                "texture_scale": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.25,
                        "max": 4.0,
                        "step": 0.05,
                        "tooltip": "How large strokes are, without a denoiser. At 1 the style is seen as large as the "
                        "content.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**64 - 1,
                        "control_after_generate": False,
                        "tooltip": "The same seed, the same strokes.",
                    },
                ),
            },
            "optional": {
                "style": (
                    "IMAGE",
                    {"tooltip": "Where the style is from: one picture for all, or one for each of the content."},
                ),
                "weight": _weight("style"),
                "style_2": ("IMAGE", {"tooltip": "Another style to mix in."}),
                "weight_2": _weight("style_2"),
                "style_3": ("IMAGE", {"tooltip": "Another style to mix in."}),
                "weight_3": _weight("style_3"),
                "style_4": ("IMAGE", {"tooltip": "Another style to mix in."}),
                "weight_4": _weight("style_4"),
                "content_mask": ("MASK", {"tooltip": "Where to restyle: 1 = restyle, 0 = leave as it is."}),
                "style_mask": ("MASK", {"tooltip": "Where in style to take strokes and colours from: 1 = take."}),
                "denoiser": (
                    "VARIFOLD_DENOISER",
                    {
                        "tooltip": "For statistics, attention and distil: of Load Denoiser, or for statistics and "
                        "attention of From Model."
                    },
                ),
                "positive": (
                    "CONDITIONING",
                    {"tooltip": "What the content shows, for the denoiser. One of From Model needs it, others do not."},
                ),
                "vae": ("VAE", {"tooltip": "For a denoiser of latents that has none, or instead of its own."}),
                "steps": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 1000,
                        "tooltip": "Of the denoiser. 0: as many as the method needs.",
                    },
                ),
            },
        }

    def transfer(
        self,
        content,
        method,
        preset,
        strength,
        structure,
        keep_colours,
        texture_scale,
        seed,
        style=None,
        weight=1.0,
        style_2=None,
        weight_2=1.0,
        style_3=None,
        weight_3=1.0,
        style_4=None,
        weight_4=1.0,
        content_mask=None,
        style_mask=None,
        denoiser=None,
        positive=None,
        vae=None,
        steps=0,
    ):
        given = [
            ("style", style, weight, style_mask),
            ("style_2", style_2, weight_2, None),
            ("style_3", style_3, weight_3, None),
            ("style_4", style_4, weight_4, None),
        ]
        styles = [
            Chosen(name, _pictures(name, image).clamp(0, 1), share, mask)
            for name, image, share, mask in given
            if image is not None
        ]
        content = _pictures("content", content)
        _check(content, styles, method, preset, denoiser)
        where = _mask("content_mask", content_mask, content)
        by_denoiser = preset == NONE and method != STROKES
        options = {"method": method, "strength": strength, "structure": structure, "seed": seed}
        watching = _observer()
        if by_denoiser and isinstance(denoiser, ModelDenoiser):
            acting = [style for style in styles if style.weight]
            pictures, weights = [_opaque(style) for style in acting], [style.weight for style in acting]
            options |= {"steps": steps, "positive": positive, "vae": vae}
            styled = transfer_with_model(denoiser, content, pictures, weights, where, observe=watching, **options)
            return (_kept(content, styled, where) if keep_colours else styled,)
        options["keep_colours"] = keep_colours
        if by_denoiser:
            options |= {"steps": steps, **own_options(denoiser, positive, vae, content.shape[1:3])}
        else:
            options |= {"texture_scale": texture_scale, "medium": None if preset == NONE else preset}
        return (_transferred(content, styles, where, observe=watching, **options),)


class Chosen(NamedTuple):
    """A style: the name of its input, pictures [1 or B, h, w, 3 or 4], weight, and its mask as wired."""

    name: str
    pictures: Tensor
    weight: float
    mask: Tensor | None


def _transferred(content: Tensor, styles: list[Chosen], where: Tensor | None, **options: Any) -> Tensor:
    from ..models.style.restyle import transfer

    return transfer(
        content,
        [style.pictures for style in styles],
        weights=[style.weight for style in styles],
        mask=where,
        style_masks=[_mask("style_mask", style.mask, style.pictures) for style in styles],
        **options,
    ).cpu()


def _kept(content: Tensor, styled: Tensor, where: Tensor | None) -> Tensor:
    from ..models.style.restyle import in_own_colours

    return in_own_colours(content, styled, where)


def _opaque(style: Chosen) -> Tensor:
    """A style [B, h, w, 3], what is transparent or masked in the mean colour of what is not."""
    import torch

    rgb, mask = style.pictures[..., :3], _mask("style_mask", style.mask, style.pictures)
    there = torch.ones_like(rgb[..., :1]) if style.pictures.shape[-1] == 3 else style.pictures[..., 3:]
    there = there if mask is None else there * mask[..., None]
    return filled(style.name, rgb, there)


def _observer() -> Callable[[int, int, Tensor | None], None]:
    """What moves the bar, shows the state, and ends the run where it is cancelled."""
    host, bar = current(), None

    def observe(done: int, total: int, picture: Tensor | None) -> None:
        nonlocal bar
        host.check_cancelled()
        bar = bar or host.progress(total)
        if done == 0:
            return
        shown = bar.wants_preview and picture is not None
        bar.update(done, preview(picture[None].float().clamp(0, 1).cpu()) if shown else None)

    return observe


def _pictures(name: str, image: Tensor) -> Tensor:
    """IMAGE as [B, H, W, 3 or 4], float32. Raises ValueError, with the name of the input, for what is none."""
    import torch

    try:
        rgb, alpha = wires.image_in(image)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return torch.cat([rgb, alpha[..., None]], -1) if image.shape[-1] == 4 else rgb


def _mask(name: str, mask: Tensor | None, pictures: Tensor) -> Tensor | None:
    """A MASK as [B, H, W] of the size of its pictures, or None. Raises ValueError for NaN in it."""
    masks = masks_of(len(pictures), mask)
    if masks is None:
        return None
    if not masks.isfinite().all():
        raise ValueError(f"{name} has NaN in it: look at the node that made it")
    return cover(masks, tuple(pictures.shape[1:3]), enlarge="bilinear")[:, 0]


def _check(content: Tensor, styles: list[Chosen], method: str, preset: str, denoiser: Any) -> None:
    """Raises ValueError for inputs that do not go together."""
    for style in styles:
        if len(style.pictures) not in (1, len(content)):
            raise ValueError(
                f"{style.name} has {len(style.pictures)} pictures and content {len(content)}: one for all, or one each"
            )
    if preset == NONE and not any(style.weight for style in styles):
        raise ValueError("there is no style: wire a picture into style, or choose a preset")
    if preset == NONE and method != STROKES and denoiser is None:
        raise ValueError(f"{method} needs a denoiser: wire one, or choose {STROKES}")
