"""A picture laid out of patches of others: they fit a guide, what is there already, and where they can each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .atlas import CELLS, DETAIL, DOTS, Atlas, Patches
from .tensor import blur

TRIED = 32000
SWEEPS = 3
TOGETHER = 0.6  # the cost of a patch that goes on where its neighbour's ends, beside any other's
MOST_GAIN = 2.0
QUERIES = 2048  # compared at once
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Size(NamedTuple):
    """One pass: the side of its patches and the gap from one to the next, in pixels."""

    side: int
    gap: int


def patchwork(
    guides: Tensor,
    pages: Atlas,
    sizes: Sequence[Size],
    *,
    looks: float,
    seed: int = 0,
    passed: Callable[[Tensor], None] = lambda layers: None,
) -> Tensor:
    """The layers [C, H, W] of an atlas's patches, coarse to fine, laid where `guides` [G, H, W] want them.

    For each place of a grid the nearest of 32,000 patches is taken, by its guides and, from the second pass on, by the
    detail that the last one has left there, which counts `looks` per unit. Then neighbours offer each other what lies
    beside their own patch, and are preferred (Ashikhmin 2001, "Synthesizing natural textures"; Barnes et al. 2009,
    "PatchMatch"), so that whole strokes are kept. Patches are laid over each other through windows, and what
    overlapping has taken from the contrast of detail is given back. passed(layers) is called after each pass.
    """
    generator = torch.Generator().manual_seed(seed)
    laid = None
    for size in sizes:
        patches = Patches(pages, size.side)
        rows, columns = (_grid(length, size, generator).to(guides.device) for length in guides.shape[1:])
        weight = 0.0 if laid is None else looks
        wanted = _wanted(guides, laid, patches, rows, columns, weight)
        chosen = _nearest(wanted, patches, weight, generator)
        chosen = _grown(chosen, wanted, patches, rows, columns, weight)
        laid = _laid(chosen, patches, rows, columns, guides.shape[1:])
        passed(laid)
    return laid


def _grid(length: int, size: Size, generator: torch.Generator) -> Tensor:
    """Where patches begin along a side of `length` pixels, the first and the last at its ends."""
    shift = int(torch.randint(size.gap, (1,), generator=generator))
    return torch.arange(-shift, length - size.side + size.gap, size.gap).clamp(0, length - size.side).unique()


def _wanted(
    guides: Tensor, laid: Tensor | None, patches: Patches, rows: Tensor, columns: Tensor, weight: float
) -> Tensor:
    """The features [Y, X, F] that patches should have at a grid: those of `Patches.features`."""
    found = _cells(guides, CELLS, patches.cell, rows, columns) / CELLS
    if weight == 0:
        return found
    detail = _cells(laid[DETAIL : DETAIL + 1], DOTS, patches.dot, rows, columns)
    return torch.cat([found, detail * (weight / DOTS)], -1)


def _cells(planes: Tensor, count: int, step: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Means of planes [C, H, W] over count × count cells of `step` pixels from each place of a grid: [Y, X, F]."""
    means = F.avg_pool2d(planes, step, 1)
    along = torch.arange(count, device=planes.device) * step
    down, across = rows[:, None] + along, columns[:, None] + along
    return means[:, down[:, None, :, None], across[None, :, None, :]].movedim(0, -1).flatten(2)


def _nearest(wanted: Tensor, patches: Patches, weight: float, generator: torch.Generator) -> Tensor:
    """For each of wanted [Y, X, F] the place [Y, X] of the patch most like it, of some that are tried."""
    there = patches.there.nonzero()[:, 0]
    share = patches.pages.shares[there // patches.width**2].cpu()
    # So many of each page as is its share, none twice (Efraimidis & Spirakis 2006).
    order = torch.rand(len(there), generator=generator).log() / share
    tried = there[order.topk(min(TRIED, len(there))).indices.to(there.device)]
    keys = patches.features(tried, weight)
    length = keys.square().sum(1)
    best = [torch.addmm(length, part, keys.T, alpha=-2).argmin(1) for part in wanted.flatten(0, 1).split(QUERIES)]
    return tried[torch.cat(best)].reshape(wanted.shape[:2])


def _grown(chosen: Tensor, wanted: Tensor, patches: Patches, rows: Tensor, columns: Tensor, weight: float) -> Tensor:
    """The places [Y, X] after neighbours have handed on what lies beside theirs, which keeps its discount."""
    cost = (wanted - patches.features(chosen, weight)).square().sum(-1)
    for _ in range(SWEEPS):
        for down, across in NEIGHBOURS:
            offered = torch.roll(chosen, (down, across), (0, 1))
            offered = offered + (rows - torch.roll(rows, down))[:, None] * patches.width
            offered = offered + (columns - torch.roll(columns, across))
            real = (offered >= 0) & (offered < len(patches.there)) & ~_wrapped(offered, down, across)
            offered = torch.where(real, offered, chosen)
            offered = torch.where(patches.there[offered], offered, chosen)
            price = TOGETHER * (wanted - patches.features(offered, weight)).square().sum(-1)
            better = (offered != chosen) & (price < cost)
            chosen, cost = torch.where(better, offered, chosen), torch.where(better, price, cost)
    return chosen


def _wrapped(like: Tensor, down: int, across: int) -> Tensor:
    """Where a roll of [Y, X] brings what was at the other end."""
    wrapped = torch.zeros_like(like, dtype=torch.bool)
    if down:
        wrapped[0 if down > 0 else -1] = True
    if across:
        wrapped[:, 0 if across > 0 else -1] = True
    return wrapped


def _laid(chosen: Tensor, patches: Patches, rows: Tensor, columns: Tensor, size: Sequence[int]) -> Tensor:
    """The layers [C, H, W] of the chosen patches, over each other."""
    side, channels = patches.side, patches.layers.shape[1]
    window = torch.hann_window(side + 2, periodic=False)[1:-1].to(patches.layers) ** 2
    window = torch.outer(window, window) + 1e-4
    height, width = size
    sums = patches.layers.new_zeros(channels + 2, height * width)
    reach = torch.arange(side, device=rows.device)
    for row, places in zip(rows, chosen, strict=True):
        cut = patches.cut(places)
        energy = cut[:, DETAIL : DETAIL + 1].square()
        parts = torch.cat([cut, energy, torch.ones_like(energy)], 1) * window
        where = ((row + reach)[:, None] * width + columns[:, None, None] + reach).flatten()
        sums.index_add_(1, where, parts.movedim(1, 0).flatten(1))
    layers = (sums[:-1] / sums[-1]).reshape(channels + 1, height, width)
    layers, energy = layers[:-1], layers[-1]
    left = blur(layers[DETAIL].square(), side / 2)
    gain = (blur(energy, side / 2) / (left + 1e-8)).sqrt().clamp(1, MOST_GAIN)
    layers[DETAIL:] *= gain
    return layers
