"""ImageFolder: SPLIT/LABEL/ID.png as torchvision reads it, and metadata.jsonl as Hugging Face's `datasets` does.

Pictures without a label lie in SPLIT itself, where torchvision passes them over. labels.json tells which label a
folder with another name is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..sample import Sample
from .folder import building, place
from .info import Info, dumps, folder_names, picture_labels, shown, splits, stem, suffix
from .objects import objects, told

NAME = "imagefolder"
UNLABELLED = "pictures have no label: they lie in no class's folder"
OTHER_TYPE = (
    "`datasets` takes them for another type and reads only one split at a time; the Parquet view has no such limit"
)


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/imagefolder; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    names = folder_names(picture_labels(samples), info)
    columns_in = _columns(samples)
    columns = set().union(*columns_in.values())
    for split, found in columns_in.items():
        remarks.update(f"column is empty in {split}, {name}: {OTHER_TYPE}" for name in sorted(columns - found))
    with building(folder, NAME) as stage, contextlib.ExitStack() as files:
        metadata = {}
        for split in splits(samples):
            (stage / split).mkdir()
            metadata[split] = files.enter_context((stage / split / "metadata.jsonl").open("w", encoding="utf-8"))
        for sample in shown(samples):
            inside = [] if sample.label is None else [names[sample.label]]
            remarks[UNLABELLED] += not inside
            name = "/".join([*inside, stem(sample) + suffix(sample)])
            place(folder / sample.image, stage / sample.split / name)
            row = {"file_name": name, "id": sample.id, **_row(folder, sample, columns, remarks)}
            metadata[sample.split].write(dumps(row) + "\n")
        (stage / "labels.json").write_text(dumps({names[label]: label for label in names}) + "\n", "utf-8")
    return told(remarks | class_gaps(samples))


def _columns(samples: Iterable[Sample]) -> dict[str, set[str]]:
    """Split -> what any of its samples has."""
    found: dict[str, set[str]] = {split: set() for split in splits(samples)}
    for sample in shown(samples):
        has = {"label": sample.label is not None, "caption": sample.caption is not None}
        has["objects"] = bool(sample.instances)
        found[sample.split] |= {name for name in has if has[name]}
    return found


def _row(folder: Path, sample: Sample, columns: set[str], remarks: Counter[str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(sample, name) for name in ("label", "caption") if name in columns}
    if "objects" in columns:
        seen = list(objects(folder, sample, remarks))
        boxes = [[float(value) for value in each.box] for each in seen]
        row["objects"] = {"bbox": boxes, "categories": [each.label for each in seen]}
    return row


def class_gaps(samples: Iterable[Sample]) -> Counter[str]:
    """Says where a split lacks a class: readers that number folders in each split then number them differently."""
    labels: dict[str, set[str]] = {split: set() for split in splits(samples)}
    for sample in shown(samples):
        if sample.label is not None:
            labels[sample.split].add(sample.label)
    every = set().union(*labels.values())
    return Counter(
        {
            f"classes have no picture in {split}: readers that number the folders of each split alone "
            "number them differently there": len(every - found)
            for split, found in labels.items()
        }
    )
