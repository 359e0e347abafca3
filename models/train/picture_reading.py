"""From files, or whatever else holds pictures, to what a net is trained on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..style.snap import choose, snap
from .picture_files import Source, find
from .picture_fit import CROPS, GROUNDS, SCALINGS, Fit
from .picture_report import Account
from .picture_shelf import Shelf
from .picture_split import groups_of, hold_out, small
from .picture_words import word_rows, word_table, words_of
from .pictures import Pictures

WORDS = ("auto", "labels", "captions", "none")
AT_ONCE = 4  # pictures being decoded
BEHIND = 16 * AT_ONCE
PALETTE_OF = 64  # pictures that the colours of all are chosen from
PALETTE_PIXELS = 2**14  # of each of them


@dataclass(frozen=True)
class Reading:
    """How pictures are read. Raises ValueError, naming the field.

    size, crop, scaling, transparency: see `Fit`. colours: how many there are in all pictures, 0 for as many as they
    have. flip: whether mirrored ones are as good. words: what is learned, "labels", "captions" or "none"; "auto" is
    captions where there is one, else labels. vocabulary: the most words. held_out: the share that is not trained on,
    0..0.5, where the source does not part its pictures itself. seed: of the choice of these.
    """

    size: int = 64
    crop: str = "centre"
    scaling: str = "smooth"
    transparency: str = "keep"
    colours: int = 0
    flip: bool = False
    words: str = "auto"
    vocabulary: int = 1000
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self):
        menus = {"crop": CROPS, "scaling": SCALINGS, "transparency": tuple(GROUNDS), "words": WORDS}
        for name, menu in menus.items():
            if getattr(self, name) not in menu:
                raise ValueError(f"{name} should be one of {', '.join(menu)}, not {getattr(self, name)!r}")
        for name, low, high in (("size", 4, 1024), ("colours", 0, 256), ("vocabulary", 1, 65535), ("held_out", 0, 0.5)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} should be {low} to {high}, not {getattr(self, name)}")

    @property
    def fit(self) -> Fit:
        return Fit(self.size, self.crop, self.scaling, self.transparency)


@dataclass(frozen=True)
class Found:
    """A picture that was read. `small`: see `picture_split`; `key` is a hash of its pixels, `size` that of its file."""

    source: Source
    pixels: np.ndarray
    small: np.ndarray
    key: str
    size: tuple[int, int]


def read_folder(folder: str | os.PathLike, **reading) -> Pictures:
    """The pictures of a folder, see `picture_files.find`; `reading` are fields of a `Reading`.

    Raises OSError if there is no such folder, and ValueError if none can be read.
    """
    sources, problems = find(Path(folder))
    return read(sources, Reading(**reading), problems=problems)


def read(
    sources: Sequence[Source],
    reading: Reading,
    *,
    problems: Sequence[str] = (),
    shelf: Shelf | None = None,
    watch: Callable[[int], None] = lambda done: None,
) -> Pictures:
    """Reads pictures: those that are broken become `problems`, beside the ones given.

    The pixels are kept on the `shelf`, by default in memory. `watch` hears how many were looked at, and may raise.
    Raises ValueError if none can be read, or what the shelf does.
    """
    shelf, problems, kept = shelf or Shelf(), list(problems), []
    palette = _palette(sources, reading, watch) if reading.colours else None
    for done, found in enumerate(_each(sources, reading.fit, palette), 1):
        if isinstance(found, str):
            problems.append(found)
        else:
            shelf.add(found.pixels)
            kept.append(replace(found, pixels=np.empty(0, np.uint8)))
        watch(done)
    if not kept:
        reasons = f"; {problems[0]}" if problems else ""
        raise ValueError(f"none of {len(sources)} pictures can be read{reasons}")
    order = sorted(range(len(kept)), key=lambda n: (kept[n].key, kept[n].source.label, kept[n].source.caption))
    pixels = shelf.pictures()
    return _arranged([kept[n] for n in order], [pixels[n] for n in order], reading, shelf, tuple(problems))


def _arranged(
    found: list[Found], pixels: list[np.ndarray], reading: Reading, shelf: Shelf, problems: tuple[str, ...]
) -> Pictures:
    sources = [each.source for each in found]
    mode = _mode(sources, reading.words)
    labels = [source.label if mode == "labels" else "" for source in sources]
    texts = labels if mode == "labels" else [source.caption if mode == "captions" else "" for source in sources]
    held = _held(found, labels, reading)
    trained = [number for number in range(len(found)) if number not in held]
    if not trained:
        raise ValueError("all pictures are held out: none is left to train on")
    bags = [words_of(text) for text in texts]
    words = word_table([bags[number] for number in trained], reading.vocabulary)
    classes = tuple(sorted(set(filter(None, labels))))
    number_of = {label: number for number, label in enumerate(classes)}
    rows = word_rows(bags, words)
    content = [[each.key, text, number in held] for number, (each, text) in enumerate(zip(found, texts, strict=True))]
    identity = hashlib.sha256(json.dumps([content, asdict(reading)]).encode()).hexdigest()
    everything = Pictures(
        pixels=pixels,
        rows=rows,
        size=(reading.size, reading.size),
        channels="rgba" if any(each.shape[2] == 4 for each in pixels) else "rgb",
        words=words,
        labels=classes,
        label_of=tuple(number_of.get(label, -1) for label in labels),
        names=tuple(source.name for source in sources),
        flip=reading.flip,
        identity=identity,
        problems=problems,
    )
    account = Account(
        texts=texts,
        bags=bags,
        sizes=[each.size for each in found],
        keys=[each.key for each in found],
        mode=mode,
        parted=any(source.part for source in sources),
    )
    out = everything.select(sorted(held), varied=False, identity=f"{identity} held") if held else None
    chosen = everything.select(trained, held=out)
    return replace(chosen, notes=account.notes(chosen, reading.size, shelf, reading.held_out))


def _mode(sources: list[Source], words: str) -> str:
    """What is learned, where "auto" is captions that tell more than the labels do, else labels."""
    if words != "auto":
        return words
    if any(each.caption and each.caption != each.label for each in sources):
        return "captions"
    return "labels" if any(each.label for each in sources) else "none"


def _held(found: list[Found], labels: list[str], reading: Reading) -> set[int]:
    parts = [each.source.part for each in found]
    if any(parts):
        return {number for number, part in enumerate(parts) if part == "held"}
    if reading.held_out == 0 or len(found) < 2:
        return set()
    groups = groups_of(np.stack([each.small for each in found]))
    return hold_out(groups, [each.key for each in found], labels, reading.held_out, reading.seed)


def _each(sources: Sequence[Source], fit: Fit, palette: Tensor | None) -> Iterator[Found | str]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(sources), BEHIND):
            yield from pool.map(lambda source: _read(source, fit, palette), sources[start : start + BEHIND])


def _read(source: Source, fit: Fit, palette: Tensor | None) -> Found | str:
    """The picture, or what is wrong with it."""
    try:
        with source.open() as image:
            size = image.size
            pixels = fit(image)
    except Exception as error:  # of a broken file, Pillow's readers raise nearly everything
        return f"{source.name} {_reason(error)}"
    if palette is not None:
        rgb = torch.from_numpy(pixels[..., :3]).float() / 255
        pixels[..., :3] = (snap(rgb, palette) * 255).round().byte().numpy()
    key = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return Found(source, pixels, small(pixels), key, size)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is no picture that can be read"
    if isinstance(error, Image.DecompressionBombError):
        return "has too many pixels: scale it down, or cut it into tiles"
    return f"cannot be read: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def _palette(sources: Sequence[Source], reading: Reading, watch: Callable[[int], None]) -> Tensor | None:
    """Colours that stand for those of all pictures, judged by some of them; None where these are transparent."""
    step = -(-len(sources) // PALETTE_OF)
    seen = []
    for found in _each(sorted(sources, key=lambda source: source.name)[:: max(1, step)], reading.fit, None):
        watch(0)
        if not isinstance(found, str):
            flat = found.pixels.reshape(-1, found.pixels.shape[2])
            flat = flat[flat[:, 3] > 127] if flat.shape[1] == 4 else flat
            seen.append(flat[:: max(1, len(flat) // PALETTE_PIXELS), :3])
    colours = torch.from_numpy(np.concatenate([np.empty((0, 3), np.uint8), *seen]).copy()).float() / 255
    return choose(colours, reading.colours) if len(colours) else None
