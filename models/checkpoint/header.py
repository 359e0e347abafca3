"""The header of a .safetensors file, read without trusting it.

Eight bytes give the header's length, little-endian; then follow that many bytes of JSON, then the tensors' bytes
without a gap (https://github.com/huggingface/safetensors). Nothing here allocates by a number from the file before
that number has been compared with the file's size.
"""

import json
import math
import os
from dataclasses import dataclass

from .errors import CheckpointError, quote
from .file import readable, regular_file

MAX_HEADER = 16_000_000  # bytes; that of a net of ten thousand tensors has one million
MAX_TENSORS = 50_000
MAX_RANK = 16
MAX_ELEMENTS = 2**60

DTYPE_BITS = {
    name: bits
    for bits, names in (
        (4, "F4"),
        (6, "F6_E2M3 F6_E3M2"),
        (8, "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E5M2FNUZ F8_E4M3FNUZ"),
        (16, "U16 I16 F16 BF16"),
        (32, "U32 I32 F32"),
        (64, "U64 I64 F64 C64"),
    )
    for name in names.split()
}

_PICKLE = "is a pickle (.ckpt, .pt or .bin, perhaps renamed), which can run code when opened and is never read here"
_PAGE = "is a web page, not a model: the download needed a login or a direct link"
_CONVERT = "convert it to .safetensors with a tool you trust"
_AGAIN = "download the file itself again"
IMPOSTORS = (
    (b"PK\x03\x04", "is a zip archive, as torch.save writes (.ckpt or .pt, perhaps renamed)", _CONVERT),
    *((b"\x80" + bytes([protocol]), _PICKLE, _CONVERT) for protocol in range(2, 6)),
    (b"version https://git-lfs", "is a Git LFS pointer, a note of where the model lies", "run `git lfs pull`"),
    (b"<!doctype", _PAGE, _AGAIN),
    (b"<html", _PAGE, _AGAIN),
    (b"<?xml", _PAGE, _AGAIN),
    (b"gguf", "is a GGUF file", "use the .safetensors version of the model"),
    (b"\x89hdf", "is an HDF5 file", _CONVERT),
    (b"\x89png", "is a picture", "wire it into a picture input, or choose a .safetensors file"),
    (b"\x1f\x8b", "is compressed with gzip", "unpack it"),
    (b"{", "is JSON, perhaps a workflow or an index of a model in parts", "choose the .safetensors file itself"),
)


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: its dtype as the format spells it ("F16"), its shape, and where its bytes lie after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """All that a .safetensors file says of itself."""

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]


def read_header(path: str | os.PathLike) -> Header:
    """Reads and checks the header alone, whatever the file's size. Raises CheckpointError."""
    regular_file(path)
    with readable(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = _header_bytes(path, file, size)
    try:
        return _parse(data, size - 8 - len(data))
    except _Damaged as error:
        raise CheckpointError(f"{path} is damaged: {error}. {_AGAIN.capitalize()}, or save it again") from None


def _header_bytes(path, file, size: int) -> bytes:
    head = file.read(64)
    if not head:
        raise CheckpointError(f"{path} is empty: {_AGAIN}")
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > size - 8:
        start = head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower()
        for magic, what, remedy in IMPOSTORS:
            if start.startswith(magic.lower()):
                raise CheckpointError(f"{path} {what}: {remedy}")
    if size < 10:
        raise CheckpointError(f"{path} has only {size} bytes, too few for a .safetensors file: {_AGAIN}")
    if length > MAX_HEADER:
        raise CheckpointError(
            f"{path} is not a .safetensors file: its header would have {length} bytes, the limit is {MAX_HEADER}"
        )
    if length > size - 8:
        raise CheckpointError(
            f"{path} is cut short: its header has {length} bytes and the whole file {size}. {_AGAIN.capitalize()}"
        )
    file.seek(8)
    return file.read(length)


class _Damaged(ValueError):
    pass


def _parse(data: bytes, payload: int) -> Header:
    try:
        entries = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except _Damaged:
        raise
    except UnicodeDecodeError:
        raise _Damaged("its header is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _Damaged(f"its header is not JSON ({str(error)[:80]})") from None
    if not isinstance(entries, dict):
        raise _Damaged("its header is not a JSON object")

    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _Damaged("its __metadata__ is not a table of texts")
    if len(entries) > MAX_TENSORS:
        raise _Damaged(f"its header lists {len(entries)} tensors, the limit is {MAX_TENSORS}")
    tensors = {name: _tensor(name, entry) for name, entry in entries.items()}

    end = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != end:
            problem = "a gap before" if info.start > end else "an overlap at"
            raise _Damaged(f"there is {problem} tensor {quote(name)}")
        end = info.end
    if end > payload:
        raise _Damaged(f"it is cut short: the tensors take {end} bytes and {payload} are there")
    if end < payload:
        raise _Damaged(f"{payload - end} bytes at its end belong to no tensor")
    return Header(metadata, tensors)


def _unique(pairs: list[tuple[str, object]]) -> dict:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Damaged("a name appears twice in its header")
    return table


def _no_constant(name: str):
    raise _Damaged(f"its header holds {name}")


def _tensor(name: str, entry: object) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]} if len(entry) == 3:
            pass
        case _:
            raise _Damaged(f"tensor {quote(name)} is not described by dtype, shape and two data_offsets")
    if dtype not in DTYPE_BITS:
        raise _Damaged(f"tensor {quote(name)} has the unknown dtype {quote(dtype)}")
    if len(shape) > MAX_RANK or not all(_is_count(size) for size in shape):
        raise _Damaged(f"tensor {quote(name)} has an impossible shape")
    if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise _Damaged(f"tensor {quote(name)} has an impossible shape")
    if not (_is_count(start) and _is_count(end) and start <= end):
        raise _Damaged(f"tensor {quote(name)} has impossible data_offsets")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits != 8 * (end - start):
        raise _Damaged(f"tensor {quote(name)} has {end - start} bytes, its shape and dtype need {bits / 8:g}")
    return TensorInfo(dtype, tuple(shape), start, end)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_ELEMENTS
