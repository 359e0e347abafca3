"""COCO (Lin et al. 2014): SPLIT/ID.png, annotations/instances_SPLIT.json and captions_SPLIT.json.

Ids count from 1 through the whole set, in its order, so files of several splits can be joined. The mask of an object is
polygons along the edges of pixels or, where it has a hole, a compressed RLE. It is one object either way, so iscrowd
is 0. Without a mask its segmentation is empty.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from .. import polygons, rle
from ..sample import Sample
from .folder import building, place
from .info import Info, dumps, licence_of, numbered, object_labels, shown, splits, stem, suffix
from .objects import objects, told, whole

NAME = "coco"


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/coco; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    numbers = numbered(object_labels(samples), info)
    licences = _licences(samples, info)
    with building(folder, NAME) as stage:
        files = {split: _Files(stage, split) for split in splits(samples)}
        annotation = caption = 0
        for image, sample in enumerate(shown(samples), 1):
            name = stem(sample) + suffix(sample)
            place(folder / sample.image, stage / sample.split / name)
            file = files[sample.split]
            size = {"width": sample.width, "height": sample.height}
            file.images.add({"id": image, "file_name": name, **size, "license": licences[licence_of(sample, info)]})
            for each in objects(folder, sample, remarks):
                annotation += 1
                about: dict[str, Any] = {"id": annotation, "image_id": image, "category_id": numbers[each.label] + 1}
                about["segmentation"] = [] if each.mask is None else segmentation(each.mask)
                about |= {"area": whole(each.area), "bbox": [whole(value) for value in each.box], "iscrowd": 0}
                more = {"score": each.instance.score, "visibility": each.instance.visibility}
                file.annotations.add(about | {name: value for name, value in more.items() if value is not None})
            if sample.caption is not None:
                caption += 1
                file.captions.add({"id": caption, "image_id": image, "caption": sample.caption})
        head = {"info": _info(info), "licenses": [_licence(name, id) for name, id in licences.items()]}
        categories = [{"id": number + 1, "name": label, "supercategory": ""} for label, number in numbers.items()]
        for file in files.values():
            file.finish(head, categories)
    return told(remarks)


def segmentation(mask: NDArray[np.bool_]) -> list[list[int]] | dict[str, Any]:
    """COCO's `segmentation` of a mask [H, W]: polygons, or an RLE if it has holes."""
    found = polygons.outlines(mask)
    if found.holes:
        return {"size": list(mask.shape), "counts": rle.compress(rle.encode(mask))}
    return [polygon.ravel().tolist() for polygon in found.outer]


class _Array:
    """A JSON array that is written as it grows, to be copied into others."""

    def __init__(self, path: Path):
        self.path = path
        self.file = path.open("w", encoding="utf-8")
        self.empty = True

    def add(self, value: Any) -> None:
        self.file.write(("" if self.empty else ",\n") + dumps(value))
        self.empty = False

    def copy_to(self, file: TextIO, name: str) -> None:
        self.file.close()
        file.write(f',\n"{name}": [\n')
        with self.path.open(encoding="utf-8") as written:
            shutil.copyfileobj(written, file)
        file.write("\n]")


class _Files:
    """The two files of a split, whose arrays grow at the same time."""

    def __init__(self, stage: Path, split: str):
        (stage / split).mkdir()
        self.folder, self.split = stage / "annotations", split
        self.folder.mkdir(exist_ok=True)
        names = ("images", "annotations", "captions")
        self.images, self.annotations, self.captions = (_Array(self.folder / f"{split}.{name}") for name in names)

    def finish(self, head: dict[str, Any], categories: list[dict[str, Any]]) -> None:
        opening = dumps(head)[:-1]
        for name, array in (("instances", self.annotations), ("captions", self.captions)):
            with (self.folder / f"{name}_{self.split}.json").open("w", encoding="utf-8") as file:
                file.write(opening)
                self.images.copy_to(file, "images")
                array.copy_to(file, "annotations")
                if array is self.annotations:
                    file.write(f',\n"categories": {dumps(categories)}')
                file.write("}\n")
        for array in (self.images, self.annotations, self.captions):
            array.file.close()
            array.path.unlink()


def _info(info: Info) -> dict[str, Any]:
    about = {"description": info.description or info.name, "url": info.url, "version": info.version}
    about |= {"contributor": info.author, "date_created": info.date.replace("-", "/")}
    return about | ({"year": int(info.date[:4])} if info.date else {})


def _licences(samples: Iterable[Sample], info: Info) -> dict[str, int]:
    names = sorted({licence_of(sample, info) for sample in shown(samples)})
    return {name: number for number, name in enumerate(names, 1)}


def _licence(name: str, id: int) -> dict[str, Any]:
    return {"id": id, "name": name or "unknown", "url": name if "://" in name else ""}
