"""WebDataset: SPLIT-000000.tar with ID.png, ID.json, ID.cls and ID.txt, as the `webdataset` package decodes them.

ID.json holds all but the picture, masks as COCO's compressed RLE; ID.cls is the label's number in labels.json, ID.txt
the caption. Nothing in a file depends on when or by whom it was written.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .. import rle
from ..errors import DatasetError
from ..sample import Sample
from .folder import building
from .info import Info, dumps, numbered, picture_labels, shown, splits, stem, suffix, utf8
from .objects import objects, told, whole
from .shards import Shards

NAME = "webdataset"


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/webdataset; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    numbers = numbered(picture_labels(samples), info)
    with building(folder, NAME) as stage:
        shards = {split: Shards(stage, split, end=bytes(2 * tarfile.BLOCKSIZE)) for split in splits(samples)}
        for sample in shown(samples):
            file = shards[sample.split].file_with_room()
            for name, content in _members(folder, sample, numbers, remarks):
                _add(file, f"{stem(sample)}.{name}", content)
        for split, files in shards.items():
            files.finish(lambda number, _, split=split: f"{split}-{number:06}.tar")
        (stage / "labels.json").write_text(dumps(list(numbers)) + "\n", "utf-8")
    return told(remarks)


def _members(
    folder: Path, sample: Sample, numbers: dict[str, int], remarks: Counter[str]
) -> Iterator[tuple[str, bytes]]:
    yield suffix(sample)[1:], read(folder, sample)
    yield "json", utf8(dumps(_about(folder, sample, remarks)))
    if sample.label is not None:
        yield "cls", str(numbers[sample.label]).encode()
    if sample.caption is not None:
        yield "txt", utf8(sample.caption)


def read(folder: Path, sample: Sample) -> bytes:
    """The picture's file."""
    try:
        return (folder / sample.image).read_bytes()
    except OSError as error:
        raise DatasetError(f"the picture {sample.image} of sample {sample.id} cannot be read: {error}") from error


def _about(folder: Path, sample: Sample, remarks: Counter[str]) -> dict[str, Any]:
    about: dict[str, Any] = {"id": sample.id, "width": sample.width, "height": sample.height, "split": sample.split}
    about |= {"label": sample.label, "caption": sample.caption, "instances": []}
    for each in objects(folder, sample, remarks):
        told_of: dict[str, Any] = {"label": each.label, "bbox": [whole(value) for value in each.box]}
        if each.mask is not None:
            told_of["segmentation"] = {"size": list(each.mask.shape), "counts": rle.compress(rle.encode(each.mask))}
        told_of |= {"score": each.instance.score, "visibility": each.instance.visibility}
        about["instances"].append(told_of)
    return about | {"provenance": dict(sample.provenance or {})}


def _add(file: BinaryIO, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.write(member.tobuf(tarfile.USTAR_FORMAT))
    file.write(content)
    file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
