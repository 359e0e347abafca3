"""What a picture's file says of itself, as Pillow, ExifTool and ComfyUI's front end read it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from small_sets import mask, picture

from varifold.dataset.errors import DatasetError
from varifold.dataset.metadata import Encoding, encode_mask, xmp

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "iptc": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "dc": "http://purl.org/dc/elements/1.1/",
}
COMFYUI = {"prompt": {"1": {"class_type": "Noise", "inputs": {"text": "龙 🐉"}}}, "workflow": {"nodes": []}}
FORMATS = ("png", "jpeg", "webp")


def xmp_of(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    told = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
    return told if isinstance(told, bytes) else told.encode()


@pytest.mark.parametrize("format", FORMATS)
def test_every_picture_carries_the_mark_author_and_licence(format):
    content = Encoding(format).encode(picture(0), 'A <"&> \ud800\x07Autor 龙', "CC0-1.0")
    tree = ElementTree.fromstring(xmp_of(content))
    assert tree.findtext(".//iptc:DigitalSourceType", namespaces=NAMES) == SOURCE
    assert tree.findtext(".//dc:creator//rdf:li", namespaces=NAMES) == 'A <"&> ?Autor 龙'
    assert tree.findtext(".//dc:rights//rdf:li", namespaces=NAMES) == "CC0-1.0"


@pytest.mark.parametrize("format", FORMATS)
def test_without_author_and_licence_the_mark_stands_alone(format):
    tree = ElementTree.fromstring(xmp_of(Encoding(format).encode(picture(0))))
    assert tree.findtext(".//iptc:DigitalSourceType", namespaces=NAMES) == SOURCE
    assert tree.find(".//dc:creator", NAMES) is None and tree.find(".//dc:rights", NAMES) is None


@pytest.mark.parametrize("format", FORMATS)
def test_exiftool_reads_the_mark(format, tmp_path, require):
    require("exiftool", shutil.which("exiftool"), "`apt install libimage-exiftool-perl`")
    path = tmp_path / f"picture.{format}"
    path.write_bytes(Encoding(format).encode(picture(0), "An Author", "CC0-1.0", COMFYUI))
    done = subprocess.run(["exiftool", "-j", "-validate", "-warning", path], capture_output=True, check=True)
    assert json.loads(done.stdout)[0]["Validate"] == "OK"
    done = subprocess.run(["exiftool", "-j", "-XMP:all", "-n", path], capture_output=True, check=True)
    (told,) = json.loads(done.stdout)
    assert told["DigitalSourceType"] == SOURCE
    assert (told["Creator"], told["Rights"], told["CreatorTool"]) == ("An Author", "CC0-1.0", "Varifold")


@pytest.mark.parametrize("format", ["png", "webp"])
@pytest.mark.parametrize("channels", [3, 4])
def test_pixels_are_kept_to_the_last_bit(format, channels):
    content = Encoding(format).encode(picture(0, channels=channels))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), picture(0, channels=channels))


def test_a_jpeg_is_near():
    content = Encoding("jpeg").encode(picture(0, 96))
    assert np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - picture(0, 96)).mean() < 2
    assert len(Encoding("jpeg", 30).encode(picture(0, 96))) < len(content)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_picture_gives_the_same_bytes(format):
    first, second = (Encoding(format).encode(picture(0), "a", "b", COMFYUI) for _ in range(2))
    assert first == second


def test_a_png_carries_the_graph_as_comfyui_writes_it():
    image = Image.open(io.BytesIO(Encoding().encode(picture(0), comfyui=COMFYUI)))
    assert {name: json.loads(image.text[name]) for name in COMFYUI} == COMFYUI
    assert "prompt" not in Image.open(io.BytesIO(Encoding().encode(picture(0)))).text


def test_a_webp_carries_the_graph_where_comfyui_looks():
    exif = Image.open(io.BytesIO(Encoding("webp").encode(picture(0), comfyui=COMFYUI))).getexif()
    told = dict(exif[tag].split(":", 1) for tag in (0x0110, 0x010F))
    assert {name: json.loads(text) for name, text in told.items()} == COMFYUI
    assert not Image.open(io.BytesIO(Encoding("webp").encode(picture(0)))).getexif()


def test_another_source_can_be_told():
    composite = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    tree = ElementTree.fromstring(xmp_of(Encoding(source=composite).encode(picture(0))))
    assert tree.findtext(".//iptc:DigitalSourceType", namespaces=NAMES) == composite


def test_a_mask_is_a_png_of_one_channel():
    image = Image.open(io.BytesIO(encode_mask(mask(3))))
    assert image.mode == "L" and image.format == "PNG"
    assert np.array_equal(np.asarray(image), mask(3) * np.uint8(255))


REFUSED = {
    "transparency in a JPEG": (lambda: Encoding("jpeg").encode(picture(0, channels=4)), "a JPEG has no transparency"),
    "an author too long for a JPEG": (lambda: Encoding("jpeg").encode(picture(0), "x" * 70_000), "too long for a JPEG"),
    "a WebP too large": (
        lambda: Encoding("webp").encode(np.zeros((1, 20_000, 3), np.uint8)),
        "a picture of 20000x1 cannot be a webp file",
    ),
    "another format": (lambda: Encoding("gif"), "png, jpeg, webp; not as 'gif'"),
    "a quality of 0": (lambda: Encoding("jpeg", 0), "from 1 to 100, not 0"),
}


@pytest.mark.parametrize(("made", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_written_is_told(made, words):
    with pytest.raises(DatasetError, match=words):
        made()


def test_xmp_is_xml_whatever_the_author():
    for author in ("", "<x>", "]]>", "\0", "\ud800", "&amp;", "{source}", "a\nb"):
        ElementTree.fromstring(xmp(SOURCE, author, author))
