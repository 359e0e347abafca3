"""The ledger of a set: JSON lines that are only ever appended, each with its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DatasetError
from .files import sync_folder, write_all

VERSION = 1
HEADER = {"kind": "set", "version": VERSION}
START = b'{"crc":"'
BODY = len(START) + 8 + len(b'",')  # where the text begins that the checksum covers
BUFFER = 1 << 20


class Ledger:
    """The lines of `path`: {"crc": "8 hex digits", "kind": ..., ...}, the first of kind "set".

    The checksum is the CRC-32 of PNG and gzip (zlib.crc32) over the bytes after the crc's comma up to the closing
    brace. What follows the last line's end is torn: it is passed over, and cut off before the next line is written.
    """

    def __init__(self, path: Path):
        self.path = path
        self.end = 0  # bytes; what lies before is whole lines
        self.count = 0
        self._waiting: list[bytes] = []
        self._next = 0  # bytes; where the next line will begin, behind those that wait
        self._file: BinaryIO | None = None

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of each line after the header, and where the whole ones end.

        Raises DatasetError that names the line if one is broken, or if this is no ledger or a later version's.
        """
        self.end = self.count = 0
        self._forget()
        if not self.path.exists():
            return
        with self.path.open("rb", BUFFER) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self._check_torn(line)
                    return
                self._check(line)
                if self.count == 0:
                    self._check_header(line)
                else:
                    yield self.end, line
                self._next = self.end = self.end + len(line)
                self.count += 1

    def lines(self) -> Iterator[bytes]:
        """The whole lines again, with the header and unchecked, as far as the ledger goes now."""
        end = self.end
        if end == 0:
            return
        with self.path.open("rb", BUFFER) as file:
            for line in file:
                yield line
                end -= len(line)
                if end <= 0:
                    return

    def digest(self) -> str:
        """The SHA-256 of the whole lines."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def at(self, offset: int) -> bytes:
        """The line that begins at `offset`."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.readline()

    def append(self, entry: Mapping[str, Any]) -> tuple[int, bytes]:
        """Have an entry written by the next flush(): its offset and its line. Call read() to the end before.

        Raises DatasetError if it is no JSON data.
        """
        if self.count == 0 and not self._waiting:
            self._wait(_line(HEADER))
        line = _line(entry)
        offset = self._next
        self._wait(line)
        return offset, line

    def flush(self) -> None:
        """Write what was appended and wait until the disk has it.

        Raises DatasetError if it cannot be written; the ledger is then as it was, and nothing waits any more.
        """
        lines = self._forget()
        if not lines:
            return
        try:
            file = self._open()
            write_all(file, b"".join(lines))
            os.fsync(file.fileno())
        except OSError as error:
            self._cut()
            raise DatasetError(f"cannot write {self.path}: {error.strerror}; what was there is kept") from error
        self._next = self.end = self.end + sum(map(len, lines))
        self.count += len(lines)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _wait(self, line: bytes) -> None:
        self._waiting.append(line)
        self._next += len(line)

    def _forget(self) -> list[bytes]:
        """What waited."""
        lines, self._waiting, self._next = self._waiting, [], self.end
        return lines

    def _open(self) -> BinaryIO:
        if self._file is None:
            new = not self.path.exists()
            self._file = self.path.open("ab", buffering=0)
            self._file.truncate(self.end)
            if new:
                sync_folder(self.path.parent)
        return self._file

    def _cut(self) -> None:
        if self._file is not None:
            self._file.truncate(self.end)
            self._file.seek(self.end)

    def _check(self, line: bytes) -> None:
        if line[:BODY] != _start(line[BODY:-1]):
            raise DatasetError(
                f"{self.path}, line {self.count + 1} is broken: its checksum does not match. "
                "The lines before it are whole; take this line from a copy of the file, or delete it"
            )

    def _check_torn(self, line: bytes) -> None:
        if self.count == 0 and not _line(HEADER).startswith(line):
            raise DatasetError(f"{self.path} is no ledger of a set: choose another folder")

    def _check_header(self, line: bytes) -> None:
        header = json.loads(line)
        if header.get("kind") != HEADER["kind"]:
            raise DatasetError(
                f"{self.path}, line 1 is of the kind {header.get('kind')!r}, so this is no ledger of a set"
            )
        if header["version"] > VERSION:
            raise DatasetError(
                f"{self.path} is of version {header['version']}, and this Varifold knows {VERSION}: update it"
            )


def _line(entry: Mapping[str, Any]) -> bytes:
    try:
        body = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()[1:]
    except (TypeError, ValueError, RecursionError) as error:
        raise DatasetError(f"this {entry['kind']} is no JSON data: {error}") from error
    return _start(body) + body + b"\n"


def _start(body: bytes) -> bytes:
    return b'%s%08x",' % (START, zlib.crc32(body))
