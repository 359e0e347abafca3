"""Style Model: a MODEL that draws in the style of pictures, with no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import wires
from .host import Style, current

if TYPE_CHECKING:
    from torch import Tensor

STYLE, COMPOSITION = "style only", "style and composition"
OTHERS = (2, 3, 4)


def _weight(of: str) -> tuple:
    tooltip = f"How much of {of} there is beside the other styles. Its pictures share it; 0 leaves it out."
    return ("FLOAT", {"default": 1.0, "min": 0.0, "max": 10.0, "step": 0.05, "tooltip": tooltip})


def _percent(default: float, tooltip: str) -> tuple:
    return ("FLOAT", {"default": default, "min": 0.0, "max": 1.0, "step": 0.001, "tooltip": tooltip})


class VarifoldStyleModel:
    DESCRIPTION = (
        "A MODEL that draws in the style of pictures, with no training: it looks at them while it draws. "
        "For your own KSampler, LoRAs and ControlNets; SD 1.5, SDXL and Flux."
    )
    SEARCH_ALIASES = [
        "style transfer",
        "style aligned",
        "visual style prompting",
        "style reference",
        "reference only",
        "ip adapter style",
    ]
    CATEGORY = "Varifold"
    FUNCTION = "patch"
    RETURN_TYPES = ("MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The MODEL, for KSampler, From Model and every other node that takes one.",)

    @classmethod
    def INPUT_TYPES(cls):
        style = {"tooltip": "One more style, drawn together with the others."}
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "Of any loader, patched by any node."}),
                "style": (
                    "IMAGE",
                    {"tooltip": "What to draw like, of any size. Each picture of a batch costs as much as one drawn."},
                ),
                "vae": ("VAE", {"tooltip": "That of the MODEL; it takes the style in."}),
                "strength": (
                    "FLOAT",
                    {
                        "default": 0.7,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "0: the MODEL as it is; 1: it looks at the style alone, not at what it draws.",
                    },
                ),
                "layers": (
                    [STYLE, COMPOSITION],
                    {
                        "tooltip": "style only: where colours, strokes and textures are made.\n"
                        "style and composition: everywhere, and the picture is laid out like the style as well."
                    },
                ),
                "start_percent": _percent(0.0, "Where on the way from noise to picture the style begins to act."),
                "end_percent": _percent(1.0, "Where it ends. Ending early leaves the last details to the prompt."),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**64 - 1,
                        "control_after_generate": False,
                        "tooltip": "The noise through which the style is seen: another one, another look at it.",
                    },
                ),
            },
            "optional": {
                **{f"style_{number}": ("IMAGE", style) for number in OTHERS},
                "weight": _weight("style"),
                **{f"weight_{number}": _weight(f"style_{number}") for number in OTHERS},
            },
        }

    def patch(
        self,
        model,
        style,
        vae,
        strength,
        layers,
        start_percent,
        end_percent,
        seed,
        style_2=None,
        style_3=None,
        style_4=None,
        weight=1.0,
        weight_2=1.0,
        weight_3=1.0,
        weight_4=1.0,
    ):
        models = current().models
        dimensions = models.facts(model).dimensions
        if dimensions != 2:
            raise ValueError(
                f"latents of this MODEL have {dimensions + 2} dimensions, as of videos or sounds; "
                "Style Model works in those that draw pictures"
            )
        if start_percent >= end_percent:
            raise ValueError(
                f"start_percent is {start_percent:g} and end_percent {end_percent:g}: it should be the larger"
            )
        given = {"style": (style, weight), "style_2": (style_2, weight_2)}
        given |= {"style_3": (style_3, weight_3), "style_4": (style_4, weight_4)}
        pictures, weights = [], []
        for name, (image, share) in given.items():
            if image is not None and share > 0:
                batch = _opaque(name, image)
                pictures += batch.split(1)
                weights += [share / len(batch)] * len(batch)
        if not pictures:
            raise ValueError("the weights of all styles are 0: raise one, or set strength to 0 to draw without a style")
        if strength == 0:
            return (model,)
        shares = [share / sum(weights) for share in weights]
        composition = layers == COMPOSITION
        style = Style(pictures, shares, strength, composition, start_percent, end_percent, seed)
        return (models.styled(model, vae, style),)


def _opaque(name: str, image: Tensor) -> Tensor:
    """An IMAGE as [B, 3, H, W], what is transparent in the mean colour of what is not. Raises ValueError."""
    try:
        rgb, alpha = wires.image_in(image)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return filled(name, rgb, alpha[..., None].clamp(0, 1)).movedim(-1, 1)


def filled(name: str, rgb: Tensor, there: Tensor) -> Tensor:
    """Pictures [B, H, W, 3] with the mean colour of what is `there` [B, H, W, 1] elsewhere. Raises ValueError."""
    total = there.sum((1, 2), keepdim=True)
    if not total.all():
        raise ValueError(f"{name} has a picture that is transparent everywhere: there is nothing to draw like")
    mean = (rgb * there).sum((1, 2), keepdim=True) / total
    return mean.lerp(rgb, there).clamp(0, 1)
