"""Where pictures lie while a net is trained: in memory or, where they are too many, in a file of the cache."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from pathlib import Path

import numpy as np

SHARE = 4  # of the memory that is free, pictures take one part
UNKNOWN = 2**33  # bytes; taken to be free where the system does not tell
LEFT_FREE = 2**28  # bytes of the disk
OFTEN = 2**24  # bytes; how often the disk is looked at


class Shelf:
    """Takes pictures [h, w, C], uint8, and keeps them.

    Once they are more than `room` bytes, a quarter of the free memory by default, they move to a file in `folder` that
    vanishes with the last of them; the system then keeps in memory what it has room for.
    """

    def __init__(self, folder: Path | None = None, room: int | None = None):
        self.folder = folder
        self.room = free_memory() // SHARE if room is None else room
        self.size = 0
        self._kept: list[np.ndarray] = []
        self._file = None
        self._shapes: list[tuple[int, ...]] = []
        self._unseen = OFTEN

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def add(self, pixels: np.ndarray) -> None:
        """Raises ValueError where the disk is full."""
        self.size += pixels.nbytes
        if self.on_disk:
            self._write(pixels)
            return
        self._kept.append(np.ascontiguousarray(pixels))
        if self.folder is not None and self.size > self.room:
            self._move()

    def pictures(self) -> list[np.ndarray]:
        """All, in the order in which they came."""
        if not self.on_disk:
            return self._kept
        self._file.flush()
        levels = np.frombuffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        ends = np.cumsum([np.prod(shape, dtype=np.int64) for shape in self._shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(levels, ends[:-1]), self._shapes, strict=True)]

    def _move(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.folder, prefix="pictures-")  # noqa: SIM115
        except OSError as error:
            raise ValueError(f"the pictures are too many for memory, and {self.folder}: {error.strerror}") from error
        kept, self._kept = self._kept, []
        for pixels in kept:
            self._write(pixels)

    def _write(self, pixels: np.ndarray) -> None:
        try:
            self._unseen += pixels.nbytes
            if self._unseen >= OFTEN:
                self._unseen = 0
                if shutil.disk_usage(self.folder).free < LEFT_FREE:
                    raise OSError(28, "the disk is full")
            self._file.write(np.ascontiguousarray(pixels))
        except OSError as error:
            self._file.close()
            raise ValueError(
                f"the pictures are too many for memory, and cannot wait in {self.folder}: {error.strerror} after "
                f"{self.size / 1e9:.1f} GB: make room there, or choose a smaller size or fewer pictures"
            ) from error
        self._shapes.append(pixels.shape)


def free_memory() -> int:
    """Bytes that programs could have without others losing theirs; a guess where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            (line,) = (line for line in file if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return UNKNOWN
