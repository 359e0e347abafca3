"""The words a denoiser knows, and how a prompt is read with them."""

from __future__ import annotations

import difflib
import hashlib
import random
import re
from collections.abc import Sequence
from functools import cached_property

TOKEN = re.compile(r"<[^<>\s]+>|[^\W_]+(?:'s\b)?")
USUAL_LENGTH = 11  # words; the longest prompt of the embedded denoiser's training
UNKNOWN = ("skip", "nearest", "error")
ALIKE = 0.5  # the share of letters that a word and the nearest one must have in common
FILLERS = {"a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "its", "of", "on", "or", "the", "to", "with"}
PLURALS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""), ("", "s"))


class UnknownWord(ValueError):
    """A prompt has a word that the denoiser never learned."""


class Vocabulary:
    """The words of a denoiser in the order of its word table; row 0 is no word.

    Names in angle brackets, as <flip>, are special: said literally, never guessed.
    """

    def __init__(self, words: Sequence[str]):
        self.words = tuple(words)
        self.index = {word: row for row, word in enumerate(self.words) if row > 0}
        self.plain = tuple(word for word in self.index if not word.startswith("<"))

    @cached_property
    def hash(self) -> str:
        """16 hex digits that tell conditions of this vocabulary from those of any other."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()[:16]

    def indices(self, text: str, unknown: str = "nearest") -> tuple[list[int], list[str]]:
        """The rows of a prompt's words, and notes on what was replaced or dropped.

        Case and punctuation do not matter, nor does singular or plural; articles and prepositions that are not known
        are passed over. Any other unknown word is skipped, replaced by the one spelled most like it ("nearest"), or
        an UnknownWord ("error"); numbers are never replaced.
        """
        if unknown not in UNKNOWN:
            raise ValueError(f"unknown words can be handled by {', '.join(UNKNOWN)}; not by {unknown!r}")
        rows, notes = [], []
        for word in TOKEN.findall(text.lower().replace("’", "'")):
            known = self.lookup(word)
            if known is None and word in FILLERS:
                continue
            if known is None:
                known, note = self._replace(word, unknown)
                notes.append(note)
            if known is not None:
                rows.append(self.index[known])
        if len(rows) > USUAL_LENGTH:
            notes.append(f"{len(rows)} words: training saw at most {USUAL_LENGTH}, so the picture may suffer")
        return rows, notes

    def read(self, text: str) -> list[tuple[str, str | None]]:
        """Each word of a prompt as it is written, with the known word that it stands for, if any; fillers left out."""
        words = [(word, self.lookup(word.lower())) for word in TOKEN.findall(text.replace("’", "'"))]
        return [(word, known) for word, known in words if known is not None or word.lower() not in FILLERS]

    def lookup(self, word: str) -> str | None:
        """The known word that a lower-case word stands for, itself or its other number; else None."""
        word = word.removesuffix("'s")
        if word in self.index:
            return word
        forms = (word.removesuffix(end) + start for end, start in PLURALS if word.endswith(end))
        return next((form for form in forms if form in self.index), None)

    def nearest(self, word: str, count: int = 1) -> list[str]:
        """The words spelled most like `word`, best first."""
        return difflib.get_close_matches(word, self.plain, n=count, cutoff=0.0)

    def random_prompts(self, count: int, seed: int) -> list[str]:
        """Prompts of one to four words each, none of them special; the same for the same seed."""
        chance = random.Random(seed)
        return [" ".join(chance.sample(self.plain, min(chance.randint(1, 4), len(self.plain)))) for _ in range(count)]

    def _replace(self, word: str, unknown: str) -> tuple[str | None, str]:
        near = self.nearest(word, 3)
        if unknown == "error":
            raise UnknownWord(f"this denoiser does not know the word {word!r}: try {' or '.join(near)}")
        if unknown == "skip" or not near or word.startswith("<") or not any(map(str.isalpha, word)):
            return None, f"{word!r} is not known and was left out"
        if difflib.SequenceMatcher(None, word, near[0]).ratio() < ALIKE:
            return None, f"{word!r} is not known, nor any word like it, and was left out"
        return near[0], f"{word!r} is not known and was read as {near[0]!r}"
