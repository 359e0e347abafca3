"""The weights of a net, read from a .safetensors file one at a time, without a second copy of the file."""

import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from .errors import CheckpointError
from .file import readable
from .header import Header, TensorInfo
from .layout import Source

DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}
WEIGHT_DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
BIG = 1 << 28  # bytes of a file from which it is mapped
READABLE = {**WEIGHT_DTYPES, "I32": torch.int32, "I64": torch.int64}


def fill(
    net: nn.Module,
    path: str | os.PathLike,
    header: Header,
    sources: Mapping[str, Source],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Gives a net on the meta device its weights, in `dtype` on `device`, and makes it ready to use.

    Never holds more than the net and the tensor that is being read. What needs no change of a big file stays where it
    lies, mapped, as other loaders of it do. Raises CheckpointError for a file that was cut or changed since its header
    was read, and for NaN or infinity in the weights.
    """
    opened = mapping if max((info.end for info in header.tensors.values()), default=0) >= BIG else reading
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    weights = {}
    with opened(path, header) as read:
        in_order = sorted(sources, key=lambda name: header.tensors[sources[name].keys[0]].start)
        for name in in_order:
            keys, swapped = sources[name]
            parts = [read(key) for key in keys]
            rest = shapes[name][1:]
            if len(parts) > 1:  # perhaps of several dtypes, and with more or less ones at the end of their shapes
                parts = [torch.cat([part.to(dtype).reshape(len(part), *rest) for part in parts])]
            tensor = parts[0]
            if swapped:
                tensor = torch.cat(tensor.chunk(2)[::-1])
            tensor = tensor.reshape(shapes[name]).to(device, dtype)
            if not finite(tensor):
                raise CheckpointError(
                    f"{path}: tensor {keys[0]} has NaN or infinity in {dtype}: try float32, or another file"
                )
            weights[name] = tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    net.load_state_dict(weights, assign=True)
    net.eval().requires_grad_(False)


@contextmanager
def reading(path: str | os.PathLike, header: Header) -> Iterator[Callable[[str], Tensor]]:
    """read(name) -> that tensor of the file, of a dtype in READABLE, in memory of its own: files change.

    Raises CheckpointError as `fill` does.
    """
    with _unchanged(path, header) as (file, first):
        yield lambda key: _read(Path(path), file, first, key, header.tensors[key])


@contextmanager
def mapping(path: str | os.PathLike, header: Header) -> Iterator[Callable[[str], Tensor]]:
    """The same without a copy: pages of the file, held as long as a tensor is, and in memory while they are in use."""
    with _unchanged(path, header) as (file, first):
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        last = (0, 0)

        def leave(start: int, end: int) -> None:
            """Let go of memory; what is used again comes from the file again."""
            start -= start % mmap.PAGESIZE
            if hasattr(mmap, "MADV_DONTNEED") and end > start:
                pages.madvise(mmap.MADV_DONTNEED, start, end - start)

        def read(key: str) -> Tensor:
            nonlocal last
            leave(*last)
            info = header.tensors[key]
            start, size = first + info.start, info.end - info.start
            last = (start, start + size)
            dtype = READABLE[info.dtype]
            if not size:
                return torch.empty(info.shape, dtype=dtype)
            values = torch.frombuffer(pages, dtype=torch.uint8, count=size, offset=start)
            values = values if start % dtype.itemsize == 0 else values.clone()
            return values.view(dtype).reshape(info.shape)

        yield read
        leave(0, len(pages))


@contextmanager
def _unchanged(path: str | os.PathLike, header: Header) -> Iterator[tuple[BinaryIO, int]]:
    """The file, and where its tensors begin, if it is as large as its header said."""
    with readable(path) as file:
        first = 8 + int.from_bytes(file.read(8), "little")
        last = max((info.end for info in header.tensors.values()), default=0)
        if first + last != os.fstat(file.fileno()).st_size:
            raise CheckpointError(f"{path} was changed while it was read. Try again")
        yield file, first


def _read(path: Path, file: BinaryIO, first: int, key: str, info: TensorInfo) -> Tensor:
    tensor = torch.empty(info.shape, dtype=READABLE[info.dtype])
    file.seek(first + info.start)
    size = info.end - info.start
    if size and file.readinto(tensor.view(-1).view(torch.uint8).numpy()) != size:
        raise CheckpointError(f"{path} is cut short at tensor {key}: it was changed while it was read. Try again")
    return tensor


def finite(tensor: Tensor) -> bool:
    """Whether a tensor has neither NaN nor infinity."""
    # The sum of what is finite may overflow, so only a finite one settles it.
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())
