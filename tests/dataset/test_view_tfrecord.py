"""TFRecord: framed with the masked CRCs of TensorFlow, and examples that a parser of protobuf's wire format reads."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from view_sets import HEIGHT, INFO, WIDTH, odd, ordinary

from varifold.dataset.crc32c import crc32c
from varifold.dataset.views import shards, tfrecord
from varifold.dataset.views.objects import read_mask


def records(content):
    """The records of a file, whose CRCs must be TensorFlow's: ((crc >> 15) | (crc << 17)) + 0xa282ead8."""
    at = 0
    while at < len(content):
        head = content[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        data = content[at + 12 : at + 12 + length]
        for part, place in ((head, at + 8), (data, at + 12 + length)):
            (stored,) = struct.unpack_from("<I", content, place)
            crc = crc32c(part)
            assert stored == (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF
        yield data
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at


def fields(data):
    """Field number and content of a message whose fields are all of wire type 2."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        assert tag & 7 == 2
        length, at = varint(data, at)
        yield tag >> 3, data[at : at + length]
        at += length


def parse(data):
    """Example{features=1}, Features{feature=1}, entries{key=1, value=2}, lists of bytes=1, float=2, int64=3."""
    ((number, features),) = fields(data)
    assert number == 1
    found = {}
    for number, entry in fields(features):
        assert number == 1
        table = dict(fields(entry))
        ((kind, values),) = fields(table[2])
        content = [each for _, each in fields(values)]
        if kind == 2:
            content = list(struct.unpack(f"<{len(content[0]) // 4}f", content[0]))
        elif kind == 3:
            numbers, at = [], 0
            while at < len(content[0]):
                value, at = varint(content[0], at)
                numbers.append(value)
            content = numbers
        found[table[1].decode()] = content
    return found


def read(folder, split):
    paths = sorted((folder / "views/tfrecord").glob(f"{split}-*.tfrecord"))
    return [parse(record) for path in paths for record in records(path.read_bytes())]


def test_examples_are_those_of_the_set(tmp_path):
    samples = ordinary(tmp_path)
    tfrecord.write(tmp_path, samples, INFO)
    for split in ("train", "val", "test"):
        expected = [each for each in samples if each.split == split]
        for found, sample in zip(read(tmp_path, split), expected, strict=True):
            assert found["image/encoded"] == [(tmp_path / sample.image).read_bytes()]
            assert found["image/format"] == [b"png"]
            assert (found["image/width"], found["image/height"]) == ([WIDTH], [HEIGHT])
            assert found["image/caption"] == [sample.caption.encode()]
            assert found["image/class/text"] == [sample.label.encode()]
            assert found["image/object/class/text"] == [each.label.encode() for each in sample.instances]
            assert found["image/object/class/label"] == [1 + (each.label != "cat") for each in sample.instances]
            x, y, width, height = np.array([each.box for each in sample.instances]).T
            assert found["image/object/bbox/xmin"] == pytest.approx(x / WIDTH)
            assert found["image/object/bbox/ymax"] == pytest.approx((y + height) / HEIGHT)
            assert found["image/object/bbox/xmax"] == pytest.approx((x + width) / WIDTH)
            for mask, instance in zip(found["image/object/mask"], sample.instances, strict=True):
                drawn = np.asarray(Image.open(io.BytesIO(mask))) > 0
                assert np.array_equal(drawn, read_mask(tmp_path, instance.mask, sample))


def test_what_a_sample_lacks_is_no_feature(tmp_path):
    samples = odd(tmp_path)
    tfrecord.write(tmp_path, samples, INFO)
    first = read(tmp_path, "train")[0]
    assert not [name for name in first if "object" in name or "class" in name or "caption" in name]
    assert "image/object/mask" not in read(tmp_path, "train")[2]
    assert [each["image/format"] for each in read(tmp_path, "test")] == [[b"png"], [b"webp"]]
    assert read(tmp_path, "val")[1]["image/format"] == [b"jpeg"]


def test_numbers_of_any_size_are_varints():
    values = [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1]
    found = parse(tfrecord.example({"b": values, "a": [0.5, -2.0], "é": b"\x00" * 300}))
    assert list(found) == ["a", "b", "é"]
    assert found["b"] == [value % 2**64 for value in values]
    assert found["a"] == [0.5, -2.0]
    assert found["é"] == [b"\x00" * 300]


def test_a_flipped_bit_is_found():
    content = bytearray(tfrecord.record(b"x" * 1000))
    content[500] ^= 4
    with pytest.raises(AssertionError):
        list(records(bytes(content)))


def test_files_tell_how_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    samples = ordinary(tmp_path)
    tfrecord.write(tmp_path, samples, INFO)
    names = sorted(path.name for path in (tmp_path / "views/tfrecord").glob("train-*"))
    assert names == [f"train-{number:05}-of-00006.tfrecord" for number in range(6)]
    assert len(read(tmp_path, "train")) == 6


def test_the_label_map_is_plain_ascii(tmp_path):
    tfrecord.write(tmp_path, odd(tmp_path), INFO)
    text = (tmp_path / "views/tfrecord/label_map.pbtxt").read_text("ascii")
    assert 'item {\n  id: 1\n  name: "a?\\001<&"\n}\n' in text
    assert 'item {\n  id: 3\n  name: "cat"\n}\n' in text
