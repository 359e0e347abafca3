"""File names for labels: safe on every system, and each label's own."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping

LONGEST = 48  # characters before the suffix; at most 4 bytes each in UTF-8, where file systems allow 255
RESERVED = {"con", "prn", "aux", "nul", "clock$", "conin$", "conout$"}
RESERVED |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}


def file_names(labels: Iterable[str], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Label -> a name for files and folders, for `labels` and for those `known` already, whose names stay.

    A name has letters and digits of any script, "-" and "_" alone: no dot, slash or space. No two are equal, not even
    where a system ignores case. A label that is no such name, or whose name is taken, gets eight or more hex digits of
    its SHA-256 behind it. The result does not depend on the order of the labels.
    """
    names = dict(known or {})
    taken = {_folded(name) for name in names.values()}
    new = sorted(set(labels) - names.keys())
    for label in sorted(new, key=lambda each: _plain(each) != each):
        names[label] = _free(label, taken)
        taken.add(_folded(names[label]))
    return names


def _free(label: str, taken: set[str]) -> str:
    name = _plain(label)
    if name == label and _folded(name) not in taken:
        return name
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
    suffixed = (f"{name}-{digest[:length]}" for length in range(8, len(digest) + 1))
    return next(each for each in suffixed if _folded(each) not in taken)


def _plain(label: str) -> str:
    letters = unicodedata.normalize("NFC", label)[:LONGEST]
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in letters)
    return "label" if not name.strip("-_") or name.casefold() in RESERVED else name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
