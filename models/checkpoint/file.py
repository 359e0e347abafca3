"""Files on disk: opened with errors for people, and told apart by what is in them."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from .errors import CheckpointError, quote

EMBEDDED = Path(__file__).parent.parent / "weights" / "pixel_art.safetensors"


@contextmanager
def _explained(path: str | os.PathLike) -> Iterator[None]:
    name = quote(os.fspath(path), 300)
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"{name} does not exist: check the name and the folder") from None
    except PermissionError:
        raise CheckpointError(f"{name} may not be read: give this user permission to read it") from None
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name} cannot be read ({error}): check the name and the disk") from None


def regular_file(path: str | os.PathLike) -> os.stat_result:
    """The file's size and times. Raises CheckpointError if there is none, or it is no file but a folder or a pipe."""
    with _explained(path):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise CheckpointError(f"{path} is {kind}: choose a .safetensors file")
    return status


@contextmanager
def readable(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """The file opened for reading; whatever goes wrong is a CheckpointError."""
    with _explained(path), open(path, "rb") as file:
        yield file


def identity(path: str | os.PathLike | None = None) -> str:
    """The SHA-256 of a file (None: the embedded denoiser's), hashed again only if its size or time changed."""
    path = os.path.abspath(EMBEDDED if path is None else path)
    status = regular_file(path)
    return _digest(path, status.st_size, status.st_mtime_ns)


def identity_later(path: str | os.PathLike) -> Callable[[], str]:
    """What gives the identity of a file as it is now, once it is asked for: hashing a big one takes its time.

    Of a file that has changed by then only a name is left, which no other file has.
    """
    path = os.path.abspath(path)
    now = regular_file(path)
    seen = (path, now.st_size, now.st_mtime_ns)

    def known() -> str:
        with suppress(CheckpointError):
            status = regular_file(path)
            if (path, status.st_size, status.st_mtime_ns) == seen:
                return _digest(*seen)
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    return known


def fingerprint(path: str | os.PathLike | None = None) -> str:
    """What changes when a file does (None: the embedded denoiser's), without reading it."""
    path = os.path.abspath(EMBEDDED if path is None else path)
    status = regular_file(path)
    return f"{path} {status.st_size} {status.st_mtime_ns}"


@lru_cache(maxsize=64)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with readable(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
