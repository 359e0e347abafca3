"""A data-set card (Gebru et al. 2021), as Hugging Face shows it: README.md, and a sheet of samples beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..sample import SPLITS, Sample
from .folder import building
from .info import Info, dumps, is_spdx, shown, utf8
from .objects import objects, told
from .sheet import draw_sheet
from .summary import Summary, summarize

NAME = "card"
SHEET = "samples.jpg"
FEW = 20  # pictures of a class; a score on fewer says little
MOST_ROWS = 50
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
LARGEST = "n>1M"
MODEL_MADE = (
    "Every picture was made by a model or composed from what one made. It shows what the model has learnt, with its "
    "biases and faults, and its labels are what was asked for: where nobody looked, a picture may not show it."
)

MADE = (
    "With Varifold, from graphs of nodes; the provenance of each sample has its seed. Samples that share a source, or "
    "nearly look the same, are in the same split.\n"
)


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/card; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    for sample in shown(samples):
        for _ in objects(folder, sample, remarks):
            pass
    summary = summarize(samples, info)
    with building(folder, NAME) as stage:
        if summary.count:
            draw_sheet(folder, summary.examples, stage / SHEET)
        (stage / "README.md").write_bytes(utf8(card(info, summary, told(remarks))))
    return told(remarks)


def card(info: Info, summary: Summary, remarks: Mapping[str, int]) -> str:
    """The text of README.md."""
    parts = [
        _front(info, summary),
        f"# {_line(info.name)}\n\n{_line(info.description) or 'Labelled pictures made with Varifold.'}\n",
        _contents(summary),
        f"## Samples\n\n![Samples of each class]({SHEET})\n" if summary.count else "",
        _making(summary),
        _licence(info, summary),
        _limits(summary, remarks),
    ]
    return "\n".join(part for part in parts if part)


def _front(info: Info, summary: Summary) -> str:
    """What Hugging Face reads, as YAML."""
    licences = sorted(name for name in summary.licences if name)
    spdx = len(licences) == 1 and is_spdx(licences[0])
    lines = [f"pretty_name: {dumps(info.name)}", f"license: {dumps(licences[0].lower() if spdx else 'other')}"]
    tasks = {"image-classification": any(label is not None for label in summary.pictures)}
    tasks |= {"object-detection": bool(summary.objects), "image-segmentation": bool(summary.masks)}
    tasks["text-to-image"] = bool(summary.captions)
    if any(tasks.values()):
        lines += ["task_categories:", *(f"- {task}" for task, holds in tasks.items() if holds)]
    size = next((name for limit, name in SIZES.items() if summary.count < limit), LARGEST)
    return "\n".join(["---", *lines, "size_categories:", f"- {size}", "tags:", "- synthetic", "---", ""])


def _contents(summary: Summary) -> str:
    text = f"## What is in it\n\n{_number(summary.count, 'picture')}"
    if summary.sizes:
        text += f" of {_sizes(summary.sizes)}"
    text += f"; {_number(summary.captions, 'caption')}, {_number(summary.masks, 'mask')}.\n\n"
    text += _table("", {"pictures": summary.splits})
    if any(label is not None for label in summary.pictures):
        text += "\n" + _table("pictures of", summary.pictures)
    if summary.objects:
        text += "\n" + _table("objects of", summary.objects)
    return text


def _table(head: str, rows: Mapping[str | None, Counter]) -> str:
    """A row a label, a column a split."""
    lines = [f"| {head} | {' | '.join(SPLITS)} | all |", "|---|" + "--:|" * (len(SPLITS) + 1)]
    order = sorted(rows, key=lambda label: (-rows[label].total(), label is None, label or ""))
    for label in order[:MOST_ROWS]:
        counts = [rows[label][split] for split in SPLITS] + [rows[label].total()]
        lines.append(f"| {_cell(label)} | {' | '.join(map(str, counts))} |")
    if order[MOST_ROWS:]:
        rest = order[MOST_ROWS:]
        counts = [sum(rows[label][split] for label in rest) for split in SPLITS]
        lines.append(f"| {len(rest)} more | {' | '.join(map(str, counts))} | {sum(counts)} |")
    return "\n".join(lines) + "\n"


def _sizes(sizes: Counter) -> str:
    if len(sizes) == 1:
        ((width, height),) = sizes
        return f"{width} × {height} pixels"
    (narrow, low), (wide, high) = (map(by, zip(*sizes, strict=True)) for by in (min, max))
    return f"{narrow} to {wide} × {low} to {high} pixels"


def _making(summary: Summary) -> str:
    lines = ["## How it was made\n", MADE]
    for (kind, name, value), count in sorted(summary.used.items())[:MOST_ROWS]:
        value = value if kind == "versions" else f"SHA-256 `{_line(value)}`"
        lines.append(f"- {kind[:-1]} {_line(name)}: {_line(value)} ({_number(count, 'picture')})")
    for name, count in sorted(summary.graphs.items())[:MOST_ROWS]:
        lines.append(f"- graph `{_line(name)}` ({_number(count, 'picture')})")
    return "\n".join(lines) + "\n"


def _licence(info: Info, summary: Summary) -> str:
    lines = ["## Licence and authors\n"]
    for name, count in sorted(summary.licences.items()):
        lines.append(f"- licence {_line(name) or 'not told'}: {_number(count, 'picture')}")
    authors = {name: count for name, count in sorted(summary.authors.items()) if name}
    lines += [f"- by {_line(name)}: {_number(count, 'picture')}" for name, count in authors.items()]
    lines += [f"- set put together by {_line(info.author)}"] if info.author else []
    return "\n".join(lines) + "\n"


def _limits(summary: Summary, remarks: Mapping[str, int]) -> str:
    lines = ["## Known limits\n", f"- {MODEL_MADE}"]
    labels = [*summary.objects.values(), *(each for label, each in summary.pictures.items() if label is not None)]
    for split in SPLITS:
        few = sum(counts[split] < FEW for counts in labels)
        if few and summary.splits[split]:
            lines.append(f"- Of {few} of the {len(labels)} classes {split} has fewer than {FEW}.")
    lines += [f"- There are no {split} pictures." for split in SPLITS if not summary.splits[split]]
    if labels:
        totals = sorted(counts.total() for counts in labels)
        lines += [f"- The largest class has {totals[-1]}, the smallest {totals[0]}."] if totals[-1] > totals[0] else []
    unlabelled = summary.pictures[None].total() if None in summary.pictures else 0
    lines += [f"- {_number(unlabelled, 'picture')} without a label or an object."] if unlabelled else []
    lines += [f"- {remark[:1].upper()}{remark[1:]}: {count}." for remark, count in remarks.items()]
    return "\n".join(lines) + "\n"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _line(text: str) -> str:
    """Text of one line without HTML."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())


def _cell(label: str | None) -> str:
    return "no label" if label is None else _line(label).replace("|", "\\|") or '""'
