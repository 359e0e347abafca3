"""Files of a split that are begun anew when they are full: SPLIT-000000.tar, SPLIT-00000-of-00003.tfrecord, ..."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

SHARD_BYTES = 256 << 20  # what readers over a network like; a smaller set is one file a split


class Shards:
    """One split's files; `end` closes each."""

    def __init__(self, stage: Path, split: str, end: bytes = b""):
        self._stage, self._split, self._end = stage, split, end
        self._count = 0
        self._file = self._begin()

    def file_with_room(self) -> BinaryIO:
        """The file that the next sample goes into: another one if the last holds SHARD_BYTES."""
        if self._file.tell() >= SHARD_BYTES:
            self._close()
            self._file = self._begin()
        return self._file

    def finish(self, name: Callable[[int, int], str]) -> None:
        """Close the last file, and name all by name(number, count)."""
        self._close()
        for number in range(self._count):
            self._path(number).rename(self._stage / name(number, self._count))

    def _begin(self) -> BinaryIO:
        self._count += 1
        return self._path(self._count - 1).open("wb")

    def _close(self) -> None:
        self._file.write(self._end)
        self._file.close()

    def _path(self, number: int) -> Path:
        return self._stage / f"{self._split}.{number}.part"
