"""The review sheet of Export Dataset: what the browser is shown of a set, and what a person decides there."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ..dataset import review as sheet
from ..dataset import store
from ..dataset.errors import DatasetError
from ..dataset.marks import Mark
from ..dataset.metadata import decode
from ..dataset.rules import Rules
from ..dataset.sample import Instance, Sample
from ..dataset.settings import SETTINGS, Settings, complete, outdated_views, read_settings
from ..dataset.store import Store
from ..dataset.views.objects import read_mask
from .marked import is_enlarged, outlines, small
from .sets import existing_set, reviewing

PAGE = 12  # samples
SIDE = 192  # pixels of a picture that is shown
QUALITY = 85  # of WebP, of 100


def review(question: dict[str, Any]) -> dict[str, Any]:
    """{folder, page} -> {page, pages, samples, ...}: a page of a set, the newest samples first, and how the set stands.

    Each sample has {id, label, objects, split, rejected, picture, outlines}: `rejected` is why, or null; `picture` and
    the `outlines` of its objects are data URLs of squares, or null where files cannot be read; `objects` have {label,
    box}, the latter x, y, width and height in the square, 0..1. How the set stands: {live, rejected, labels, wanting,
    outdated}, the latter the formats that are to be built again.
    """
    folder = existing_set(_text(question, "folder"))
    number = question.get("page", 0)
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError("page should be a whole number")
    settings = _settings(folder)
    with store.open(folder, _rules(settings), write=False) as opened:
        number, samples = sheet.page(opened, number, PAGE)
        shown = [{**_told(*each), **_shown(opened, each[0])} for each in samples]
        return {**_standing(opened, settings), "page": number, "pages": sheet.pages(opened, PAGE), "samples": shown}


def reject(question: dict[str, Any]) -> dict[str, Any]:
    """{folder, id} -> {sample, ...}: a sample is no longer live. The answer is as `review`'s, without a picture."""
    with _writing(question) as (opened, settings):
        id = _text(question, "id")
        opened.reject(id)
        return _judged(opened, settings, id)


def restore(question: dict[str, Any]) -> dict[str, Any]:
    """{folder, id} -> {sample, ...}: a sample is live again, whoever rejected it."""
    with _writing(question) as (opened, settings):
        id = _text(question, "id")
        opened.restore(id)
        return _judged(opened, settings, id)


def relabel(question: dict[str, Any]) -> dict[str, Any]:
    """{folder, id, label, was?, object?} -> {sample, ...}: another label for the object of that number, for all of the
    sample that is labelled `was`, or else for the picture."""
    label, was, number = sheet.checked_label(_text(question, "label")), question.get("was"), question.get("object")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise ValueError("object should be a whole number")
    with _writing(question) as (opened, settings):
        id = _text(question, "id")
        if number is None and was is not None:
            sheet.rename(opened, id, _text(question, "was"), label)
        else:
            opened.relabel(id, label, number)
        return _judged(opened, settings, id)


def rebuild(question: dict[str, Any]) -> dict[str, Any]:
    """{folder} -> how the set stands, once its formats show it as it is."""
    with _writing(question) as (opened, settings):
        if settings is None or not outdated_views(opened, settings):
            raise ValueError("no format is out of date")
        complete(opened, settings)
        return _standing(opened, settings)


@contextlib.contextmanager
def _writing(question: dict[str, Any]) -> Iterator[tuple[Store, Settings | None]]:
    folder = existing_set(_text(question, "folder"))
    settings = _settings(folder)
    with reviewing, store.open(folder, _rules(settings)) as opened:
        yield opened, settings


def _settings(folder: Path) -> Settings | None:
    """A set that was made without a node may have none."""
    return read_settings(folder) if (folder / SETTINGS).exists() else None


def _rules(settings: Settings | None) -> Rules:
    return settings.rules if settings else Rules()


def _standing(opened: Store, settings: Settings | None) -> dict[str, Any]:
    return {
        "live": len(opened),
        "rejected": opened.reasons.total(),
        "labels": sorted({*opened.counts, *opened.rules.quotas}),
        "wanting": sorted(opened.wanting.items()),
        "outdated": outdated_views(opened, settings) if settings else [],
    }


def _judged(opened: Store, settings: Settings | None, id: str) -> dict[str, Any]:
    return {**_standing(opened, settings), "sample": _told(opened.sample(id), opened.reason(id))}


def _told(sample: Sample, reason: str | None) -> dict[str, Any]:
    side = max(sample.width, sample.height)
    left, top = (side - sample.width) / 2, (side - sample.height) / 2
    return {
        "id": sample.id,
        "label": sample.label,
        "objects": [
            {"label": each.label, "box": [(x + left) / side, (y + top) / side, width / side, height / side]}
            for each in sample.instances
            for x, y, width, height in [each.box]
        ],
        "split": sample.split,
        "rejected": reason,
    }


def _shown(opened: Store, sample: Sample) -> dict[str, str | None]:
    """The picture and the outlines of its objects; null what cannot be read."""
    shown: dict[str, str | None] = {"picture": None, "outlines": None}
    with contextlib.suppress(DatasetError, OSError, SyntaxError):
        pixels = decode(opened.files.get(sample.image))
        shown["picture"] = _square(small(pixels, SIDE), lossless=is_enlarged(pixels.shape, SIDE))
        if sample.instances:
            marks = [_mark(opened.folder, sample, each) for each in sample.instances]
            shown["outlines"] = _square(outlines(marks, pixels.shape, SIDE), lossless=True)
    return shown


def _mark(folder: Path, sample: Sample, instance: Instance) -> Mark:
    mask = read_mask(folder, instance.mask, sample) if instance.mask else None
    return Mark(instance.label, mask, None if mask is not None and mask.any() else instance.box)


def _square(picture: Image.Image, lossless: bool) -> str:
    """A data URL of a picture in the middle of a transparent square."""
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    file = io.BytesIO()
    square.save(file, "WEBP", lossless=lossless, quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _text(question: dict[str, Any], name: str) -> str:
    value = question.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} should be a text")
    return value
