"""Files on a node's menu: the name shown, and the path behind it."""

from __future__ import annotations

from collections.abc import Mapping


def path_on(menu: Mapping[str, str | None], name: str, folder: str) -> str | None:
    """The path of a name on a menu, None for what is no file. Raises ValueError, about `folder`, if it is not there."""
    if name not in menu:
        raise ValueError(f"there is no {name!r} in the {folder}: choose another file, or put it there")
    return menu[name]
