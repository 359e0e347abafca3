"""Pascal VOC 2012 (Everingham et al. 2010): VOCdevkit/VOC2012 with JPEGImages, Annotations, ImageSets and masks.

Readers of VOC open JPEGImages/ID.jpg whatever the annotation says, so pictures that are no JPEG are encoded as such,
without chroma subsampling. Boxes count pixels from 1 and include both ends. A pixel of the masks is the number of its
class or object in VOC's palette, 0 where there is none; where objects overlap it is the smaller one's.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..metadata import XMP_IN_JPEG
from ..sample import SPLITS, Sample
from .folder import building, place
from .info import Info, dumps, licence_of, numbered, object_labels, shown, stem
from .objects import Object, objects, told

NAME = "voc"
YEAR = "VOC2012"
MOST = 254  # numbers of a mask: 0 is the ground and 255 VOC's border
QUALITY = 95
ENCODED = "pictures were encoded as JPEG, for VOC has no other; what was transparent is white"
TOO_MANY_CLASSES = f"masks were left out, for a set of more than {MOST} classes has too few numbers"
TOO_MANY_OBJECTS = f"masks were left out, for a picture of more than {MOST} objects has too few numbers"


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/voc; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    numbers = numbered(object_labels(samples), info)
    with building(folder, NAME) as outside, contextlib.ExitStack() as files:
        stage = outside / "VOCdevkit" / YEAR
        for part in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject"):
            (stage / part).mkdir(parents=True)
        lists = {}
        for part in ("Main", "Segmentation"):
            (stage / "ImageSets" / part).mkdir(parents=True)
            for split in (*SPLITS, "trainval"):
                path = stage / "ImageSets" / part / f"{split}.txt"
                lists[part, split] = files.enter_context(path.open("w", encoding="ascii"))
        for sample in shown(samples):
            name = stem(sample)
            remarks[ENCODED] += _place_jpeg(folder / sample.image, stage / "JPEGImages" / f"{name}.jpg")
            seen = list(objects(folder, sample, remarks))
            masked = [each for each in seen if each.mask is not None]
            drawn = bool(masked) and _has_numbers(masked, numbers, remarks)
            if drawn:
                _draw_masks(stage, f"{name}.png", sample, masked, numbers)
            tree = _annotation(name, sample, info, seen, drawn)
            tree.write(stage / "Annotations" / f"{name}.xml", "utf-8", xml_declaration=True)
            for part in ("Main", "Segmentation") if drawn else ("Main",):
                for listed in {sample.split, "trainval" if sample.split != "test" else "test"}:
                    lists[part, listed].write(name + "\n")
        (outside / "labels.json").write_text(dumps({number + 1: label for label, number in numbers.items()}) + "\n")
    return told(remarks)


def _has_numbers(masked: list[Object], numbers: dict[str, int], remarks: Counter[str]) -> bool:
    remarks[TOO_MANY_CLASSES] += len(numbers) > MOST
    remarks[TOO_MANY_OBJECTS] += len(masked) > MOST
    return len(numbers) <= MOST and len(masked) <= MOST


def _place_jpeg(source: Path, target: Path) -> bool:
    """Whether the picture had to be encoded. What its XMP says, that a model made it, goes with it."""
    if source.suffix.lower() in (".jpg", ".jpeg"):
        place(source, target)
        return False
    with Image.open(source) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        packet = packet.encode() if isinstance(packet, str) else packet
        segment = XMP_IN_JPEG + packet
        extra = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment if packet else b""
        _opaque(image).save(target, "JPEG", quality=QUALITY, subsampling=0, extra=extra)
    return True


def _opaque(image: Image.Image) -> Image.Image:
    """Without transparency: on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _draw_masks(stage: Path, name: str, sample: Sample, masked: list[Object], numbers: dict[str, int]) -> None:
    by_class = np.zeros((sample.height, sample.width), np.uint8)
    by_object = by_class.copy()
    for number, each in sorted(enumerate(masked, 1), key=lambda pair: -pair[1].area):
        by_class[each.mask] = numbers[each.label] + 1
        by_object[each.mask] = number
    for part, pixels in (("SegmentationClass", by_class), ("SegmentationObject", by_object)):
        image = Image.fromarray(pixels)
        image.putpalette(PALETTE.tobytes())
        image.save(stage / part / name, "PNG")


def _palette() -> NDArray[np.uint8]:
    """VOC's colours [256, 3]: bits 0, 3, 6 of a number are red's from the highest, bits 1, 4, 7 green's, ..."""
    number = np.arange(256)[:, None]
    channel = np.arange(3)
    return sum(((number >> 3 * bit + channel) & 1) << 7 - bit for bit in range(8)).astype(np.uint8)


PALETTE = _palette()


def _annotation(name: str, sample: Sample, info: Info, seen: list[Object], drawn: bool) -> ElementTree.ElementTree:
    root = ElementTree.Element("annotation")
    _add(root, folder=YEAR, filename=f"{name}.jpg")
    source = ElementTree.SubElement(root, "source")
    _add(source, database=info.name, annotation=info.name, image=licence_of(sample, info) or "unknown")
    _add(ElementTree.SubElement(root, "size"), width=sample.width, height=sample.height, depth=3)
    _add(root, segmented=int(drawn))
    for each in seen:
        x, y, width, height = each.box
        element = ElementTree.SubElement(root, "object")
        hidden = each.instance.visibility is not None and each.instance.visibility < 1
        _add(element, name=each.label, pose="Unspecified", truncated=int(each.cut), occluded=int(hidden), difficult=0)
        ends = {"xmax": math.ceil(x + width), "ymax": math.ceil(y + height)}
        _add(ElementTree.SubElement(element, "bndbox"), xmin=math.floor(x) + 1, ymin=math.floor(y) + 1, **ends)
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _add(parent: ElementTree.Element, **texts: object) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = _xml(str(text))


def _xml(text: str) -> str:
    """Text with a question mark for what XML 1.0 has no way to write."""
    return "".join(letter if _is_xml(ord(letter)) else "?" for letter in text)


def _is_xml(code: int) -> bool:
    return code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
