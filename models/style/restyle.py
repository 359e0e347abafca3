"""Style transfer: a picture in the style of others, or in a medium of art."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .media import MEDIA, render
from .recolour import colours_of, recolour, with_colours_of
from .strokes import PASSES, strokes
from .styles import Style, mixed_colours
from .transport import fit

STROKES, STATISTICS, ATTENTION, DISTIL = "strokes", "statistics", "attention", "distil"
METHODS = (STROKES, STATISTICS, ATTENTION, DISTIL)
SMOOTH = 0.25  # of the recolouring of a medium: its own marks are to follow

Observer = Callable[[int, int, Tensor | None], None]
"""observe(done, total, picture): `done` of `total` steps are over; a picture [H, W, 3] of the state, if any.

Raise from it to stop.
"""


def transfer(
    content: Tensor,
    style: Tensor | Sequence[Tensor] = (),
    *,
    method: str = STROKES,
    medium: str | None = None,
    strength: float = 1.0,
    structure: float = 0.5,
    keep_colours: bool = False,
    texture_scale: float = 1.0,
    seed: int = 0,
    weights: Sequence[float] | None = None,
    mask: Tensor | None = None,
    style_masks: Sequence[Tensor | None] | None = None,
    denoiser: Any = None,
    cond: Any = None,
    steps: int = 0,
    observe: Observer = lambda done, total, picture: None,
) -> Tensor:
    """Pictures [B, H, W, 3 or 4] in 0..1 in the style of others [1 or B, h, w, 3 or 4]: content's shape.

    style: one, or several, whose shares are their `weights`, equal by default. method: "strokes" needs nothing more;
    "statistics", "attention" and "distil" need a `denoiser`, with `cond` and `steps` as `with_denoiser` says.
    medium: "oil", "watercolour", "sketch" or "ink" instead of a style's strokes; styles then give its colours.
    strength: 0 is the content, bit for bit. structure, keep_colours, texture_scale: see `strokes` and `render`.
    mask [1 or B, H, W]: where to change. style_masks, [1 or B, h, w] each: where in the styles to take from.
    A fourth channel is alpha; the content's is kept, and what is transparent in a style is no style.
    Raises ValueError for another method or medium, for nothing to take a style from, and for numbers that do not fit.
    """
    styles = [style] if isinstance(style, Tensor) else list(style)
    weights = [1.0] * len(styles) if weights is None else list(weights)
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a method: it should be one of {', '.join(METHODS)}")
    if medium is not None and medium not in MEDIA:
        raise ValueError(f"there is no medium {medium!r}: choose one of {', '.join(MEDIA)}")
    if len(weights) != len(styles) or not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(f"{len(styles)} styles need as many weights, none below 0, and these are {weights}")
    for name, value in (("strength", strength), ("structure", structure)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value:g}: it should be between 0 and 1")
    if not 0 < texture_scale < math.inf:
        raise ValueError(f"texture_scale is {texture_scale:g}: it should be above 0")
    if medium is None and not any(weights):
        raise ValueError("there is no style: give a picture with a weight above 0, or choose a medium")
    if method != STROKES and medium is None and denoiser is None:
        raise ValueError(f"{method} needs a denoiser: give one, or choose {STROKES}")
    if strength == 0:
        return content.clone()
    masks = [None] * len(styles) if style_masks is None else list(style_masks)
    if len(masks) != len(styles):
        raise ValueError(f"there are {len(styles)} styles and {len(masks)} style_masks: one each, or None for a style")
    acting = [number for number, weight in enumerate(weights) if weight > 0]
    several = Styles(*([part[number] for number in acting] for part in (styles, weights, masks)))
    _check("content", content, mask, len(content))
    for number, picture, where in zip(acting, several.pictures, several.masks, strict=True):
        _check(f"style {number + 1}", picture, where, len(content))
    if method != STROKES and medium is None:
        options = {"method": method, "strength": strength, "structure": structure, "cond": cond, "steps": steps}
        styled = _by_denoiser(denoiser, content, several, mask, seed=seed, observe=observe, **options)
        return in_own_colours(content, styled, mask) if keep_colours else styled
    own = {"medium": medium, "structure": structure, "keep_colours": keep_colours, "texture_scale": texture_scale}
    styled, passes = content.clone(), PASSES if medium is None else 1
    observe(0, len(content) * passes, None)
    for number, picture in enumerate(content):
        where = picture.new_ones(picture.shape[:2]) if mask is None else mask[number % len(mask)].to(picture)
        visible = where * picture[..., 3] if picture.shape[-1] == 4 else where
        watching = _of_one(observe, number * passes, len(content) * passes)
        made = _alone(picture[..., :3], several.of(number), visible, seed=seed, passed=watching, **own)
        styled[number, ..., :3] = torch.lerp(picture[..., :3], made.to(picture), strength * where[..., None])
    return styled


def _check(name: str, pictures: Tensor, mask: Tensor | None, count: int) -> None:
    """Raises ValueError unless these are 1 or `count` pictures of finite colours, and the mask is of their size."""
    if pictures.ndim != 4 or pictures.shape[-1] not in (3, 4):
        raise ValueError(f"{name} should be [B, H, W, 3 or 4], and its shape is {tuple(pictures.shape)}")
    if len(pictures) not in (1, count):
        raise ValueError(f"{name} has {len(pictures)} pictures and content {count}: one for all, or one each")
    if not pictures.isfinite().all():
        raise ValueError(f"{name} has NaN or infinity in it")
    size = pictures.shape[1:3]
    if mask is not None and (mask.ndim != 3 or mask.shape[1:] != size or len(mask) not in (1, count)):
        raise ValueError(
            f"the mask of {name} is {tuple(mask.shape)}: it should be [1 or {count}, {size[0]}, {size[1]}]"
        )


class Styles(NamedTuple):
    """Style pictures [1 or B, h, w, 3 or 4], their weights, and where to take from, [1 or B, h, w] or None."""

    pictures: list[Tensor]
    weights: list[float]
    masks: list[Tensor | None]

    def masked(self) -> list[Tensor]:
        """The pictures, transparent where their masks say so."""
        return [
            picture if mask is None else _with_alpha(picture, mask)
            for picture, mask in zip(self.pictures, self.masks, strict=True)
        ]

    def of(self, number: int) -> list[Style]:
        """The styles for one picture of a batch."""
        chosen = [picture[number % len(picture)] for picture in self.masked()]
        return [
            Style(picture[..., :3], weight, picture[..., 3] if picture.shape[-1] == 4 else None)
            for picture, weight in zip(chosen, self.weights, strict=True)
        ]


def _with_alpha(pictures: Tensor, mask: Tensor) -> Tensor:
    count = max(len(pictures), len(mask))
    alpha = mask.to(pictures).expand(count, -1, -1)[..., None]
    if pictures.shape[-1] == 4:
        alpha = alpha * pictures[..., 3:]
    return torch.cat([pictures[..., :3].expand(count, -1, -1, -1), alpha], -1)


def _by_denoiser(
    denoiser: Any, content: Tensor, styles: Styles, mask: Tensor | None, *, observe: Observer, **options: Any
) -> Tensor:
    from . import with_denoiser

    def watching(done: int, total: int, x0: Tensor | None) -> None:
        observe(done, total, None if x0 is None else denoiser.glimpse(x0[:1])[0][0])

    return with_denoiser.transfer(
        denoiser,
        content,
        styles.masked(),
        weights=styles.weights,
        masks=[mask] * len(styles.weights),
        observe=watching,
        pictures=True,
        **options,
    )


def _alone(
    picture: Tensor,
    styles: Sequence[Style],
    where: Tensor,
    *,
    medium: str | None,
    structure: float,
    keep_colours: bool,
    texture_scale: float,
    seed: int,
    passed: Callable[[Tensor], None],
) -> Tensor:
    """One picture [H, W, 3] painted in strokes, or in a medium and then in the colours of the styles."""
    if medium is None:
        options = {"structure": structure, "keep_colours": keep_colours, "texture_scale": texture_scale}
        return strokes(picture, styles, where=where, seed=seed, passed=passed, **options)
    made = render(picture, medium, structure=structure, scale=texture_scale, seed=seed)
    passed(made)
    if styles:
        source, wanted = colours_of(made, where, seed), mixed_colours(styles, seed)
        made = recolour(made, fit(source, wanted, seed=seed), smooth=SMOOTH) if len(source) else made
    return with_colours_of(picture, made) if keep_colours else made


def _of_one(observe: Observer, done: int, total: int) -> Callable[[Tensor], None]:
    """What a picture of a batch calls after each of its steps, when `done` of `total` are over."""

    def passed(state: Tensor) -> None:
        nonlocal done
        done += 1
        observe(done, total, state)

    return passed


def in_own_colours(content: Tensor, styled: Tensor, mask: Tensor | None) -> Tensor:
    """Styled pictures [B, H, W, 3 or 4] with the content's hue and chroma, where the mask has let them change."""
    rgb = with_colours_of(content[..., :3], styled[..., :3]).to(content)
    if mask is not None:
        rgb = torch.where(mask.to(content)[..., None] > 0, rgb, content[..., :3])
    return torch.cat([rgb, content[..., 3:]], -1)
