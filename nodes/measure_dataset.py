"""Measure Dataset: how near made pictures come to real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from . import wires
from .draw_measures import draw_measures
from .drawing import draw_sheet, image_out
from .host import current

if TYPE_CHECKING:
    from torch import Tensor

    from ..dataset.handle import Handle
    from ..dataset.measures.memorisation import Memorisation
    from ..dataset.measures.report import Figure

MOST = 2000  # pictures of a set
AT_A_TIME = 64
SHOWN = 8  # pictures that are nearest to what was trained on
SIDE = 128
LABELS = 20


class VarifoldMeasureDataset:
    DESCRIPTION = (
        "Compares made pictures with real ones, with no model: distances, precision, recall, density, coverage, "
        "diversity, each beside what real pictures get beside real ones; and whether the training pictures come back."
    )
    SEARCH_ALIASES = ["fid", "kid", "evaluate", "quality", "metrics", "precision recall", "memorization", "statistics"]
    CATEGORY = "Varifold/data"
    FUNCTION = "measure"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "IMAGE", "IMAGE")
    RETURN_NAMES = ("report", "plot", "nearest")
    OUTPUT_TOOLTIPS = (
        "The measures in words and numbers.",
        "The measures as bars, and the labels if there is a dataset.",
        "The made pictures that come nearest to a picture of trained_on, or else of real, each above that one.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "real": (
                    "IMAGE",
                    {"tooltip": "Real pictures that the made ones should be like, 50 and more, none trained on."},
                ),
                "neighbours": (
                    "INT",
                    {
                        "default": 5,
                        "min": 1,
                        "max": 100,
                        "tooltip": "How far a picture reaches: to its nearest neighbour of this number. For precision, "
                        "recall, density and coverage.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**64 - 1,
                        "control_after_generate": False,
                        "tooltip": "Which pictures are drawn where there are more than a comparison takes.",
                    },
                ),
            },
            "optional": {
                "synthetic": ("IMAGE", {"tooltip": "The made pictures."}),
                "dataset": ("VARIFOLD_DATASET", {"tooltip": "A set of Export Dataset, instead of synthetic."}),
                "trained_on": (
                    "IMAGE",
                    {"tooltip": "What the generator learnt from: tells whether it gives that back. 10 and more."},
                ),
            },
        }

    def measure(self, real, neighbours, seed, synthetic=None, dataset=None, trained_on=None):
        from ..dataset.measures.report import compare

        if (synthetic is None) == (dataset is None):
            raise ValueError("wire the made pictures into synthetic, or a set into dataset: one of the two")
        random = np.random.default_rng(seed)
        made = _from_wire("synthetic", synthetic, random) if dataset is None else _from_set(dataset, random)
        sets = {"real": _from_wire("real", real, random), "synthetic": made}
        if trained_on is not None:
            sets["trained_on"] = _from_wire("trained_on", trained_on, random)
            _check_enough(sets)
        described = _described(sets)
        figures = compare(described["real"], described["synthetic"], k=neighbours, seed=seed)
        kept = _memorisation(described, seed) if trained_on is not None else None
        order, pairs = _nearest(described["synthetic"], described["trained_on" if trained_on is not None else "real"])
        labels = () if dataset is None else tuple(sorted(dataset.counts, key=lambda each: (-each[1], each[0])))
        report = "\n".join(_told(sets, figures, kept, labels))
        plot = image_out([draw_measures(figures, labels[:LABELS])])
        others = sets["trained_on" if trained_on is not None else "real"].pictures
        shown = _sheet([made.pictures[number] for number in order], [others[number] for number in pairs])
        return {"ui": {"text": [report]}, "result": (report, plot, image_out([shown]))}


class Pictures(NamedTuple):
    """Pictures [H, W, 3 or 4], uint8, and how many there were to choose from."""

    pictures: list[np.ndarray]
    whole: int


def _from_wire(name: str, image: Tensor, random: np.random.Generator) -> Pictures:
    chosen = _chosen(len(image), random)
    try:
        wired = [wires.image_in(image[[number]]) for number in chosen]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    pictures = [np.concatenate([rgb[0].numpy(), alpha[0, ..., None].numpy()], -1) for rgb, alpha in wired]
    return Pictures([(picture.clip(0, 1) * 255).round().astype(np.uint8) for picture in pictures], len(image))


def _from_set(handle: Handle, random: np.random.Generator) -> Pictures:
    from ..dataset import store

    with store.open(handle.folder, write=False) as opened:
        paths = [sample.image for sample in opened.samples()]
    return Pictures([_read(handle.folder / paths[number]) for number in _chosen(len(paths), random)], len(paths))


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"))


def _chosen(count: int, random: np.random.Generator) -> list[int]:
    return sorted(random.permutation(count)[:MOST].tolist())


def _check_enough(sets: dict[str, Pictures]) -> None:
    """Raises ValueError for too few pictures to tell whether the training pictures come back."""
    from ..dataset.measures.memorisation import LEAST

    for name in ("real", "trained_on"):
        if (count := sets[name].whole) < LEAST:
            raise ValueError(f"{name} has {count} pictures: with trained_on wired, {LEAST} are the least that tell")


def _described(sets: dict[str, Pictures]) -> dict[str, np.ndarray]:
    """The features of each set."""
    from ..dataset.measures.features import features

    host, done, described = current(), 0, {}
    progress = host.progress(sum(len(each.pictures) for each in sets.values()))
    for name, each in sets.items():
        parts = [features([])]
        for start in range(0, len(each.pictures), AT_A_TIME):
            host.check_cancelled()
            part = each.pictures[start : start + AT_A_TIME]
            parts.append(features(part))
            progress.update(done := done + len(part))
        described[name] = np.concatenate(parts)
    return described


def _memorisation(described: dict[str, np.ndarray], seed: int) -> Memorisation:
    from ..dataset.measures.memorisation import memorisation

    return memorisation(described["trained_on"], described["real"], described["synthetic"], seed)


def _nearest(made: np.ndarray, others: np.ndarray) -> tuple[list[int], list[int]]:
    """The numbers of the made pictures nearest to another, and of these."""
    from ..dataset.measures.neighbours import squared_distances

    found = [(rows.argmin(1), rows.min(1)) for _, rows in squared_distances(made, others)]
    which, squares = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(squares, kind="stable")[:SHOWN]
    return order.tolist(), which[order].tolist()


def _told(
    sets: dict[str, Pictures], figures: list[Figure], kept: Memorisation | None, labels: tuple[tuple[str, int], ...]
) -> list[str]:
    counts = [f"{name} {each.whole}" + (f" ({MOST} taken)" if each.whole > MOST else "") for name, each in sets.items()]
    lines = ["pictures: " + ", ".join(counts)]
    lines.append(f"compared {figures[0].samples} at a time; beside each what real pictures get beside real ones:")
    for figure in figures:
        value, floor = (
            f"{mean:.3g} ± {spread:.1g}"
            for mean, spread in ((figure.value, figure.value_spread), (figure.floor, figure.floor_spread))
        )
        lines.append(f"  {figure.name}: {figure.missing or f'{value}, real {floor}'}")
    if kept is not None:
        lines.append(
            f"nearer to a picture trained on than to a real one: {kept.closer:.0%} of the made, "
            f"{kept.low:.0%} to {kept.high:.0%} where nothing is memorised ({kept.samples} of each)"
        )
        lines.append(f"as near to one trained on as 1 % of real ones are: {kept.copies:.0%}")
    if labels:
        from ..dataset.measures.balance import balance

        even = balance(name for name, count in labels for _ in range(count)).effective
        lines.append(f"labels: {len(labels)}, as balanced as {even:.1f} of equal size")
        lines += [f"  {name}: {count}" for name, count in labels]
    return lines


def _sheet(made: list[np.ndarray], others: list[np.ndarray]) -> Image.Image:
    return draw_sheet([_cell(picture) for picture in (*made, *others)], [], columns=len(made))


def _cell(picture: np.ndarray) -> Image.Image:
    """A picture with its alpha in a square."""
    whole = Image.fromarray(picture)
    scale = SIDE / max(whole.size)
    size = tuple(max(1, round(side * scale)) for side in whole.size)
    whole = whole.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (SIDE, SIDE), (64, 64, 74))
    cell.paste(whole, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2), whole)
    return cell
