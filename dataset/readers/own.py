"""A set of our own: its ledger, live samples in their order."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .. import store
from ..files import Files
from ..marks import Mark
from ..provenance import SOURCE
from ..sample import Sample
from ..views.objects import read_mask
from .entry import Entry, Loaded, picture_of


def recognises(folder: Path) -> bool:
    return (folder / store.LEDGER).is_file()


def entries(folder: Path) -> list[Entry]:
    """Every live sample; without splits until they are decided. Raises DatasetError."""
    with store.open(folder, write=False) as opened:
        return [
            Entry(sample.image, sample.split, partial(_load, folder, sample), partial(_links, sample, links))
            for sample, links in zip(opened.samples(), opened.links(), strict=True)
        ]


def _links(sample: Sample, links: tuple[str, ...]) -> tuple[str, ...]:
    return f"{SOURCE}{sample.sha256}", *links


def _load(folder: Path, sample: Sample) -> Loaded:
    marks = []
    for each in sample.instances:
        mask = None if each.mask is None else read_mask(folder, each.mask, sample)
        marks.append(Mark(each.label, mask, each.box, each.score, each.visibility))
    picture = picture_of(Files(folder).get(sample.image), str(folder / sample.image))
    return Loaded(picture, sample.label, sample.caption, tuple(marks))
