"""TFRecord: SPLIT-00000-of-00001.tfrecord of tf.train.Example, with the features of TensorFlow's Object Detection API.

Boxes are shares of the picture's size. Masks are PNGs, not 0 where the object is, and there if every object of the
picture has one. Classes of objects count from 1, as label_map.pbtxt tells; those of pictures from 0, as labels.json.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..crc32c import masked_crc32c
from ..metadata import encode_mask
from ..sample import Sample
from .folder import building
from .info import Info, dumps, numbered, object_labels, picture_labels, shown, splits, stem, suffix, utf8
from .objects import objects, told
from .shards import Shards
from .webdataset import read

NAME = "tfrecord"
FORMATS = {".jpg": "jpeg"}
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
Feature = bytes | str | int | Sequence[bytes] | Sequence[float] | Sequence[int]


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/tfrecord; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    kinds, labels = numbered(object_labels(samples), info), numbered(picture_labels(samples), info)
    with building(folder, NAME) as stage:
        shards = {split: Shards(stage, split) for split in splits(samples)}
        for sample in shown(samples):
            features = _features(folder, sample, kinds, labels, remarks)
            shards[sample.split].file_with_room().write(record(example(features)))
        for split, files in shards.items():
            files.finish(lambda number, count, split=split: f"{split}-{number:05}-of-{count:05}.tfrecord")
        items = (f"item {{\n  id: {number + 1}\n  name: {_quoted(label)}\n}}\n" for label, number in kinds.items())
        (stage / "label_map.pbtxt").write_text("".join(items), "ascii")
        (stage / "labels.json").write_text(dumps(list(labels)) + "\n", "utf-8")
    return told(remarks)


def _features(
    folder: Path, sample: Sample, kinds: Mapping[str, int], labels: Mapping[str, int], remarks: Counter[str]
) -> dict[str, Feature]:
    kind = suffix(sample)
    features: dict[str, Feature] = {
        "image/encoded": read(folder, sample),
        "image/filename": stem(sample) + kind,
        "image/format": FORMATS.get(kind, kind[1:]),
        "image/height": sample.height,
        "image/key/sha256": sample.sha256,
        "image/source_id": sample.id,
        "image/width": sample.width,
    }
    if sample.label is not None:
        features |= {"image/class/label": labels[sample.label], "image/class/text": sample.label}
    if sample.caption is not None:
        features["image/caption"] = sample.caption
    seen = list(objects(folder, sample, remarks))
    if seen:
        left, top, width, height = zip(*(each.box for each in seen), strict=True)
        right, bottom = map(sum, zip(left, width, strict=True)), map(sum, zip(top, height, strict=True))
        features |= {
            "image/object/bbox/xmin": [x / sample.width for x in left],
            "image/object/bbox/xmax": [min(x / sample.width, 1.0) for x in right],
            "image/object/bbox/ymin": [y / sample.height for y in top],
            "image/object/bbox/ymax": [min(y / sample.height, 1.0) for y in bottom],
            "image/object/class/label": [kinds[each.label] + 1 for each in seen],
            "image/object/class/text": [utf8(each.label) for each in seen],
        }
        if all(each.mask is not None for each in seen):
            features["image/object/mask"] = [encode_mask(each.mask) for each in seen]
    return features


def record(data: bytes) -> bytes:
    """A record of a TFRecord file: length, its masked CRC, the data, its masked CRC."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def example(features: Mapping[str, Feature]) -> bytes:
    """A serialized tf.train.Example; a single value is a list of one, and text is UTF-8. Features are in order."""
    entries = (_field(1, utf8(name)) + _field(2, _feature(features[name])) for name in sorted(features))
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _feature(value: Feature) -> bytes:
    if isinstance(value, (bytes, str, int)):
        value = [utf8(value) if isinstance(value, str) else value]
    match value[0]:
        case bytes():
            return _field(BYTES_LIST, b"".join(_field(1, each) for each in value))
        case int():
            return _field(INT64_LIST, _field(1, b"".join(_varint(each & (1 << 64) - 1) for each in value)))
        case _:
            return _field(FLOAT_LIST, _field(1, struct.pack(f"<{len(value)}f", *value)))


def _field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire type 2: its length, then its bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _quoted(text: str) -> str:
    """A string of protobuf's text format: all but plain letters as the octal numbers of their bytes."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in "\"\\'" else f"\\{byte:03o}" for byte in utf8(text))
    return '"' + "".join(plain) + '"'
