"""Sets made by hand for the tests of views, ordinary and odd, and what a folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from varifold.dataset.metadata import Encoding, encode_mask
from varifold.dataset.sample import Instance, Sample
from varifold.dataset.views import Info

HEIGHT, WIDTH = 40, 56
INFO = Info("A small set", "For tests", "CC0-1.0", "Ada ‹tester›", url="https://example.org/set", date="2026-01-02")
LABELS = ("cat", "dog/wolf", "🐉 | <dragon>: \"x\" 'y'")
SPLITS = ("train", "train", "val", "test")


def blob() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:20, 8:30] = True
    return mask


def ring() -> np.ndarray:
    mask = blob()
    mask[9:15, 12:20] = False
    return mask


def parts() -> np.ndarray:
    """Three parts, two of which touch at a corner."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[0:4, 0:4] = mask[4:9, 4:7] = mask[30:40, 50:56] = True
    return mask


def pixel() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[HEIGHT - 1, WIDTH - 1] = True
    return mask


def nothing() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH), bool)


def everything() -> np.ndarray:
    return np.ones((HEIGHT, WIDTH), bool)


def store(folder: Path, kind: str, content: bytes, suffix: str) -> tuple[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    path = f"{kind}/{digest[:2]}/{digest}{suffix}"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return path, digest


def picture(number: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8)


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    y, x = np.nonzero(mask)
    return (
        (float(x.min()), float(y.min()), float(np.ptp(x) + 1), float(np.ptp(y) + 1)) if len(x) else (1.0, 1.0, 2.0, 2.0)
    )


def marked(folder: Path, label: str, mask: np.ndarray, **more: object) -> Instance:
    path, _ = store(folder, "masks", encode_mask(mask), ".png")
    return Instance(label, **{"box": box_of(mask), "mask": path, **more})


def sample(folder: Path, number: int, split: str, format: str = "png", channels: int = 3, **more: object) -> Sample:
    encoding = Encoding(format)
    path, digest = store(folder, "images", encoding.encode(picture(number, channels)), encoding.suffix)
    made = {"graph": "ab" * 32, "seed": number, "index": number, "licence": "CC0-1.0", "author": "Ada"}
    made |= {"checkpoints": {"small.safetensors": "cd" * 32}, "versions": {"varifold": "0.1.0"}}
    told = {"split": split, "group": "g", "provenance": made}
    return Sample(f"{number:016x}", path, WIDTH, HEIGHT, digest, **{**told, **more})


def ordinary(folder: Path, count: int = 12) -> list[Sample]:
    """A set whose every split has every kind of thing: labels, captions, masks with and without holes."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = (blob, ring, parts, pixel)
    samples = []
    for number in range(count):
        kinds = [shapes[(number + step) % len(shapes)] for step in range(1 + number % 3)]
        instances = tuple(
            marked(folder, LABELS[step % 2], kind(), visibility=1.0 - step / 4) for step, kind in enumerate(kinds)
        )
        about = {"label": LABELS[number // 4 % 3], "caption": f"№ {number}: “鳥” 🐦\u2028\n", "instances": instances}
        samples.append(sample(folder, number, SPLITS[number % 4], **about))
    return samples


def odd(folder: Path) -> list[Sample]:
    """What a set may hold that views must bear."""
    folder.mkdir(parents=True, exist_ok=True)
    far, across = (100.0, 100.0, 5.0, 5.0), (-3.5, 30.0, 20.25, 30.0)
    boxes = (Instance("cat", across), Instance("cat", far), Instance("dog", (3.0, 3.0, 0.0, 4.0)))
    overlapping = (
        marked(folder, "big", everything()),
        marked(folder, "small", ring()),
        marked(folder, "small", ring()),
    )
    return [
        sample(folder, 0, "train"),
        sample(folder, 1, "train", label="con", caption="a \ud800 half and a \x00 \x0b\x1b control"),
        sample(folder, 2, "train", label="../../up", instances=boxes),
        sample(folder, 3, "val", label="x" * 300, instances=(marked(folder, "cat", nothing()),)),
        sample(folder, 4, "val", "jpeg", caption="", instances=overlapping),
        sample(folder, 5, "test", channels=4, label="", instances=(marked(folder, "a\ud800\x01<&", pixel()),)),
        sample(folder, 6, "test", "webp", label="CON", provenance=None),
        sample(folder, 7, "", label="undecided"),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> content of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
