"""Folders by the names that a workflow gives them; no name leads out of the host's own."""

from __future__ import annotations

import os
from pathlib import Path

from ..dataset.sample import is_path_inside


def inside(root: Path, name: str) -> Path:
    """ROOT/name. Raises ValueError for a name that is not of a folder inside, or that leads out of it by a link."""
    name = name.strip()
    if not is_path_inside(name) or any(part != part.strip(" .") for part in name.split("/")):
        raise ValueError(f"folder: {name!r} is no name for a folder inside {root}: write one like sprites/heroes")
    path = root / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ValueError(f"folder: {name!r} leads out of {root} by a link: choose another name")
    return path
