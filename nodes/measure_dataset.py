"""Measure Dataset: how near made pictures come to real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from . import wires
from .draw_measures import draw_measures, end_of_bar
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
        head, notes = _head(sets, figures), _notes(kept, labels)
        lines = [f"  {figure.name}: {_said(figure)}" for figure in figures]
        report = "\n".join(["\n".join(head) + ":", *lines, *notes])
        plot = image_out([draw_measures(figures, labels[:LABELS])])
        others = sets["trained_on" if trained_on is not None else "real"].pictures
        shown = _sheet([made.pictures[number] for number in order], [others[number] for number in pairs])
        bars = {"figures": [_as_bar(figure) for figure in figures], "notes": [*head, *notes]}
        return {"ui": {"text": [report], "varifold_measures": [bars]}, "result": (report, plot, image_out([shown]))}


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


def _head(sets: dict[str, Pictures], figures: list[Figure]) -> list[str]:
    counts = [f"{name} {each.whole}" + (f" ({MOST} taken)" if each.whole > MOST else "") for name, each in sets.items()]
    compared = f"compared {figures[0].samples} at a time; beside each what real pictures get beside real ones"
    return ["pictures: " + ", ".join(counts), compared]


def _said(figure: Figure) -> str:
    made, real = (" ± ".join(pair) for pair in _digits(figure))
    return figure.missing or f"{made}, real {real}"


def _digits(figure: Figure) -> tuple[tuple[str, str], tuple[str, str]]:
    """A figure and its floor, each with its spread."""
    value, floor = (figure.value, figure.value_spread), (figure.floor, figure.floor_spread)
    made, real = ((f"{mean:.3g}", f"{spread:.1g}") for mean, spread in (value, floor))
    return made, real


def _as_bar(figure: Figure) -> dict[str, Any]:
    """{name, missing} or {name, made, real: digits and those of the spread, share, floors}.

    share is that of the value in the bar's length, floors those of the floor less its spread, itself, and with it.
    """
    if figure.missing:
        return {"name": figure.name, "missing": figure.missing}
    made, real = _digits(figure)
    ends = [figure.value, *(figure.floor + sign * figure.floor_spread for sign in (-1, 0, 1))]
    share, *floors = (min(1.0, max(0.0, each / end_of_bar(figure))) for each in ends)
    return {"name": figure.name, "made": made, "real": real, "share": share, "floors": floors}


def _notes(kept: Memorisation | None, labels: tuple[tuple[str, int], ...]) -> list[str]:
    """Whether pictures come back, and the balance of labels."""
    lines = []
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
