"""Rebuilds the training pictures from the source package they come from.

    apt-get source --download-only crawl
    python -m varifold.models.pixel_art.prepare crawl_0.28.0.orig.tar.xz

Needs version 2:0.28.0-1.1 of Debian's source package `crawl`. The files named in tiles.csv and layers.csv are taken out
of it and laid side by side in tiles.png and layers.png, in the order of the lists.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from .tiles import COLUMNS, FOLDER, LISTS, SIDE

SHA256 = "5a6be168f8888b84bdb199184ca20bd8636f77ba7e9e0124ebee8850092f2f47"
INSIDE = "/source/rltiles/"


class PrepareError(ValueError):
    """The package is not the one that the lists are of."""


def wanted(name: str) -> list[str]:
    """The paths of a list, in its order."""
    with open(FOLDER / f"{name}.csv", newline="", encoding="utf-8") as file:
        return [row["path"] for row in csv.DictReader(file)]


def check(package: Path) -> None:
    """Raises PrepareError unless the file is the package, bit by bit."""
    with open(package, "rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    if digest.hexdigest() != SHA256:
        raise PrepareError(f"{package} is not crawl_0.28.0.orig.tar.xz: its SHA-256 is {digest.hexdigest()}")


def read(package: Path, paths: set[str]) -> dict[str, np.ndarray]:
    """The named pictures, [32, 32, 4] in 0..255; transparent pixels are black."""
    pictures = {}
    with tarfile.open(package) as archive:
        for member in archive:
            path = member.name.partition(INSIDE)[2]
            if path in paths and member.isfile():
                with Image.open(io.BytesIO(archive.extractfile(member).read())) as picture:
                    rgba = np.array(picture.convert("RGBA"))
                pictures[path] = rgba * (rgba[..., 3:] > 0)
    missing = sorted(paths - set(pictures))
    if missing:
        raise PrepareError(f"{package} lacks {len(missing)} of the listed files, the first is {missing[0]}")
    return pictures


def atlas(pictures: list[np.ndarray]) -> Image.Image:
    """The pictures in rows of COLUMNS."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = np.zeros((rows * SIDE, COLUMNS * SIDE, 4), np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // COLUMNS * SIDE, number % COLUMNS * SIDE
        sheet[top : top + SIDE, left : left + SIDE] = picture
    return Image.fromarray(sheet)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="prepare", description="Rebuild tiles.png and layers.png from their package.")
    parser.add_argument("package", type=Path, help="crawl_0.28.0.orig.tar.xz")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to (default: beside the weights)")
    options = parser.parse_args(arguments)
    try:
        check(options.package)
        lists = {name: wanted(name) for name in LISTS}
        pictures = read(options.package, {path for paths in lists.values() for path in paths})
        for name, paths in lists.items():
            target = options.output / f"{name}.png"
            atlas([pictures[path] for path in paths]).save(target, optimize=True)
            print(f"{target}: {len(paths)} pictures")
    except (PrepareError, OSError, tarfile.TarError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
