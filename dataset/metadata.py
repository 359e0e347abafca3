"""Pictures as PNG, JPEG or WebP files that say of themselves that a model made them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import DatasetError

TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
XMP_IN_PNG = "XML:com.adobe.xmp"
XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
MODEL, MAKE = 0x0110, 0x010F  # the EXIF tags in which ComfyUI looks for a workflow in a WebP
LONGEST_SEGMENT = 65533  # bytes of a JPEG segment after its length
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" \
xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>Varifold</xmp:CreatorTool>{more}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class Encoding:
    """How pictures are written.

    format: "png", "jpeg" or "webp". quality: of a JPEG, or of a WebP that need not be lossless, 1..100. source: the
    IPTC digital source type that says how they were made.
    """

    format: str = "png"
    quality: int | None = None
    source: str = TRAINED_ALGORITHMIC_MEDIA

    def __post_init__(self) -> None:
        if self.format not in SUFFIXES:
            raise DatasetError(f"pictures are written as {', '.join(SUFFIXES)}; not as {self.format!r}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise DatasetError(f"the quality of a picture is from 1 to 100, not {self.quality}")

    @property
    def suffix(self) -> str:
        return SUFFIXES[self.format]

    def encode(
        self,
        picture: np.ndarray,
        author: str | None = None,
        licence: str | None = None,
        comfyui: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The file of a picture [H, W, 3 or 4], uint8; the same bytes for the same picture and the same Pillow.

        comfyui: what ComfyUI keeps in its pictures, {"workflow": ..., "prompt": ...}, so that dropping the file on it
        opens the graph; a JPEG holds none. Raises DatasetError for a picture that the format cannot hold.
        """
        image = Image.fromarray(picture)
        told = xmp(self.source, author, licence)
        file = io.BytesIO()
        try:
            if self.format == "png":
                image.save(file, "PNG", pnginfo=_png_text(told, comfyui or {}), compress_level=4)
            elif self.format == "jpeg":
                if image.mode != "RGB":
                    raise DatasetError("a JPEG has no transparency: choose png or webp, or lay the picture on a ground")
                segment = _jpeg_segment(XMP_IN_JPEG + told)
                image.save(file, "JPEG", quality=self.quality or 95, subsampling=0, extra=segment)
            else:
                how = {"lossless": True, "exact": True} if self.quality is None else {"quality": self.quality}
                image.save(file, "WEBP", xmp=told, exif=_exif(comfyui or {}), **how)
        except (OSError, ValueError) as error:
            if isinstance(error, DatasetError):
                raise
            size = "x".join(map(str, image.size))
            raise DatasetError(f"a picture of {size} cannot be a {self.format} file: {error}") from error
        return file.getvalue()


def encode_mask(mask: np.ndarray) -> bytes:
    """The PNG of a mask [H, W], bool: one channel, 255 where it is true."""
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG", compress_level=4)
    return file.getvalue()


def decode(content: bytes) -> np.ndarray:
    """The pixels [H, W, 3 or 4], uint8, of a picture's file. Raises OSError or SyntaxError for one that is broken."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image if image.mode in ("RGB", "RGBA") else image.convert("RGB"))


def xmp(source: str, author: str | None = None, licence: str | None = None) -> bytes:
    """An XMP packet with IPTC's DigitalSourceType, and with dc:creator and dc:rights if they are known."""
    more = ""
    if author:
        more += f"\n<dc:creator><rdf:Seq><rdf:li>{_xml(author)}</rdf:li></rdf:Seq></dc:creator>"
    if licence:
        more += f'\n<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{_xml(licence)}</rdf:li></rdf:Alt></dc:rights>'
    return XMP.format(source=_xml(source), more=more).encode()


def _xml(text: str) -> str:
    """Text as XML 1.0 can hold it: without control characters and lone surrogates."""
    text = text.encode("utf-8", "replace").decode()
    return escape("".join(letter for letter in text if letter.isprintable() or letter in "\t\n\r"))


def _png_text(told: bytes, comfyui: Mapping[str, Any]) -> PngInfo:
    info = PngInfo()
    info.add_itxt(XMP_IN_PNG, told.decode())
    for name, content in comfyui.items():
        info.add_text(name, json.dumps(content))
    return info


def _jpeg_segment(content: bytes) -> bytes:
    if len(content) > LONGEST_SEGMENT:
        raise DatasetError("author and licence are too long for a JPEG: shorten them")
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def _exif(comfyui: Mapping[str, Any]) -> bytes:
    if not comfyui:
        return b""
    exif = Image.Exif()
    for name, content in comfyui.items():
        exif[MODEL if name == "prompt" else MAKE] = f"{name}:{json.dumps(content)}"
    return exif.tobytes()
