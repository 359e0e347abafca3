"""YOLO as Ultralytics reads it: detect, segment and classify.

Detect and segment: images/SPLIT/ID.png, labels/SPLIT/ID.txt with a line an object, numbers as shares of the picture's
size, and data.yaml. A mask is one polygon: its parts and holes are joined by bridges of no width. Classify: folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .. import polygons
from ..sample import Sample
from .folder import building, place
from .imagefolder import class_gaps
from .info import Info, dumps, folder_names, numbered, object_labels, picture_labels, shown, splits, stem, suffix
from .objects import Object, objects, told

BOXED = "objects have no mask: their outline is their box"
LEFT_OUT = "pictures were left out, for they have no label"
NO_VAL = "the set has no val pictures: data.yaml names those of {} instead"


def write_detect(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/yolo_detect: lines of class, centre x, centre y, width, height."""
    return _write(folder, samples, info, "yolo_detect", outlined=False)


def write_segment(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/yolo_segment: lines of class, x1, y1, x2, y2, ..."""
    return _write(folder, samples, info, "yolo_segment", outlined=True)


def write_classify(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/yolo_classify: SPLIT/LABEL/ID.png."""
    remarks: Counter[str] = Counter()
    names = folder_names(picture_labels(samples), info)
    with building(folder, "yolo_classify") as stage:
        for split in splits(samples):
            (stage / split).mkdir()
        for sample in shown(samples):
            if sample.label is None:
                remarks[LEFT_OUT] += 1
            else:
                place(
                    folder / sample.image, stage / sample.split / names[sample.label] / (stem(sample) + suffix(sample))
                )
        (stage / "labels.json").write_text(dumps({names[label]: label for label in names}) + "\n", "utf-8")
    return told(remarks | class_gaps(samples))


def _write(folder: Path, samples: Iterable[Sample], info: Info, name: str, outlined: bool) -> dict[str, int]:
    remarks: Counter[str] = Counter()
    numbers = numbered(object_labels(samples), info)
    present = splits(samples)
    with building(folder, name) as stage:
        for split in present:
            (stage / "images" / split).mkdir(parents=True)
            (stage / "labels" / split).mkdir(parents=True)
        for sample in shown(samples):
            place(folder / sample.image, stage / "images" / sample.split / (stem(sample) + suffix(sample)))
            lines = []
            for each in objects(folder, sample, remarks):
                remarks[BOXED] += outlined and each.mask is None
                values = _outline(each, sample) if outlined else _centred(each, sample)
                lines.append(" ".join([str(numbers[each.label]), *map(_share, values)]) + "\n")
            (stage / "labels" / sample.split / f"{stem(sample)}.txt").write_text("".join(lines), "ascii")
        if "val" not in present:
            remarks[NO_VAL.format(_in_place_of_val(present))] = 1
        (stage / "data.yaml").write_text(_data_yaml(present, numbers), "utf-8")
    return told(remarks)


def _centred(each: Object, sample: Sample) -> list[float]:
    x, y, width, height = each.box
    centre = [(x + width / 2) / sample.width, (y + height / 2) / sample.height]
    return [*centre, width / sample.width, height / sample.height]


def _outline(each: Object, sample: Sample) -> list[float]:
    if each.mask is None:
        x, y, width, height = each.box
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    else:
        corners = polygons.joined(polygons.outlines(each.mask)).tolist()
    return [value for x, y in corners for value in (x / sample.width, y / sample.height)]


def _share(value: float) -> str:
    return f"{min(value, 1.0):.8f}".rstrip("0").rstrip(".")


def _in_place_of_val(present: list[str]) -> str:
    return "test" if "test" in present else "train"


def _data_yaml(present: list[str], numbers: dict[str, int]) -> str:
    """Without `path`: the folders are then sought beside data.yaml, wherever it was moved."""
    train = "train" if "train" in present else present[0]
    val = "val" if "val" in present else _in_place_of_val(present)
    lines = [f"train: images/{train}", f"val: images/{val}"]
    lines += ["test: images/test"] if "test" in present else []
    lines += ["names:", *(f"  {number}: {dumps(label)}" for label, number in numbers.items())]
    return "\n".join(lines) + ("" if numbers else " {}") + "\n"
