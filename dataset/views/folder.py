"""The folder of a view: built beside the old one, then put in its place at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import DatasetError

VIEWS = "views"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextlib.contextmanager
def building(folder: Path, name: str) -> Iterator[Path]:
    """An empty folder that becomes FOLDER/views/NAME when the block ends, and is deleted if it fails.

    Until then the old view stays as it is, also if the process is killed. Where the system cannot exchange two
    folders, a kill between two renames leaves the old one as .NAME.old, and the next build puts it back. Only the one
    who holds the set's lock may build. Raises DatasetError if the disk refuses.
    """
    views = folder / VIEWS
    target, new, old = views / name, views / f".{name}.new", views / f".{name}.old"
    try:
        views.mkdir(parents=True, exist_ok=True)
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (new, old):
            if left.exists():
                shutil.rmtree(left)
        new.mkdir()
        yield new
        if target.exists() and not _exchange(new, target):
            target.rename(old)
        if not target.exists():
            new.rename(target)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise DatasetError(f"cannot build {target}: {error}; the set itself is unharmed") from error
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _exchange(a: Path, b: Path) -> bool:
    """Let two folders trade places at once; False where the system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and not rename(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE)


def place(source: Path, target: Path) -> None:
    """Make `target`, in a folder that is made as needed, the file `source`: as a hard link, or as a copy.

    A link takes no room and no time, and to every reader it is an ordinary file, in archives too. File systems without
    links, or with no more of them to give, get a copy. Who edits a picture in place would edit the set: edit a copy.
    """
    try:
        _link(source, target)
    except FileExistsError as error:
        raise DatasetError(f"two samples of the set would be {target.name}: their ids must differ") from error
    except FileNotFoundError as error:
        if not source.exists():
            raise DatasetError(f"{source} is missing: reject its sample, or bring the file back") from error
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(source, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        with source.open("rb") as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
