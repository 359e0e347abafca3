"""What a synthetic set is for: whether a classifier that trains on it knows real pictures better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DatasetError

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARES = (0.0, 0.01, 0.1, 1.0)
MULTIPLES = (0.0, 1.0, 3.0, 10.0)
LARGEST = 32  # pixels of a side that the classifier sees
TEST_BATCH = 1024


@dataclass(frozen=True)
class Labelled:
    """Pictures [N, H, W, C], uint8, and the number of the class of each, [N]."""

    pictures: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.pictures.ndim != 4 or self.pictures.dtype != np.uint8:
            raise DatasetError(
                f"pictures are [N, H, W, C] of uint8, not {self.pictures.shape} of {self.pictures.dtype}"
            )
        if self.labels.shape != self.pictures.shape[:1] or self.labels.dtype.kind not in "iu":
            raise DatasetError(f"there are {len(self.pictures)} pictures and labels of shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Labelled:
        return Labelled(self.pictures[:count], self.labels[:count])

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(np.concatenate([self.pictures, other.pictures]), np.concatenate([self.labels, other.labels]))


@dataclass(frozen=True)
class Point:
    """Of a classifier trained on `real` and `synthetic` samples: the share of real test samples that it tells right,
    once for each seed."""

    share: float
    multiple: float
    augmented: bool
    real: int
    synthetic: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        return float(np.std(self.accuracies))


def usefulness(
    real: Labelled,
    synthetic: Labelled,
    test: Labelled,
    *,
    unit: int | None = None,
    shares: Sequence[float] = SHARES,
    multiples: Sequence[float] = MULTIPLES,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 400,
    batch: int = 64,
    observe: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """A classifier for each share of real times each multiple of synthetic samples, plain and with augmentation.

    A share takes the first of `real`, a multiple the first of `synthetic`; `unit` samples are 1x, by default as many
    as there are real ones. Both should be shuffled, those that a generator saw first. Where there is nothing to train
    on there is no point. All take as many steps of the optimiser, from the same start for a seed. Augmentation shifts,
    turns, scales and lightens; it never mirrors, which changes what a digit or a letter is. Raises DatasetError for
    sets of other sizes of pictures, or too few synthetic samples.
    """
    unit = len(real) if unit is None else unit
    shapes = {each.pictures.shape[1:] for each in (real, synthetic, test)}
    if len(shapes) > 1:
        raise DatasetError(f"pictures should all be of one size, not {' and '.join(map(str, sorted(shapes)))}")
    if not len(test):
        raise DatasetError("there are no real samples to test on")
    if len(synthetic) < (most := round(unit * max(multiples))):
        raise DatasetError(f"there are {len(synthetic)} synthetic samples, and {max(multiples):g}x are {most}")
    classes = 1 + max(int(each.labels.max(initial=0)) for each in (real, synthetic, test))
    points = []
    for share in shares:
        for multiple in multiples:
            taken, made = real.first(round(share * len(real))), synthetic.first(round(multiple * unit))
            if not len(taken) + len(made):
                continue
            for augmented in (False, True):
                scores = tuple(
                    accuracy(taken + made, test, classes, augmented=augmented, seed=seed, steps=steps, batch=batch)
                    for seed in seeds
                )
                points.append(Point(share, multiple, augmented, len(taken), len(made), scores))
                observe(points[-1])
    return points


def accuracy(
    train: Labelled, test: Labelled, classes: int, *, augmented: bool, seed: int, steps: int = 400, batch: int = 64
) -> float:
    """The share of `test` that a small convolutional net tells right which trained on `train` for `steps` steps."""
    import torch

    # Under inference mode, where nodes run, nothing could be trained.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random = torch.Generator().manual_seed(seed)
        pictures, labels = _tensors(train)
        mean, std = pictures.mean((0, 2, 3), keepdim=True), pictures.std().clamp(min=1e-3)
        net = classifier(pictures.shape[1], classes)
        optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
        for _ in range(steps):
            drawn = torch.randint(len(labels), (batch,), generator=random)
            seen = augment(pictures[drawn], random) if augmented else pictures[drawn]
            torch.nn.functional.cross_entropy(net((seen - mean) / std), labels[drawn]).backward()
            optimiser.step()
            optimiser.zero_grad()
            rates.step()
        pictures, labels = _tensors(test)
        with torch.no_grad():
            told = [net((part - mean) / std).argmax(1) for part in pictures.split(TEST_BATCH)]
        return (torch.cat(told) == labels).float().mean().item()


def classifier(channels: int, classes: int) -> nn.Module:
    """Pictures [N, C, H, W] of any size -> scores [N, classes]; 95,000 weights for grey pictures of ten classes."""
    from torch import nn

    def block(taken: int, given: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(taken, given, 3, stride, 1), nn.GroupNorm(8, given), nn.SiLU()]

    layers = [*block(channels, 32, 1), *block(32, 64, 2), *block(64, 128, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(512, classes))


def augment(pictures: Tensor, random) -> Tensor:
    """[N, C, H, W] in 0..1, each shifted by up to 10 %, turned by 12°, scaled by 10 % and lightened by 20 %."""
    import torch
    import torch.nn.functional as F

    def within(bound: float) -> Tensor:
        return bound * (2 * torch.rand(len(pictures), generator=random) - 1)

    angle, scale = torch.deg2rad(within(12)), 1 + within(0.1)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = torch.stack([cos, -sin, within(0.2), sin, cos, within(0.2)], 1).reshape(-1, 2, 3)  # 0.2 of half the side
    grid = F.affine_grid(rows, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return (moved * (1 + within(0.2))[:, None, None, None]).clamp(0, 1)


def _tensors(samples: Labelled) -> tuple[Tensor, Tensor]:
    """Pictures [N, C, H, W] in 0..1, of at most 32 pixels a side, and labels."""
    import torch
    import torch.nn.functional as F

    pictures = torch.from_numpy(samples.pictures).movedim(-1, 1).float() / 255
    height, width = pictures.shape[2:]
    if (longest := max(height, width)) > LARGEST:
        size = tuple(max(1, round(side * LARGEST / longest)) for side in (height, width))
        pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True)
    return pictures.contiguous(), torch.from_numpy(samples.labels.astype(np.int64))
