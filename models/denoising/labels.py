"""The classes a denoiser knows, and how a prompt says one of them."""

from __future__ import annotations

import difflib
import hashlib
import random
import re
from collections.abc import Sequence
from functools import cached_property

from .vocabulary import ALIKE, PLURALS, UNKNOWN

NO_CLASS = -1
"""The label that says nothing, for which a net gives its unconditional prediction."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SEPARATOR = re.compile(r"(?:[\s,;&]|\band\b|\bor\b)+")
ARTICLES = ("a ", "an ", "the ")
LONGEST = 200  # characters of an unknown name that are compared with the known ones


class UnknownLabel(ValueError):
    """A prompt asks for a class that the denoiser does not have."""


class Labels:
    """The `count` classes of a denoiser, numbered from 0, and their names if it has any.

    Between commas a name may have synonyms: "tench, Tinca tinca". Raises ValueError unless there is one name each.
    """

    def __init__(self, count: int, names: Sequence[str] = ()):
        if names and len(names) != count:
            raise ValueError(f"a denoiser of {count} classes has {count} names for them or none, not {len(names)}")
        self.count, self.names = count, tuple(names)
        self.rows: dict[str, list[int]] = {}
        synonyms = [(part, row) for row, name in enumerate(names) if "," in name for part in name.split(",")]
        for name, row in [*((name, row) for row, name in enumerate(names)), *synonyms]:
            self.rows.setdefault(_plain(name), []).append(row)

    @cached_property
    def hash(self) -> str:
        """16 hex digits that tell conditions of these classes from those of any other."""
        return hashlib.sha256("\n".join([str(self.count), *self.names]).encode()).hexdigest()[:16]

    def index(self, text: str, unknown: str = "nearest") -> tuple[int, list[str]]:
        """The class that a prompt says, by its name or number, and notes on how it was read; NO_CLASS for an empty one.

        Case, punctuation, articles and plural do not matter. An unknown name is skipped, which leaves no class, or
        replaced by the one spelled most like it ("nearest"), or an UnknownLabel ("error"). Raises UnknownLabel for a
        number that is no class, and ValueError for several.
        """
        if unknown not in UNKNOWN:
            raise ValueError(f"unknown names can be handled by {', '.join(UNKNOWN)}; not by {unknown!r}")
        text = text.strip()
        rows = self._named(_plain(text))
        if rows:
            return rows[0], self._shared(text, rows)
        parts = [part for part in SEPARATOR.split(text) if part]
        if parts and all(NUMBER.fullmatch(part) for part in parts):
            return self._numbered(parts), []
        return self._replaced(text, unknown) if _plain(text) else (NO_CLASS, [])

    def nearest(self, name: str, count: int = 1) -> list[str]:
        """The names spelled most like `name`, best first."""
        return difflib.get_close_matches(_plain(name[:LONGEST]), self.rows, n=count, cutoff=0.0)

    def random_prompts(self, count: int, seed: int) -> list[str]:
        """Classes by their numbers, different ones if there are as many; the same for the same seed."""
        chance = random.Random(seed)
        rows = chance.sample(range(self.count), min(count, self.count))
        return [str(rows[index % len(rows)]) for index in range(count)]

    def name(self, index: int) -> str:
        """The class for people: "207 (golden retriever)", "207" if it has no name, or "no class"."""
        if not 0 <= index < self.count:
            return "no class"
        return f"{index} ({self.names[index]})" if self.names else str(index)

    def _named(self, plain: str) -> list[int] | None:
        bare = next((plain.removeprefix(article) for article in ARTICLES if plain.startswith(article)), plain)
        forms = (bare.removesuffix(end) + start for end, start in PLURALS if bare.endswith(end))
        return next((self.rows[form] for form in (plain, bare, *forms) if form in self.rows), None)

    def _shared(self, text: str, rows: list[int]) -> list[str]:
        if len(set(rows)) == 1:
            return []
        others = ", ".join(map(str, rows[1:]))
        return [f"{text!r:.80} was read as class {rows[0]}; say the number for {others}, which it names too"]

    def _numbered(self, parts: list[str]) -> int:
        if len(parts) > 1:
            raise ValueError(f"a prompt says one class, and this one {len(parts)}: give each a prompt of its own")
        (number,) = parts
        if "." in number:
            raise UnknownLabel(f"a class is a whole number, not {number:.40}")
        digits = number.lstrip("-0")
        if len(digits) > 9 or (number.startswith("-") and digits) or int(digits or "0") >= self.count:
            raise UnknownLabel(f"this denoiser has the classes 0 to {self.count - 1}, and {number:.40} is none of them")
        return int(digits or "0")

    def _replaced(self, text: str, unknown: str) -> tuple[int, list[str]]:
        if not self.names and unknown != "skip":
            raise UnknownLabel(
                f"this denoiser knows its classes by number alone, 0 to {self.count - 1}: {text!r:.80} is none of them"
            )
        near = self.nearest(text, 3)
        if unknown == "error":
            raise UnknownLabel(f"this denoiser does not know the class {text!r:.80}: try {' or '.join(near)}")
        if unknown == "skip":
            return NO_CLASS, [f"{text!r:.80} is no class that is known and was left out"]
        if difflib.SequenceMatcher(None, _plain(text[:LONGEST]), near[0]).ratio() < ALIKE:
            return NO_CLASS, [f"{text!r:.80} is no class that is known, nor like any, and was left out"]
        return self.rows[near[0]][0], [f"{text!r:.80} is no class that is known and was read as {near[0]!r}"]


def _plain(name: str) -> str:
    """A name in lower case, its words apart by one space, without punctuation."""
    return " ".join(re.findall(r"[^\W_]+", name.casefold()))
