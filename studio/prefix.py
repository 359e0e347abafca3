"""The part of `filename_prefix` that the front end fills in: %date:yyyy-MM-dd% and %Node title.widget%."""

from __future__ import annotations

import re
from datetime import datetime

from .errors import title_of

_DATE = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}
_SHORT = {"M": "month", "d": "day", "h": "hour", "m": "minute", "s": "second"}


def fill_prefixes(prompt: dict[str, dict], now: datetime | None = None) -> None:
    """Replace the marks in every `filename_prefix` of the prompt; unknown ones stay as they are."""
    now = now or datetime.now()
    for node in prompt.values():
        prefix = node["inputs"].get("filename_prefix")
        if isinstance(prefix, str):
            node["inputs"]["filename_prefix"] = re.sub(r"%([^%]+)%", lambda match: _value(match, prompt, now), prefix)


def _value(mark: re.Match, prompt: dict[str, dict], now: datetime) -> str:
    if mark[1].startswith("date:"):
        return format_date(mark[1][5:], now)
    title, _, widget = mark[1].rpartition(".")
    for node in prompt.values():
        if title and title in (title_of(node), node["class_type"]) and widget in node["inputs"]:
            value = node["inputs"][widget]
            if not isinstance(value, (list, dict)):
                return re.sub(r'[/?<>\\:*|"\x00-\x1f\x7f]', "_", str(value))
    return mark[0]


def format_date(pattern: str, now: datetime) -> str:
    def part(token: re.Match) -> str:
        return now.strftime(_DATE[token[0]]) if token[0] in _DATE else str(getattr(now, _SHORT[token[0]]))

    return re.sub("|".join((*_DATE, *_SHORT)), part, pattern)
