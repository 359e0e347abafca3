"""Views beside the writers of others, on the same pictures: `python tests/bench/dataset_views.py [--pictures N]`.

Milliseconds of one thread a mask for its RLE and its outlines, and pictures a second for each view; the best of some
rounds, for other programs only ever take time away. RLE in turns with pycocotools, and the median of the ratio. Needs
pycocotools; tries webdataset, datasets and OpenCV too.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

sys.path.insert(0, str(Path(__file__).parents[1]))

from view_sets import store

from varifold.dataset import polygons, rle
from varifold.dataset.metadata import Encoding, encode_mask
from varifold.dataset.sample import Instance, Sample
from varifold.dataset.views import FORMATS, Info

ROUNDS = 7
SIDES = (64, 256, 512, 1024, 2048)
INFO = Info("Bench", licence="CC0-1.0")


def best(run: Callable[[], object], rounds: int = ROUNDS, repeats: int = 1) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def in_turns(runs: Sequence[Callable[[], object]], rounds: int = 10 * ROUNDS) -> np.ndarray:
    """Seconds [rounds, runs] of one and the other in turns, of several at a time where they are short."""
    repeats = max(1, round(1e-3 / max(best(run, 3) for run in runs)))
    return np.array([[best(run, 1, repeats) for run in runs] for _ in range(rounds)])


def shapes(side: int) -> Iterator[tuple[str, np.ndarray]]:
    y, x = np.mgrid[:side, :side] / side - 0.5
    yield "a disc", np.hypot(x, y) < 0.3
    yield "a small one", np.hypot(x - 0.2, y + 0.1) < 0.06
    waves = np.random.default_rng(0).standard_normal((6, 4))
    yield "patches", sum(np.sin(12 * (a * x + b * y) + c) * d for a, b, c, d in waves) > 0.3


def masks() -> None:
    print("mask, ms          | RLE ours | pycocotools | ratio | outlines ours | OpenCV")
    opencv = importlib.util.find_spec("cv2")
    for side in SIDES:
        for name, mask in shapes(side):
            bits = mask.view(np.uint8)
            turns = in_turns((functools.partial(text, mask), functools.partial(text_of_pycocotools, bits)))
            ratio = np.median(turns[:, 0] / turns[:, 1])
            outlines = best(functools.partial(polygons.outlines, mask), 4 * ROUNDS)
            times = [*(f"{1000 * each:.4f}" for each in turns.min(0)), f"{ratio:.2f}", f"{1000 * outlines:.3f}"]
            if opencv:
                import cv2

                find = functools.partial(cv2.findContours, bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
                times.append(f"{1000 * best(find, 4 * ROUNDS):.3f}")
            print(f"{side:4} {name:12} | {' | '.join(times)}")


def text(mask: np.ndarray) -> str:
    return rle.compress(rle.encode(mask))


def text_of_pycocotools(bits: np.ndarray) -> str:
    return coco.encode(np.asfortranarray(bits))["counts"].decode()


def set_of(folder: Path, pictures: int, side: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples = []
    for number in range(pictures):
        coarse = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        noise = rng.integers(0, 12, (side, side, 3), np.uint8)
        path, digest = store(
            folder, "images", Encoding().encode(np.kron(coarse, np.ones((8, 8, 1), np.uint8)) // 2 + noise), ".png"
        )
        _, mask = next(shapes(side))
        mask = np.roll(mask, rng.integers(0, side, 2), (0, 1))
        mask_path, _ = store(folder, "masks", encode_mask(mask), ".png")
        marks = (Instance("disc", (0.0, 0.0, float(side), float(side)), mask_path),)
        about = {"label": f"class {number % 10}", "caption": "noise", "instances": marks, "split": "train"}
        samples.append(Sample(f"{number:016x}", path, side, side, digest, **about))
    return samples


def views(folder: Path, samples: list[Sample]) -> None:
    size = sum((folder / each.image).stat().st_size for each in samples) / len(samples)
    print(f"\npictures a second, of {size / 1000:.0f} kB with a mask each; then without masks")
    plain = [Sample(**{**each.__dict__, "instances": ()}) for each in samples]
    for name, write in FORMATS.items():
        rates = []
        for chosen in (samples, plain):
            try:
                rates.append(f"{len(samples) / best(lambda: write(folder, chosen, INFO), 3):8.0f}")  # noqa: B023
            except ValueError as error:
                rates.append(str(error))
            shutil.rmtree(folder / "views")
        print(f"{name:14} {' | '.join(rates)}")
    for name, peer in peers(folder, plain).items():
        print(f"{name:32} without masks {len(samples) / best(peer, 3):8.0f}")


def peers(folder: Path, samples: list[Sample]) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("webdataset"):
        found["webdataset's ShardWriter"] = lambda: webdataset_shards(folder, samples)
    if importlib.util.find_spec("datasets"):
        found["datasets, files to Parquet"] = lambda: datasets_parquet(folder, samples)
        found["datasets, ImageFolder to Parquet"] = lambda: datasets_imagefolder(folder, samples)
    return found


def webdataset_shards(folder: Path, samples: list[Sample]) -> None:
    import webdataset

    shutil.rmtree(folder / "peer", ignore_errors=True)
    (folder / "peer").mkdir()
    with webdataset.ShardWriter(f"{folder}/peer/train-%06d.tar", encoder=False, verbose=0) as writer:
        for each in samples:
            about = json.dumps({"id": each.id, "label": each.label, "caption": each.caption}).encode()
            picture = (folder / each.image).read_bytes()
            more = {"png": picture, "json": about, "cls": b"1", "txt": each.caption.encode()}
            writer.write({"__key__": each.id, **more})


def datasets_parquet(folder: Path, samples: list[Sample]) -> None:
    import datasets

    table = {"image": [str(folder / each.image) for each in samples], "label": [each.label for each in samples]}
    table["caption"] = [each.caption for each in samples]
    to_parquet(folder, datasets.Dataset.from_dict(table).cast_column("image", datasets.Image()))


def datasets_imagefolder(folder: Path, samples: list[Sample]) -> None:
    import datasets

    if not (folder / "views/imagefolder").exists():
        FORMATS["imagefolder"](folder, samples, INFO)
    with tempfile.TemporaryDirectory() as cache:
        to_parquet(folder, datasets.load_dataset(f"{folder}/views/imagefolder", cache_dir=cache)["train"])


def to_parquet(folder: Path, made: object) -> None:
    """With the pictures inside, as it uploads them."""
    from datasets.table import embed_table_storage

    whole = made.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100, keep_in_memory=True)
    whole.to_parquet(folder / "peer.parquet")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--side", type=int, default=512)
    asked = parser.parse_args()
    masks()
    with tempfile.TemporaryDirectory() as folder:
        views(Path(folder), set_of(Path(folder), asked.pictures, asked.side))
    return 0


if __name__ == "__main__":
    sys.exit(main())
