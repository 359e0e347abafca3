"""Few colours: choosing a palette from a picture, and giving each pixel the nearest colour of a palette."""

from __future__ import annotations

import torch
from torch import Tensor

from .oklab import oklab

FINE, COARSE = 256, 64  # levels of a channel: exact, and to choose from where there are very many colours
MANY = 16384
ROUNDS = 20
CHUNK = 65536


def choose(rgb: Tensor, count: int) -> Tensor:
    """At most `count` of the colours [N, 3] in 0..1 that stand for all of them, the most frequent first.

    k-means in Oklab, weighted by how often a colour occurs, started from colours far from each other; of each cluster
    its most central colour is taken, so that the palette has colours of the picture only (to one level in 64
    where it has more than 16,384). There is no chance in it. Raises ValueError if there is no colour at all.
    """
    if len(rgb) == 0:
        raise ValueError("a palette cannot be chosen from nothing: all pixels are transparent")
    colours, _, weight = _distinct(rgb, FINE)
    if len(colours) > MANY:
        colours, _, weight = _distinct(rgb, COARSE)
    if len(colours) <= count:
        return colours[weight.argsort(descending=True, stable=True)]
    lab = oklab(colours)
    centres = _far_apart(lab, weight, count)
    for _ in range(ROUNDS):
        nearest = _nearest(lab, centres)
        total = torch.zeros(count).index_add_(0, nearest, weight)
        mean = torch.zeros(count, 3).index_add_(0, nearest, lab * weight[:, None])
        centres = torch.where(total[:, None] > 0, mean / total.clamp(min=1)[:, None], centres)
    nearest = _nearest(lab, centres)
    offset = (lab - centres[nearest]).norm(dim=1)
    members = torch.stack([offset.masked_fill(nearest != one, torch.inf).argmin() for one in nearest.unique()])
    covered = torch.zeros(len(members)).index_add_(0, _nearest(lab, lab[members]), weight)
    return colours[members[covered.argsort(descending=True, stable=True)]]


def snap(rgb: Tensor, palette: Tensor) -> Tensor:
    """Colours [..., 3] in 0..1, each replaced by that of the palette [K, 3] which looks most like it."""
    colours, place, _ = _distinct(rgb.reshape(-1, 3), FINE)
    return palette[_nearest(oklab(colours), oklab(palette))][place].reshape(rgb.shape)


def _distinct(rgb: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The colours that occur, at so many levels a channel; which one each of [N, 3] is; how often each occurs."""
    level = (rgb.clamp(0, 1) * (levels - 1)).round().long()
    code = (level[:, 0] * levels + level[:, 1]) * levels + level[:, 2]
    codes, place, times = code.unique(return_inverse=True, return_counts=True)
    colours = torch.stack([codes // levels**2, codes // levels % levels, codes % levels], 1) / (levels - 1)
    return colours, place, times.float()


def _far_apart(lab: Tensor, weight: Tensor, count: int) -> Tensor:
    """The most frequent colour, then again and again one that is frequent and far from those chosen."""
    chosen = [int(weight.argmax())]
    distance = (lab - lab[chosen[0]]).square().sum(1)
    while len(chosen) < count:
        chosen.append(int((distance * weight.sqrt()).argmax()))
        distance = torch.minimum(distance, (lab - lab[chosen[-1]]).square().sum(1))
    return lab[chosen]


def _nearest(lab: Tensor, centres: Tensor) -> Tensor:
    # Through a matrix product, close colours could not be told apart in float32.
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    return torch.cat([torch.cdist(part, centres, **exact).argmin(1) for part in lab.split(CHUNK)])
