"""Names with numbers, as a widget holds them: "hero: 20, tile: 40"."""

from __future__ import annotations

import math
import re


def amounts(text: str, name: str, known: tuple[str, ...] = ()) -> dict[str, float]:
    """Name -> number of each part of `text`, parted by commas or lines; the last colon ends a name.

    `name` is the widget's, for errors. Raises ValueError for a part that is none, a name that is not `known` or stands
    there twice, and a number that is negative or not finite.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        key, colon, number = (piece.strip() for piece in part.rpartition(":"))
        value = _number(number) if colon and key else None
        if value is None:
            raise ValueError(f"{name}: {part!r} should be a name, a colon and a number from 0 up, like hero: 20")
        if known and key not in known:
            raise ValueError(f"{name}: there is no {key!r}; there are {', '.join(known)}")
        if key in found:
            raise ValueError(f"{name}: {key!r} is there twice")
        found[key] = value
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
