"""What the routes share."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from ..folders import Folders
from .queue import Queue
from .socket import Clients

MOST_LEVELS = 100  # of JSON within JSON; a workflow has about ten


@dataclass(frozen=True)
class Studio:
    """A Studio's folders, its queue and its browsers. `user` keeps settings and workflows."""

    places: Folders
    user: Path
    frontend: Path
    nodes: dict[str, type]
    names: dict[str, str]
    queue: Queue
    clients: Clients


STUDIO = web.AppKey("studio", Studio)


def studio_of(request: web.Request) -> Studio:
    return request.config_dict[STUDIO]


async def json_of(request: web.Request) -> Any:
    """The body of a request. Raises ValueError if it is not JSON in UTF-8 that could be told again as it is."""
    body = json.loads((await request.read()).decode("utf-8"), parse_float=_finite, parse_constant=_finite)
    if _deeper(body, MOST_LEVELS):
        raise ValueError(f"the request is nested more than {MOST_LEVELS} levels deep")
    return body


def _deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(child, levels - 1) for child in inside)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a number that JSON has")
    return number


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body of a request. Raises ValueError if it is not a JSON object."""
    body = await json_of(request)
    if not isinstance(body, dict):
        raise ValueError("the request should be a JSON object")
    return body


def whole_number(text: str | None, default: int, name: str) -> int:
    """A query parameter. Raises ValueError if it is not a whole number from 0 on."""
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"{name} should be a whole number from 0 to 999999999, not {text[:40]!r}")
    return int(text)
