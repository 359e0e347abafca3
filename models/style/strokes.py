"""A picture painted over in the strokes of others: their palette, then patches of their detail along its own edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .atlas import atlas
from .drawing import contoured, drawn
from .guide import LEAST_SPREAD, Ground, edges_as, guide_by
from .kuwahara import kuwahara
from .oklab import oklab, srgb
from .patchwork import Size, patchwork
from .recolour import colours_of, recolour, with_colours_of
from .styles import COLOURS, Style, at_least, mixed_colours, of_size, resized, some
from .tensor import blur
from .transport import fit

NOMINAL = 512  # the side of a square for which sizes in pixels are meant
ABSTRACTED = 7.0
LIGHTLY = 4.0
LEAST_RADIUS = 2.0
PAINT = (Size(25, 10), Size(15, 6), Size(9, 4))
DRAWING = (Size(31, 12), Size(23, 9), Size(17, 7))
SMALLEST = Size(7, 3)
PASSES = 2 + len(PAINT)

LOOKS = 0.8  # how much standing detail counts
FINE = 1.4  # times the content's fine detail, at structure 1: strokes cover some
FLAT, BOLD = 0.6, 1.3  # times the detail of painted styles: where the content is flat, and at its edges
GRAIN = 0.7  # of chroma, in pixels of a picture of 512; finer is the noise of patches of many hues
MOST_PIXELS = 1536**2  # painted; what is larger is enlarged afterwards


def strokes(
    content: Tensor,
    styles: Sequence[Style],
    *,
    where: Tensor | None = None,
    structure: float = 0.5,
    keep_colours: bool = False,
    texture_scale: float = 1.0,
    seed: int = 0,
    passed: Callable[[Tensor], None] = lambda picture: None,
) -> Tensor:
    """A picture [H, W, 3] in 0..1 in the palette and the strokes of styles: [H, W, 3].

    The content is abstracted (anisotropic Kuwahara), recoloured, and covered with detail of the styles: from where
    lightness, edges and their direction are alike, in patches that go on in each other (Hertzmann et al. 2001, "Image
    analogies"; see `patchwork`). A style of thin lines on paper is drawn, not painted: its patches as they are, and
    contours.

    `where` [H, W] says which of the content's colours become the styles'. `structure`, 0..1: how much of the content's
    own fine detail stays. `keep_colours`: lightness alone is the style's. `texture_scale`: how large strokes are; at 1
    style and content have the same area. Above 2.4 million pixels it is painted smaller, and enlarged.
    passed(picture [H, W, 3]) is called after each of `PASSES` steps. Raises ValueError for no style, and for one
    without a place to take from.
    """
    if not styles:
        raise ValueError("strokes need at least one style")
    picture = content.movedim(-1, 0).float().clamp(0, 1)
    size = tuple(picture.shape[1:])
    shrunk = min(1.0, math.sqrt(MOST_PIXELS / (size[0] * size[1])))
    work = tuple(max(1, round(shrunk * length)) for length in size)
    small = resized(picture, work)
    where = None if where is None else resized(where[None], work)
    wide = at_least(small)
    made = _made(
        wide,
        None if where is None else at_least(where)[0],
        of_size(styles, math.sqrt(wide[0].numel()) * texture_scale),
        texture_scale,
        structure,
        keep_colours,
        seed,
        lambda state: passed(state[: work[0], : work[1]]),
    )[:, : work[0], : work[1]]
    if work != size:
        fine = picture - resized(small, size)
        made = (resized(made, size) + structure * fine).clamp(0, 1)
    return made.movedim(0, -1).contiguous()


def _made(
    picture: Tensor,
    where: Tensor | None,
    styles: Sequence[Style],
    texture_scale: float,
    structure: float,
    keep_colours: bool,
    seed: int,
    passed: Callable[[Tensor], None],
) -> Tensor:
    unit = math.sqrt(picture[0].numel()) / NOMINAL
    abstract = kuwahara(picture, max(LEAST_RADIUS, ABSTRACTED * unit))
    passed(abstract.movedim(0, -1))
    style_unit = unit * texture_scale
    bases = [
        kuwahara(style.picture.movedim(-1, 0), max(LEAST_RADIUS, ABSTRACTED * style_unit)).movedim(0, -1)
        for style in styles
    ]
    grounds = [
        Ground(_lab(style.picture.movedim(-1, 0)), _lab(base.movedim(-1, 0)), style_unit)
        for style, base in zip(styles, bases, strict=True)
    ]
    palette = [style._replace(picture=base) for style, base in zip(styles, bases, strict=True)]
    recoloured = kuwahara(_in_colours(abstract, where, palette, seed), max(LEAST_RADIUS, LIGHTLY * unit))
    own, under = (Ground(_lab(picture), _lab(base), unit) for base in (abstract, recoloured))
    passed(recoloured.movedim(0, -1))

    shares = [style.weight / sum(style.weight for style in styles) for style in styles]
    line = sum(share * drawn(ground) for share, ground in zip(shares, grounds, strict=True))
    guide = guide_by(grounds)
    pages = atlas(
        [torch.cat([ground.base, ground.detail]) for ground in grounds],
        lambda layers: guide(Ground(layers[:3] + layers[3:], layers[:3], style_unit)),
        [style.mask for style in styles],
        shares,
    )
    spread = float(torch.cat([ground.detail[0].flatten() for ground in grounds]).std())
    shortest = min(*picture.shape[1:], *(side for style in styles for side in style.picture.shape[:2]))

    share = own.clear_edges
    share = torch.lerp(FLAT + (BOLD - FLAT) * share, torch.ones_like(share), line)

    def together(layers: Tensor) -> Tensor:
        made = torch.lerp(under.base, layers[:3], line) + share * layers[3:]
        made[0] += FINE * structure * (1 - line) * own.detail[0]
        if line > 0:
            made[0] = torch.lerp(made[0], contoured(made[0], own, grounds, structure), line)
        return _rgb(made)

    layers = patchwork(
        guide(under, edges_as(grounds, under), as_far_as=1 - line),
        pages,
        _sizes(DRAWING if line > 0.5 else PAINT, style_unit, shortest),
        looks=LOOKS / max(spread, LEAST_SPREAD),
        seed=seed,
        passed=lambda layers: passed(together(layers).movedim(0, -1)),
    )
    # Detail has colours of its own: with it the picture has strayed from the styles' once more.
    made = _in_colours(together(layers), where, styles, seed, smooth=0.0)
    if keep_colours:
        return with_colours_of(picture.movedim(0, -1), made.movedim(0, -1)).movedim(-1, 0)
    lab = _lab(made)
    return _rgb(torch.cat([lab[:1], blur(lab[1:], GRAIN * unit)]))


def _in_colours(
    picture: Tensor, where: Tensor | None, styles: Sequence[Style], seed: int, smooth: float = 0.5
) -> Tensor:
    """A picture [3, H, W] recoloured so that its colours `where` it counts are those of the styles."""
    wanted = mixed_colours(styles, seed)
    picture = picture.movedim(0, -1)
    source = colours_of(picture, where, seed)
    if len(source):
        transport = fit(some(source, min(COLOURS, len(source)), seed), wanted, seed=seed)
        picture = recolour(picture, transport, smooth=smooth)
    return picture.movedim(-1, 0)


def _sizes(sizes: Sequence[Size], unit: float, most: int) -> list[Size]:
    return [
        Size(min(most, max(SMALLEST.side, round(size.side * unit))), max(SMALLEST.gap, round(size.gap * unit)))
        for size in sizes
    ]


def _lab(picture: Tensor) -> Tensor:
    return oklab(picture.movedim(0, -1)).movedim(-1, 0)


def _rgb(lab: Tensor) -> Tensor:
    return srgb(lab.movedim(0, -1)).clamp(0, 1).movedim(-1, 0)
