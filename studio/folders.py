"""Where pictures come from and go to; no name from a workflow leads out of these folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO


@dataclass(frozen=True)
class Folders:
    """`input` may be several folders, searched in order; names with no mark are looked up there."""

    input: tuple[Path, ...]
    output: Path
    temp: Path

    def find(self, name: str) -> Path:
        """The file that a name in a workflow means: "pic.png", "pic.png [output]", "sub/pic.png [temp]".

        Raises ValueError for names that lead out of the folder, FileNotFoundError where there is no such file.
        """
        roots = {"input": self.input, "output": (self.output,), "temp": (self.temp,)}
        kind = "input"
        for mark in roots:
            if name.endswith(f"[{mark}]"):
                kind, name = mark, name[: -len(mark) - 2].rstrip()
        candidates = [confined(root, name) for root in roots[kind]]
        for path in candidates:
            if path.is_file():
                return path
        looked = " or ".join(str(root) for root in roots[kind])
        raise FileNotFoundError(f"there is no file '{name}' in {looked}")

    def path_of(self, entry: dict) -> Path:
        """The path of a file that a node shows as {filename, subfolder, type}."""
        roots = {"input": self.input[0], "output": self.output, "temp": self.temp}
        return confined(roots[entry["type"]], f"{entry.get('subfolder') or '.'}/{entry['filename']}")


_current: Folders | None = None


def use(folders: Folders | None) -> None:
    global _current
    _current = folders


def current() -> Folders:
    if _current is None:
        raise RuntimeError("no folders: run this graph with `varifold run`")
    return _current


def confined(root: Path, name: str) -> Path:
    """`root`/`name`, or ValueError if that could lie outside of `root`, through links too."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or relative.is_absolute() or PureWindowsPath(name).drive:
        raise ValueError(f"'{name}' is not a name inside {root}; put the file there and give its name")
    path = root / relative
    # Path.resolve() raises RuntimeError for links that lead in a circle.
    if ".." in relative.parts or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ValueError(f"'{name}' leads out of {root}")
    return path


@dataclass(frozen=True)
class Series:
    """A run of numbered files: {folder}/{stem}_{number:05}_.png."""

    folder: Path
    subfolder: str
    stem: str
    first: int


def series(root: Path, prefix: str, width: int = 0, height: int = 0) -> Series:
    """What ComfyUI makes of a filename_prefix: subfolders, %width%, %year% and the like, the next free number."""
    now = time.localtime()
    marks = {"width": str(width), "height": str(height), "year": str(now.tm_year)}
    fields = ("mon", "mday", "hour", "min", "sec")
    names = ("month", "day", "hour", "minute", "second")
    marks |= {name: f"{getattr(now, 'tm_' + key):02}" for name, key in zip(names, fields, strict=True)}
    for mark, value in marks.items():
        prefix = prefix.replace(f"%{mark}%", value)
    prefix = os.path.normpath(prefix)
    relative = confined(root, "ComfyUI" if prefix == "." else prefix).relative_to(root)
    folder = root / relative.parent
    subfolder = "" if relative.parent == Path(".") else relative.parent.as_posix()
    folder.mkdir(parents=True, exist_ok=True)
    taken = [_number(name, relative.name) for name in os.listdir(folder)]
    return Series(folder, subfolder, relative.name, max(taken, default=0) + 1)


def _number(name: str, stem: str) -> int:
    if not os.path.normcase(name).startswith(os.path.normcase(stem + "_")):
        return 0
    digits = name[len(stem) + 1 :].split(".")[0].split("_")[0]
    return int(digits) if digits.isdecimal() and len(digits) < 19 else 0


def write_next(folder: Path, stem: str, number: int, write: Callable[[BinaryIO], None]) -> tuple[str, int]:
    """Write a picture whole or not at all, under the first free number; returns the name and the number.

    Another process may be writing the same series: the finished file is linked to its name, which fails if the
    name is taken, instead of being moved over it.
    """
    temporary = folder / f".{os.getpid()}-{time.time_ns()}.part"
    try:
        with open(temporary, "xb") as file:
            write(file)
        while True:
            name = f"{stem}_{number:05}_.png"
            try:
                claim(temporary, folder / name)
                return name, number
            except FileExistsError:
                number += 1
    finally:
        temporary.unlink(missing_ok=True)


def claim(temporary: Path, path: Path) -> None:
    """Give a finished file its name. Raises FileExistsError if the name is taken, by another process too."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        os.rename(temporary, path)
