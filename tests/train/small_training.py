"""A training small enough for tests: two words, bright and dark, and a net of 8×8 pixels."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from varifold.models.nets.unet import UNet, UNetConfig
from varifold.models.train.chance import Chance
from varifold.models.train.denoiser import DenoiserLearner, new_spec
from varifold.models.train.run import Live, Trained, train
from varifold.models.train.settings import Settings

WORDS = ("<null>", "bright", "dark")


def draw(chance: Chance) -> tuple[Tensor, Tensor]:
    rows = chance.own(torch.randint(1, 3, (chance.total, 1), generator=chance.generator))
    level = 0.6 * (3 - 2 * rows.float())[..., None, None]
    return (level + 0.1 * chance.normal(1, 1, 1)).expand(-1, 3, 8, 8), rows


def learner(weighting: str = "none", prediction: str = "edm") -> DenoiserLearner:
    config = UNetConfig(3, 2, 16, (1,), attention_levels=(), embedding=32, vocabulary=len(WORDS))
    torch.manual_seed(0)
    spec = replace(new_spec(prediction, (3, 8, 8), "rgb", 0.6, WORDS), config=asdict(config))
    learning = DenoiserLearner(UNet(config), spec, weighting=weighting)
    learning.shown = learning.shown_steps = 4
    return learning


def settings(images: int = 320, **changes: object) -> Settings:
    return Settings(**{"images": images, "batch": 16, "rate": 3e-3, "warmup": 2, **changes})


def go(folder: Path, images: int = 320, watch=lambda live: None, **changes: object) -> Trained:
    return train(learner(), draw, settings(images, **changes), folder, held=draw, watch=watch)


def tell(live: Live) -> None:
    print(live.done, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    go(Path(sys.argv[1]), int(sys.argv[2]), tell)
