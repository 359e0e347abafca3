"""Files that are written once, whole or not at all, and named by what is in them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from .errors import DatasetError
from .sample import is_path_inside

IMAGES, MASKS, GRAPHS = "images", "masks", "graphs"
UNFINISHED = "tmp"
SYNCS_AT_ONCE = 8  # the disk then does several in one go


class Files:
    """The immutable files of the set in `folder`: KIND/ab/abcd....png, where abcd... is the content's SHA-256.

    Graphs are few, so they are not spread over folders: graphs/abcd....json. What put() was given is there for good
    after the next flush(), and not before.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._parts: dict[str, Path | None] = {}  # path -> where its content waits, None if it is at its place
        self._pool: ThreadPoolExecutor | None = None

    @staticmethod
    def place(kind: str, content: bytes, suffix: str) -> tuple[str, str]:
        """The path inside the folder of a file with this content, and its SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        return f"{kind}/{digest}{suffix}" if kind == GRAPHS else f"{kind}/{digest[:2]}/{digest}{suffix}", digest

    def put(self, path: str, content: bytes) -> None:
        """Have a file written at its place; one that is there already is kept. Raises DatasetError if it cannot be."""
        if path in self._parts:
            return
        part = self.folder / UNFINISHED / Path(path).name
        with self._writing(path):
            if _holds(self.folder / path, content):
                self._parts[path] = None
                return
            make_folder(part.parent)
            with part.open("wb", buffering=0) as file:
                write_all(file, content)
        self._parts[path] = part

    def flush(self) -> None:
        """Wait until the disk has all that was put, names and folders with it. Raises DatasetError if it cannot."""
        if not self._parts:
            return
        parts = {path: part for path, part in self._parts.items() if part is not None}
        folders = {(self.folder / path).parent for path in self._parts}
        self._pool = self._pool or ThreadPoolExecutor(SYNCS_AT_ONCE)
        with self._writing("files"):
            list(self._pool.map(sync_file, parts.values()))
            for folder in folders:
                make_folder(folder.parent)
                folder.mkdir(exist_ok=True)
            for path, part in parts.items():
                os.replace(part, self.folder / path)
            list(self._pool.map(sync_folder, {*folders, *(folder.parent for folder in folders)}))
        self._parts.clear()

    def forget(self) -> None:
        """Delete what waits for flush(), and what an interrupted process left of the kind."""
        self._parts.clear()
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DatasetError(
                f"cannot write {what} in {self.folder}: {error.strerror}; "
                "the samples before are safe, and the same run continues after them"
            ) from error

    def get(self, path: str) -> bytes:
        """What is in a file that was put. Raises DatasetError if it is missing or not what was written."""
        if not is_path_inside(path):
            raise DatasetError(f"{path!a} is no path inside {self.folder}")
        try:
            content = (self.folder / path).read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot read {path} in {self.folder}: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != Path(path).stem:
            raise DatasetError(f"{path} in {self.folder} is not what was written: take it from a copy")
        return content

    def is_whole(self, path: str) -> bool:
        """Whether the file at a path that place() gave is there and holds what its name says."""
        try:
            self.get(path)
        except DatasetError:
            return False
        return True

    def sweep(self, wanted: Collection[str]) -> list[str]:
        """Delete the files that are not among `wanted` paths, and tell which they were."""
        found = (path for kind in (IMAGES, MASKS, GRAPHS) for path in (self.folder / kind).rglob("*") if path.is_file())
        unwanted = sorted({path.relative_to(self.folder).as_posix() for path in found} - set(wanted))
        for path in unwanted:
            (self.folder / path).unlink()
        return unwanted


def write_whole(path: Path, content: bytes) -> None:
    """Give a file new content as a whole or not at all. Raises DatasetError if that cannot be."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        sync_file(part)
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror}") from error


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write to an unbuffered file, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def make_folder(folder: Path) -> None:
    """Make a folder in one that exists, for good, unless it is there."""
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Wait until the disk has what is in a file."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder, if the system has a way; Windows writes them with the files."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what file systems say that cannot do so
            raise
    finally:
        os.close(handle)


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content
