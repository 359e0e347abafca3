"""What an export tells: in words, and as a sheet of the pictures it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..dataset.handle import Handle
from ..dataset.marks import box_of
from ..dataset.store import Added
from .drawing import BACKGROUNDS, CHECKER, draw_sheet
from .export_inputs import Labelled

MOST = 48  # pictures on the sheet
SIDE = 128
OUTLINED = 32  # smaller objects with a box would be hidden by the outline of their mask
OBJECT = (255, 170, 40)
REJECTED = (230, 70, 60)
OUTCOMES = {"added": "added", "rejected": "rejected", "known": "there already", "full": "more than their quotas"}


def report_of(
    handle: Handle,
    added: Sequence[Added],
    reasons: Mapping[str, int],
    remarks: Mapping[str, Mapping[str, int]] | None,
    part: tuple[int, int],
    shares: int,
) -> str:
    """The report. reasons: why samples of the set are not live, and how many; remarks: those of the views, None where
    none are built yet; shares: how many splits are wanted."""
    outcomes = Counter(each.outcome for each in added)
    told = ", ".join(f"{outcomes[name]} {words}" for name, words in OUTCOMES.items() if outcomes[name])
    lines = [f"this run: {told}"]
    lines += [f"  {each.id}: {each.reason}" for each in added if each.outcome == "rejected"]
    lines.append(f"the set: {handle.size} samples" + _listed(handle.counts))
    if reasons:
        lines.append("rejected so far: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())))
    if handle.wanting:
        lines.append("still wanted" + _listed(handle.wanting))
    if remarks is None:
        lines.append(_why_not(handle, part))
    else:
        lines.append("splits" + _listed(handle.splits))
        if len(handle.splits) == 1 < shares:
            lines.append("  one split alone: the samples are too few, or all share an origin and may not be parted")
        lines.append(f"built: {', '.join(remarks)}" if remarks else "built: nothing, for no format is given")
        lines += [f"  {name}: {text} ({count})" for name, told in remarks.items() for text, count in told.items()]
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
    sizes = [_shown_size(given[number]) for number in order]
    room = (max(width for width, _ in sizes), max(height for _, height in sizes))
    cells = [_cell(given[number], added[number], room) for number in order]
    return draw_sheet(cells, [_caption(given[number], added[number]) for number in order])


def _caption(each: Labelled, added: Added) -> str:
    label = each.label or ", ".join(sorted({mark.label for mark in each.marks}))
    told = (added.reason or "").partition(":")[0] if added.outcome == "rejected" else OUTCOMES[added.outcome]
    words = [label] if added.outcome == "added" else [label, told]
    return " - ".join("".join(letter if letter.isprintable() else "?" for letter in word) for word in words if word)


def _shown_size(each: Labelled) -> tuple[int, int]:
    """Width and height of a picture on the sheet."""
    height, width = each.picture.shape[:2]
    scale = SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _cell(each: Labelled, added: Added, room: tuple[int, int]) -> Image.Image:
    """A picture in the middle of a cell, with its objects' outlines, and a frame where it was rejected."""
    picture, size = Image.fromarray(each.picture), _shown_size(each)
    scale = size[0] / picture.width, size[1] / picture.height
    small = picture.resize(size, Image.Resampling.NEAREST if min(scale) >= 2 else Image.Resampling.LANCZOS)
    left, top = corner = ((room[0] - size[0]) // 2, (room[1] - size[1]) // 2)
    cell = Image.new("RGB", room, BACKGROUNDS["dark"][0])
    cell.paste(_checkerboard(size), corner)
    cell.paste(small, corner, small if small.mode == "RGBA" else None)
    pen = ImageDraw.Draw(cell)
    for mark in each.marks:
        x, y, width, height = (float(edge) * scale[axis % 2] for axis, edge in enumerate(mark.box or box_of(mark.mask)))
        if mark.mask is not None and (mark.box is None or min(width, height) >= OUTLINED):
            mask = Image.fromarray(mark.mask).resize(size, Image.Resampling.NEAREST)
            cell.paste(OBJECT, corner, Image.fromarray(_outline(np.asarray(mask))))
        if mark.box is not None:
            edges = [left + x, top + y, left + max(x, x + width - 1), top + max(y, y + height - 1)]
            pen.rectangle(edges, outline=OBJECT)
    if added.outcome == "rejected":
        pen.rectangle([0, 0, room[0] - 1, room[1] - 1], outline=REJECTED, width=3)
    return cell


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    down, right = np.indices((size[1], size[0])) // (SIDE // 8)
    return Image.fromarray(np.array(CHECKER, np.uint8)[(down + right) % 2])


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask [H, W] that touch others, or the edge of the picture."""
    wide = np.pad(mask, 1)
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner
