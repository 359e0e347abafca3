"""Pictures turned in eight ways, as a place to take patches from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TURNS = 8
WHOLE = 0.999
CELLS, DOTS = 3, 5
DETAIL = 3  # the layer that is detail's lightness


class Atlas(NamedTuple):
    """Pages [P, C, M, M]: each picture in each turn, at the upper left.

    `guides`: what patches are chosen by; `layers`: what they are made of; `inside` [P, M, M]: 1 where a picture is;
    `shares` [P]: how often patches of a page are tried, beside others
    """

    guides: Tensor
    layers: Tensor
    inside: Tensor
    shares: Tensor

    @property
    def side(self) -> int:
        return self.inside.shape[-1]


def atlas(
    pictures: Sequence[Tensor],
    guides_of: Callable[[Tensor], Tensor],
    masks: Sequence[Tensor | None],
    shares: Sequence[float],
) -> Atlas:
    """Each of several pictures [C, H, W] in eight turns; patches may be taken where its mask [H, W] is 1.

    Of masks that hold no whole patch those are taken that hold most of one.
    guides_of(picture) -> [G, H, W] is asked of each turn anew, as guides tell directions.
    """
    pages = []
    for picture, mask in zip(pictures, masks, strict=True):
        inside = picture.new_ones(1, *picture.shape[1:]) if mask is None else mask[None].to(picture)
        for turn in range(TURNS):
            turned = _turned(torch.cat([picture, inside]), turn)
            pages.append((guides_of(turned[:-1]), turned[:-1], turned[-1:]))
    side = max(max(page[0].shape[1:]) for page in pages)
    # A patch that lies in a small mask may hang over its picture's edge, which goes on there.
    modes = ("replicate", "replicate", "constant")
    guides, layers, inside = (
        torch.stack([_padded(part, side, mode) for part in parts])
        for parts, mode in zip(zip(*pages, strict=True), modes, strict=True)
    )
    return Atlas(guides, layers, inside[:, 0], guides.new_tensor(shares).repeat_interleave(TURNS))


def _padded(page: Tensor, side: int, mode: str) -> Tensor:
    return F.pad(page[None], (0, side - page.shape[2], 0, side - page.shape[1]), mode=mode)[0]


def _turned(picture: Tensor, turn: int) -> Tensor:
    """A picture [C, H, W], whose last channel says where it is, turned by so many eighths in its frame."""
    picture = torch.rot90(picture, turn // 2, (1, 2))
    if turn % 2 == 0:
        return picture
    height, width = picture.shape[1:]
    cos = 0.5**0.5
    theta = picture.new_tensor([[cos, -cos * height / width, 0], [cos * width / height, cos, 0]])
    grid = F.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
    colours, inside = picture[None, :-1], picture[None, -1:]
    colours = F.grid_sample(colours, grid, padding_mode="border", align_corners=False)
    return torch.cat([colours[0], F.grid_sample(inside, grid, align_corners=False)[0]])


class Patches:
    """The square patches of one `side` in an atlas, by the place of their upper left corner: an index into its pages.

    What two patches look like is compared by the means of 3 × 3 cells of their guides and of 5 × 5 of the last layers'
    lightness.
    """

    def __init__(self, pages: Atlas, side: int):
        self.side, self.width, self.pages = side, pages.side, pages
        self.cell, self.dot = max(1, side // CELLS), max(1, side // DOTS)
        self.guides = _means(pages.guides, self.cell).movedim(1, -1).flatten(0, 2)
        self.detail = _means(pages.layers[:, DETAIL : DETAIL + 1], self.dot).flatten()
        covered = _means(pages.inside[:, None], side)
        # Where a patch hangs over its page, it is not there.
        covered[..., pages.side - side + 1 :] = 0
        covered[..., pages.side - side + 1 :, :] = 0
        self.there = (covered >= min(WHOLE, float(covered.max()))).flatten()
        self.layers = pages.layers.movedim(1, -1).flatten(0, 2)

    def features(self, places: Tensor, weight: float) -> Tensor:
        """What patches [..., ] look like, [..., F]; detail counts `weight`."""
        guides = self.guides[places[..., None] + _offsets(CELLS, self.cell, self.width, places)]
        found = guides.flatten(-2) / CELLS
        if weight == 0:
            return found
        detail = self.detail[places[..., None] + _offsets(DOTS, self.dot, self.width, places)]
        return torch.cat([found, detail * (weight / DOTS)], -1)

    def cut(self, places: Tensor) -> Tensor:
        """Patches [N] as pictures [N, C, side, side]."""
        offsets = _offsets(self.side, 1, self.width, places)
        return self.layers[places[:, None] + offsets].unflatten(1, (self.side, self.side)).movedim(-1, 1)


def _offsets(count: int, step: int, width: int, like: Tensor) -> Tensor:
    """Of count × count places, `step` apart, in rows of `width`."""
    along = torch.arange(count, device=like.device) * step
    return (along[:, None] * width + along).flatten()


def _means(planes: Tensor, side: int) -> Tensor:
    """The mean of each square [B, C, H, W] by its upper left corner."""
    planes = F.pad(planes, (0, side - 1, 0, side - 1))
    return F.avg_pool2d(F.avg_pool2d(planes, (side, 1), 1), (1, side), 1)
