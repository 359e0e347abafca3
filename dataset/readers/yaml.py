"""The few lines of YAML that describe a set of YOLO's: the paths of its splits and the names of its classes.

names may be `0: cat` or `- cat` below each other, or [cat, dog] and {0: cat} on one line.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from ..errors import DatasetError

ITEM = re.compile(r"""\s*(?:(\d+)\s*:\s*)?("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,\[\]{}"']+?)\s*(?:,|$)""")


class Outline(NamedTuple):
    """values: key -> text of the lines at the left edge. names: number -> class."""

    values: dict[str, str]
    names: dict[int, str]


def parse(text: str, where: str) -> Outline:
    """Raises DatasetError, with the line, for what it does not know."""
    values: dict[str, str] = {}
    names: dict[int, str] = {}
    key = ""
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{where}, line {number}"
        content = line.strip()
        if not content or content.startswith("#") or content == "---":
            continue
        if line[0] not in " \t-":
            key, colon, value = content.partition(":")
            if not colon:
                raise DatasetError(f"{place} should be a key, a colon and a value")
            key, value = key.strip(), value.strip()
            if key == "names" and value[:1] in ("[", "{"):
                names |= _in_a_row(value, place)
            else:
                values[key] = _plain(value, place)
        elif key == "names":
            name, at = (content[1:], len(names)) if content.startswith("-") else _numbered(content, place)
            names[at] = _plain(name.strip(), place)
        elif key in ("train", "val", "test"):
            raise DatasetError(f"{place}: {key} should be one folder, on the line of its name")
    return Outline(values, names)


def _numbered(content: str, where: str) -> tuple[str, int]:
    number, colon, name = content.partition(":")
    if not colon or not number.strip().isdecimal():
        raise DatasetError(f"{where} should be a number, a colon and the name of a class")
    return name, int(number)


def _in_a_row(value: str, where: str) -> dict[int, str]:
    names: dict[int, str] = {}
    value = re.sub(r"\s+#.*$", "", value)
    if value[-1] != {"[": "]", "{": "}"}[value[0]]:
        raise DatasetError(f"{where}: names should end on their line, or stand below each other")
    inside, at = value[1:-1].strip(), 0
    while at < len(inside):
        item = ITEM.match(inside, at)
        if not item:
            raise DatasetError(f"{where}: {inside[at : at + 40]!a} is no name of a class")
        names[len(names) if item[1] is None else int(item[1])] = _plain(item[2], where)
        at = item.end()
    return names


def _plain(value: str, where: str) -> str:
    """A scalar without its quotes or the comment behind it."""
    if value[:1] == '"':
        try:
            return json.JSONDecoder().raw_decode(value)[0]
        except ValueError as error:
            raise DatasetError(f"{where}: {ascii(value)[:80]} is no text in quotes") from error
    if value[:1] == "'":
        found = re.match(r"'((?:[^']|'')*)'", value)
        if not found:
            raise DatasetError(f"{where}: {ascii(value)[:80]} is no text in quotes")
        return found[1].replace("''", "'")
    return re.sub(r"\s+#.*$", "", value)
