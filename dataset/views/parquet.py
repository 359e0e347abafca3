"""Parquet: SPLIT-00000-of-00001.parquet, whose columns Hugging Face's `datasets` knows as pictures, labels and objects.

Needs pyarrow: pip install "varifold[parquet]".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..metadata import encode_mask
from ..sample import Sample
from .folder import building
from .info import Info, dumps, numbered, object_labels, picture_labels, shown, splits, stem, suffix, utf8
from .objects import objects, told
from .webdataset import read

NAME = "parquet"
ROW_GROUP_BYTES, ROW_GROUP_ROWS = 16 << 20, 1000  # what is kept in memory
FILE_BYTES = 512 << 20


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/parquet; remark -> how many times it applies. Raises DatasetError, also without pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DatasetError('the Parquet view needs pyarrow: pip install "varifold[parquet]"') from error
    remarks: Counter[str] = Counter()
    kinds, labels = numbered(object_labels(samples), info), numbered(picture_labels(samples), info)
    schema = _schema(list(kinds), list(labels))
    with building(folder, NAME) as stage:
        files = {split: _Files(stage, split, schema) for split in splits(samples)}
        for sample in shown(samples):
            files[sample.split].add(_row(folder, sample, kinds, labels, remarks))
        for each in files.values():
            each.finish()
    return told(remarks)


def _row(
    folder: Path, sample: Sample, kinds: dict[str, int], labels: dict[str, int], remarks: Counter[str]
) -> dict[str, Any]:
    seen = list(objects(folder, sample, remarks))
    masks = (None if each.mask is None else encode_mask(each.mask) for each in seen)
    return {
        "id": sample.id,
        "image": {"bytes": read(folder, sample), "path": stem(sample) + suffix(sample)},
        "label": None if sample.label is None else labels[sample.label],
        "caption": None if sample.caption is None else utf8(sample.caption).decode(),
        "width": sample.width,
        "height": sample.height,
        "objects": {
            "bbox": [list(each.box) for each in seen],
            "categories": [kinds[each.label] for each in seen],
            "mask": [None if mask is None else {"bytes": mask, "path": None} for mask in masks],
            "score": [each.instance.score for each in seen],
            "visibility": [each.instance.visibility for each in seen],
        },
        "provenance": dumps(dict(sample.provenance or {})),
    }


def _schema(kinds: list[str], labels: list[str]) -> Any:
    """The columns, with the features that `datasets` reads from the metadata."""
    import pyarrow as pa

    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    numbers = pa.list_(pa.float32())
    seen = {"bbox": pa.list_(pa.list_(pa.float32(), 4)), "categories": pa.list_(pa.int64()), "mask": pa.list_(image)}
    seen |= {"score": numbers, "visibility": numbers}
    columns = {"id": pa.string(), "image": image, "label": pa.int64(), "caption": pa.string(), "width": pa.int32()}
    columns |= {"height": pa.int32(), "objects": pa.struct(seen), "provenance": pa.string()}
    picture, text, whole, real = {"_type": "Image"}, _value("string"), _value("int32"), _value("float32")
    features = {"id": text, "image": picture, "label": _class_label(labels), "caption": text}
    features |= {"width": whole, "height": whole}
    features["objects"] = {
        "bbox": _list({**_list(real), "length": 4}),
        "categories": _list(_class_label(kinds)),
        "mask": _list(picture),
        "score": _list(real),
        "visibility": _list(real),
    }
    features["provenance"] = text
    return pa.schema(columns, {"huggingface": json.dumps({"info": {"features": features}})})


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


def _class_label(names: list[str]) -> dict[str, Any]:
    """`datasets` has no class label without names."""
    return {"names": [utf8(name).decode() for name in names], "_type": "ClassLabel"} if names else _value("int64")


class _Files:
    """One split's files; a row group is written when it has ROW_GROUP_BYTES of pictures."""

    def __init__(self, stage: Path, split: str, schema: Any):
        self.stage, self.split, self.schema = stage, split, schema
        self.rows: list[dict[str, Any]] = []
        self.waiting = self.written = self.count = 0
        self._begin()

    def add(self, row: dict[str, Any]) -> None:
        if self.written >= FILE_BYTES:
            self._end()
            self._begin()
        self.rows.append(row)
        self.waiting += len(row["image"]["bytes"])
        if self.waiting >= ROW_GROUP_BYTES or len(self.rows) == ROW_GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        self._end()
        for number in range(self.count):
            self._path(number).rename(self.stage / f"{self.split}-{number:05}-of-{self.count:05}.parquet")

    def _begin(self) -> None:
        from pyarrow import parquet

        self.writer = parquet.ParquetWriter(self._path(self.count), self.schema, use_dictionary=False)
        self.count += 1
        self.written = 0

    def _flush(self) -> None:
        import pyarrow as pa

        self.writer.write_table(pa.Table.from_pylist(self.rows, self.schema))
        self.rows.clear()
        self.written, self.waiting = self.written + self.waiting, 0

    def _end(self) -> None:
        if self.rows:
            self._flush()
        self.writer.close()

    def _path(self, number: int) -> Path:
        return self.stage / f"{self.split}.{number}.part"
