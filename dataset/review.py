"""What a person who looks through a set asks of it: pages of samples, and other labels for them."""

from __future__ import annotations

import unicodedata

from .errors import DatasetError
from .sample import Sample
from .store import Store

LONGEST = 1000  # characters of a label
BROKEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, ends of lines


def page(store: Store, number: int, size: int) -> tuple[int, list[tuple[Sample, str | None]]]:
    """Page `number`, from 0, of all samples, the newest first, each with the reason if it is rejected.

    Behind the last page comes the last one again: told is the number of the page that it is.
    """
    ids = store.ids[::-1]
    number = max(0, min(number, pages(store, size) - 1))
    shown = ids[number * size : (number + 1) * size]
    return number, [(store.sample(id), store.reason(id)) for id in shown]


def pages(store: Store, size: int) -> int:
    """How many pages there are; an empty set has one."""
    return max(1, -(-len(store.ids) // size))


def rename(store: Store, id: str, was: str, label: str) -> None:
    """Give a sample's picture and its instances another label where theirs is `was`.

    Raises DatasetError for an unknown id, if nothing is labelled so, and for a label that is none.
    """
    label, sample = checked_label(label), store.sample(id)
    instances = [number for number, each in enumerate(sample.instances) if each.label == was]
    if sample.label != was and not instances:
        raise DatasetError(f"nothing in sample {id} is labelled {was!r} any more")
    with store.batch():
        for target in [*([None] if sample.label == was else []), *instances]:
            store.relabel(id, label, target)


def checked_label(label: str) -> str:
    """The label without space around it. Raises DatasetError if it is empty, too long or more than a line of text."""
    label = label.strip()
    if not label:
        raise DatasetError("a label needs a letter at least")
    if len(label) > LONGEST:
        raise DatasetError(f"a label has at most {LONGEST} characters, and this one has {len(label)}")
    odd = next((letter for letter in label if unicodedata.category(letter) in BROKEN), None)
    if odd is not None:
        raise DatasetError(f"a label is one line of text, so it cannot have {odd!a} in it")
    return label
