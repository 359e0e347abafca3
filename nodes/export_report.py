"""What an export tells: in words, and as a sheet of the pictures it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from ..dataset.handle import Handle
from ..dataset.store import Added
from ..dataset.views.upkeep import Views
from .drawing import BACKGROUNDS, draw_sheet
from .export_inputs import Labelled
from .marked import marked

MOST = 48  # pictures on the sheet
SIDE = 128
REJECTED = (230, 70, 60)
REPEATED = (
    "warning: {} draws all chunks with one seed, so those of one prompt repeat their pictures, and pictures of one "
    "noise stay in one split: wire the seed of Sweep to it"
)
OUTCOMES = {"added": "added", "rejected": "rejected", "known": "there already", "full": "more than their quotas"}


def report_of(
    handle: Handle,
    added: Sequence[Added],
    reasons: Mapping[str, int],
    views: Views | None,
    part: tuple[int, int],
    shares: int,
    repeated: Sequence[str],
) -> str:
    """The report. reasons: why samples of the set are not live, and how many; views: None where none are built yet;
    shares: how many splits are wanted."""
    outcomes = Counter(each.outcome for each in added)
    told = ", ".join(f"{outcomes[name]} {words}" for name, words in OUTCOMES.items() if outcomes[name])
    lines = [f"this run: {told}"]
    lines += [f"  {each.id}: {each.reason}" for each in added if each.outcome == "rejected"]
    lines.append(f"the set: {handle.size} samples" + _listed(handle.counts))
    lines += [REPEATED.format(node) for node in repeated]
    if reasons:
        lines.append("rejected so far: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())))
    if handle.wanting:
        lines.append("still wanted" + _listed(handle.wanting))
    if views is None:
        lines.append(_why_not(handle, part))
    else:
        lines.append("splits" + _listed(handle.splits))
        if len(handle.splits) == 1 < shares:
            lines.append("  one split alone: the samples are too few, or all share an origin and may not be parted")
        formats = views.remarks
        lines.append(f"built: {', '.join(formats)}" if formats else "built: nothing, for no format is given")
        lines += [f"  {name}: {text} ({count})" for name, told in formats.items() for text, count in told.items()]
        lines += views.told
    lines.append(f"in {handle.folder}")
    return "\n".join(lines)


def _why_not(handle: Handle, part: tuple[int, int]) -> str:
    if part[1] > 1:
        return f"this is part {part[0]} of {part[1]}: `varifold finalize` makes splits and formats of them all"
    if handle.wanting:
        return "splits and formats are made once all quotas are met"
    return "splits and formats are made with the last chunk of the sweep"


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    return ": " + ", ".join(f"{name} {count}" for name, count in counts) if counts else ""


def sheet_of(given: Sequence[Labelled], added: Sequence[Added]) -> Image.Image:
    """The first MOST pictures, those rejected first, with their objects, labels and what became of them."""
    order = sorted(range(len(given)), key=lambda number: added[number].outcome != "rejected")[:MOST]
    looks = [marked(given[number].picture, given[number].marks, SIDE) for number in order]
    room = (max(look.width for look in looks), max(look.height for look in looks))
    cells = [_framed(added[number], look, room) for number, look in zip(order, looks, strict=True)]
    return draw_sheet(cells, [_caption(given[number], added[number]) for number in order])


def _caption(each: Labelled, added: Added) -> str:
    label = each.label or ", ".join(sorted({mark.label for mark in each.marks}))
    told = (added.reason or "").partition(":")[0] if added.outcome == "rejected" else OUTCOMES[added.outcome]
    words = [label] if added.outcome == "added" else [label, told]
    return " - ".join("".join(letter if letter.isprintable() else "?" for letter in word) for word in words if word)


def _framed(added: Added, look: Image.Image, room: tuple[int, int]) -> Image.Image:
    """A picture in the middle of a cell, with a frame where it was rejected."""
    cell = Image.new("RGB", room, BACKGROUNDS["dark"][0])
    cell.paste(look, ((room[0] - look.width) // 2, (room[1] - look.height) // 2))
    if added.outcome == "rejected":
        ImageDraw.Draw(cell).rectangle([0, 0, room[0] - 1, room[1] - 1], outline=REJECTED, width=3)
    return cell
