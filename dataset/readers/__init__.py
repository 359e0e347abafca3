"""Sets that others or we have written, read back. What is broken is an error that names the file and the line.

READERS: name -> entries(folder), every picture of the folder in an order that does not change, none read yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DatasetError
from . import coco, imagefolder, own, webdataset, yolo
from .entry import Entry, Loaded

READERS: dict[str, Callable[[Path], list[Entry]]] = {
    "varifold": own.entries,
    "imagefolder": imagefolder.entries,
    "coco": coco.entries,
    "yolo": yolo.entries,
    "webdataset": webdataset.entries,
}
RECOGNISED = {"varifold": own, "yolo": yolo, "coco": coco, "webdataset": webdataset, "imagefolder": imagefolder}


def recognise(folder: Path) -> str:
    """The name of the reader for a folder, by the files that it has. Raises DatasetError for one that none reads."""
    for name, reader in RECOGNISED.items():
        if reader.recognises(folder):
            return name
    raise DatasetError(
        f"{folder} has no ledger, data.yaml, COCO annotations, tar files, metadata.jsonl or folders of pictures: "
        "it is no set that can be read"
    )


__all__ = ["READERS", "Entry", "Loaded", "recognise"]
