"""What the lab's nodes are tested on: a training set of two words, and small models of its size with random weights."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from varifold.models.checkpoint.spec import Spec
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.precondition import edm
from varifold.models.denoising.vocabulary import Vocabulary
from varifold.models.generating import Generator
from varifold.models.nets.unet import UNet, UNetConfig
from varifold.models.train.adversarial import gan_from_scratch
from varifold.models.train.autoencoding import autoencoder_from_scratch
from varifold.models.train.pictures import Pictures

WORDS = ("<null>", "bright", "dark")
SIDE = 8


def pictures(count: int = 60, held: int = 40, channels: str = "rgb", seed: int = 0) -> Pictures:
    """Squares of a colour somewhere on bright or dark paper, the last `held` of them held out."""
    random = np.random.default_rng(seed)
    rows = random.integers(1, 3, (count + held, 1))
    pixels = []
    for row in rows[:, 0]:
        picture = np.full((SIDE, SIDE, len(channels)), 255, np.uint8)
        picture[..., :3] = random.integers(150, 230) if row == 1 else random.integers(20, 80)
        y, x = random.integers(0, 5, 2)
        picture[y : y + 4, x : x + 4, :3] = random.integers(0, 256, 3)
        pixels.append(picture)
    names = tuple(f"square {number}" for number in range(count + held))
    whole = Pictures(pixels, rows, (SIDE, SIDE), channels, WORDS, names=names)
    others = whole.select(range(count, count + held), varied=False) if held else None
    return whole.select(range(count), held=others)


def denoiser(seed: int = 0, channels: str = "rgb", words: tuple[str, ...] = WORDS) -> Denoiser:
    torch.manual_seed(seed)
    config = UNetConfig(len(channels), 2, 16, (1,), attention_levels=(), embedding=32, vocabulary=max(1, len(words)))
    net = UNet(config).eval()
    for convolution in (net.out, *(block.conv2 for block in net.down)):
        torch.nn.init.normal_(convolution.weight, std=0.05)
    shape = (len(channels), SIDE, SIDE)
    spec = Spec("unet", asdict(config), "edm", shape, 0.01, 20, channels=channels, vocabulary=words)
    vocabulary = Vocabulary(words) if words else None
    return Denoiser(
        net, edm(), shape=shape, sigma_min=0.01, sigma_max=20, vocabulary=vocabulary, spec=spec, identity=f"s{seed}"
    )


def generator(kind: str = "vae", seed: int = 0) -> Generator:
    shape = (3, SIDE, SIDE)
    if kind == "gan":
        net, _, spec = gan_from_scratch(shape, "rgb", WORDS, "tiny", seed=seed)
    else:
        net, spec = autoencoder_from_scratch(shape, "rgb", WORDS, "tiny", variational=kind == "vae", seed=seed)
    torch.manual_seed(seed)
    for name, parameter in net.named_parameters():
        if name.endswith(("out.weight", "conv2.weight")):
            torch.nn.init.normal_(parameter, std=0.1)
    return Generator(net.eval(), spec, f"{kind} {seed}")
