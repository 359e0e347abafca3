"""What captions and names of classes say, as rows of a word table."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..checkpoint.said import MAX_WORD
from ..denoising.vocabulary import FILLERS, TOKEN, USUAL_LENGTH

NULL = "<null>"


def words_of(text: str) -> list[str]:
    """The different words of a text that a prompt could say, in order: lower case, without articles and punctuation."""
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    found = (word.removesuffix("'s") for word in TOKEN.findall(text) if not word.startswith("<"))
    return [word for word in dict.fromkeys(found) if word not in FILLERS and len(word) <= MAX_WORD]


def word_table(bags: Sequence[Sequence[str]], most: int) -> tuple[str, ...]:
    """The `most` frequent words, sorted, after the one that means none; () where there is no word at all."""
    counts = Counter(word for bag in bags for word in bag)
    kept = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    return (NULL, *sorted(kept)) if kept else ()


def word_rows(bags: Sequence[Sequence[str]], words: Sequence[str]) -> np.ndarray:
    """Rows of `words` for each bag, [N, W] of int64, 0 where there is none: of each the first that the table knows.

    W is the most that a bag has, and at most `USUAL_LENGTH`.
    """
    index = {word: row for row, word in enumerate(words)}
    known = [[index[word] for word in bag if word in index][:USUAL_LENGTH] for bag in bags]
    rows = np.zeros((len(bags), max(map(len, known), default=0)), np.int64)
    for row, own in zip(rows, known, strict=True):
        row[: len(own)] = own
    return rows
