"""Where a sample came from, so that it can be made again and its licence is known."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

from .errors import DatasetError

SOURCE = "source "  # and a SHA-256: what pictures share that were made of one file
VERSION = "0.1.0"  # of this pack; in custom_nodes of ComfyUI it is no installed package that could be asked
PACKAGES = ("torch", "numpy", "pillow", "safetensors")


class Key(NamedTuple):
    """By what a sample is known when a graph runs again: the graph's hash, the seed and its number in the run."""

    graph: str
    seed: int
    index: int

    @property
    def id(self) -> str:
        """16 hex digits, the id of the sample."""
        return hashlib.sha256(json.dumps(list(self)).encode()).hexdigest()[:16]


def json_text(data: Any, what: str) -> bytes:
    """JSON data as one text, whatever the order of its fields. Raises DatasetError, about `what`, for other data."""
    try:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DatasetError(f"{what} is no JSON data: {error}") from error


def graph_hash(graph: Any) -> str:
    """The SHA-256 of a graph's json_text: the name of its file in a set, and the graph of a Key."""
    return hashlib.sha256(json_text(graph, "this graph")).hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """The versions of Python, of this pack and of the packages that pictures depend on, those that are installed."""
    found = {"python": platform.python_version(), "varifold": VERSION}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance(
    key: Key,
    checkpoints: Mapping[str, str] | None = None,
    loras: Mapping[str, str] | None = None,
    conditioning: Any = None,
    licence: str | None = None,
    author: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The record of a sample: its key, file name -> SHA-256 of checkpoints and LoRAs, the words or the class it was
    made from, licence (an SPDX id or a URL) and author, the versions, and `more`; what is unknown is left out."""
    told = {**key._asdict(), "checkpoints": dict(checkpoints or {}), "loras": dict(loras or {})}
    told |= {"conditioning": conditioning, "licence": licence, "author": author, "versions": dict(versions()), **more}
    return {name: value for name, value in told.items() if value not in (None, {}, "")}
