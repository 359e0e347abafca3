"""One writer of a set at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
from pathlib import Path
from typing import BinaryIO

from .errors import DatasetError, LockedError

if os.name == "nt":
    import msvcrt
else:
    import fcntl

HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what systems say where another has the lock
BEYOND = 1 << 30  # Windows forbids others to read bytes that are locked, so the one locked lies behind the text


class Lock:
    """The right to write, held on the file `path` from acquire() to release().

    It is the system's own lock (flock, or msvcrt.locking on Windows), so it goes with the process however that ends,
    and one left by a dead process is no hindrance. The file names the holder; only its text tells, never its presence.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: BinaryIO | None = None

    def acquire(self) -> None:
        """Raises LockedError, which names the holder, if another has it, and DatasetError if nobody could."""
        try:
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise DatasetError(f"{self.path.parent} cannot be written: {error.strerror}") from error
        try:
            _lock(file)
        except OSError as error:
            holder = _holder(file)
            file.close()
            if error.errno not in HELD:
                raise DatasetError(f"{self.path.parent} cannot be locked: {error.strerror}") from error
            raise LockedError(
                f"{self.path.parent} is being written by {holder}: "
                "wait until it has finished, or give each process a folder of its own"
            ) from error
        self._file = file
        with contextlib.suppress(OSError):  # a full disk: then others are told of "another process"
            file.truncate(0)
            file.write(json.dumps({"process": os.getpid(), "host": platform.node()}).encode())

    def release(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        file.seek(BEYOND)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: BinaryIO) -> str:
    try:
        file.seek(0)
        told = json.loads(file.read())
        return f"process {told['process']} on {told['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
