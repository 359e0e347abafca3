"""What a labelled set costs: `python tests/bench/dataset.py [--samples N]`.

Seconds, of the clock and of the processor, and memory to open a ledger of N samples, to list them and to split them,
each in a process of its own; and milliseconds to add a sample, alone and in batches. The least of some rounds. With
webdataset: samples without masks beside its writer, as it is and told to wait for the disk after each, in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from varifold.dataset import store
from varifold.dataset.ledger import Ledger
from varifold.dataset.marks import Mark
from varifold.dataset.provenance import Key, provenance

ROUNDS = 5
ADDED = 200
GRAPH = hashlib.sha256(b"graph").hexdigest()


def write_ledger(path: Path, count: int) -> None:
    """A ledger as add() writes it, of samples with an object and a full record each, without their files."""
    ledger, random = Ledger(path), np.random.default_rng(0)
    list(ledger.read())
    for number, value in enumerate(random.integers(0, 1 << 63, count)):
        key, digest = Key(GRAPH, 7, number), hashlib.sha256(str(number).encode()).hexdigest()
        label = f"class {number % 20}"
        instance = {"label": label, "box": [3.0, 4.0, 20.0, 30.0], "mask": f"masks/{digest[:2]}/{digest}.png"}
        head = {"kind": "sample", "id": key.id, "hash": f"{value:016x}", "rejected": None, "classes": [label]}
        body = {"links": [f"noise 7 {number}"], "key": key, "image": f"images/{digest[:2]}/{digest}.png"}
        body |= {"width": 64, "height": 64, "sha256": digest, "label": label, "caption": f"a picture of {label}"}
        body |= {"instances": [{**instance, "score": None, "visibility": 1.0}]}
        body |= {"provenance": provenance(key, {"pixel_art": digest}, licence="CC0-1.0", author="an author")}
        ledger.append({**head, **body})
        if number % 1000 == 999:
            ledger.flush()
    ledger.flush()
    ledger.close()


def measure(folder: str, what: str) -> None:
    """Print seconds of the clock, of the processor, and by how many MB the process grew."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, np.array(times())
    with store.open(folder, write=what == "split") as opened:
        if what != "open":
            start = np.array(times())
        if what == "list":
            sum(1 for _ in opened.samples())
        if what == "split":
            opened.split()
        seconds = (np.array(times()) - start).tolist()
    print(json.dumps([*seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024]))


def times() -> list[float]:
    return [time.perf_counter(), time.process_time()]


def measured(folder: Path, what: str) -> list[float]:
    done = subprocess.run([sys.executable, __file__, "--measure", what, str(folder)], capture_output=True, check=True)
    return json.loads(done.stdout)


def milliseconds_to_add(folder: Path, batch: int, pictures: np.ndarray, masked: bool = True) -> float:
    side = pictures.shape[1]
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2] = True
    with store.open(folder) as opened:
        start = time.perf_counter()
        for first in range(0, ADDED, batch):
            with opened.batch():
                for number in range(first, first + batch):
                    mask[0] = np.arange(side) < number % side
                    key = Key(GRAPH, 0, number)
                    marks = [Mark("object", mask)] if masked else []
                    opened.add(pictures[number], key, label="noise", marks=marks, provenance=provenance(key))
        return (time.perf_counter() - start) / ADDED * 1000


def milliseconds_of_webdataset(path: Path, pictures: np.ndarray, waits: bool) -> float:
    import webdataset

    with path.open("wb", buffering=0) as file, webdataset.TarWriter(file) as writer:
        start = time.perf_counter()
        for number, picture in enumerate(pictures):
            key = Key(GRAPH, 0, number)
            about = {"png": Image.fromarray(picture), "json": provenance(key), "txt": "noise"}
            writer.write({"__key__": key.id, **about})
            if waits:
                os.fsync(file.fileno())
        return (time.perf_counter() - start) / ADDED * 1000


def beside_webdataset(scratch: Path, pictures: np.ndarray) -> None:
    """Print the median of rounds in turns, and of the ratio to the one that waits in the same round."""
    ways: dict[str, Callable[[Path], float]] = {
        "webdataset, waiting": lambda path: milliseconds_of_webdataset(path, pictures, True),
        "webdataset": lambda path: milliseconds_of_webdataset(path, pictures, False),
        "add one at a time": lambda path: milliseconds_to_add(path, 1, pictures, False),
        f"add {ADDED} at a time": lambda path: milliseconds_to_add(path, ADDED, pictures, False),
    }
    side = pictures.shape[1]
    paths = [scratch / f"{side} round {number}" for number in range(2 * ROUNDS)]
    rounds = np.array([[add(path.with_suffix(f".{name}")) for name, add in ways.items()] for path in paths])
    ratios = rounds / rounds[:, :1]
    for name, took, least, ratio in zip(ways, np.median(rounds, 0), rounds.min(0), np.median(ratios, 0), strict=True):
        print(f"{name:20} {took:6.2f} ms a picture of {side} x {side} (least {least:.2f}), {ratio:.2f} of the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure[1], asked.measure[0])
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "set")
        folder.mkdir()
        write_ledger(folder / store.LEDGER, asked.samples)
        size = (folder / store.LEDGER).stat().st_size / asked.samples
        print(f"a ledger of {asked.samples} samples, {size:.0f} bytes each")
        for what in ("open", "list", "split"):
            rounds = [measured(folder, what) for _ in range(1 if what == "split" else ROUNDS)]
            clock, processor, memory = (min(each) for each in zip(*rounds, strict=True))
            print(f"{what:6} {clock:6.2f} s, {processor:6.2f} of the processor, {memory:4.0f} MB more in memory")
        for side in (64, 512):
            pictures = np.random.default_rng(0).integers(0, 256, (ADDED, side, side, 3), np.uint8)
            for batch in (1, 20, ADDED):
                added = milliseconds_to_add(Path(scratch, f"{side} {batch}"), batch, pictures)
                print(f"add    {added:6.1f} ms a picture of {side} x {side} with a mask, {batch} at a time")
            if side == 64 and importlib.util.find_spec("webdataset"):
                beside_webdataset(Path(scratch), pictures)


if __name__ == "__main__":
    main()
