"""Export Dataset: pictures with labels into a set that can be trusted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..dataset.filters import Filters
from ..dataset.handle import Handle
from ..dataset.metadata import SUFFIXES, Encoding
from ..dataset.parts import part_folder
from ..dataset.rules import Rules
from ..dataset.sample import SPLITS
from ..dataset.settings import Settings, complete
from ..dataset.store import LEDGER, Added, Store
from ..dataset.views import FORMATS
from .amounts import amounts
from .drawing import image_out
from .export_inputs import OBJECTS, TRANSPARENCY, Labelled, labelled
from .export_lineage import Lineage, lineage
from .export_report import report_of, sheet_of
from .host import current
from .sets import open_in_run, set_folder

FILTERS = ("blank", "blurred", "clipped", "smallest_mask", "fewest_objects", "duplicate")
SETTLING = ("quotas", "filters", "picture_files", "splits", "formats", "licence", "author")
USUAL_FILTERS = "blank: 2, blurred: 0.02, smallest_mask: 16, duplicate: 2"


class VarifoldExportDataset:
    DESCRIPTION = (
        "Adds pictures with their labels, masks and boxes to a set in the output folder, and builds COCO, YOLO, "
        "ImageFolder and others from it. Runs append; the same graph run again adds nothing twice."
    )
    SEARCH_ALIASES = ["save dataset", "coco", "yolo", "imagefolder", "webdataset", "training data", "annotations"]
    CATEGORY = "Varifold/data"
    FUNCTION = "export"
    OUTPUT_NODE = True
    INPUT_IS_LIST = True
    RETURN_TYPES = ("VARIFOLD_DATASET", "STRING", "IMAGE")
    RETURN_NAMES = ("dataset", "report", "sheet")
    OUTPUT_TOOLTIPS = (
        "The set, for nodes that measure it.",
        "What was added, what was rejected and why, and how the set stands.",
        "The pictures of this run, each with its label and what became of it.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures; in a list they may differ in size."}),
                "folder": (
                    "STRING",
                    {"default": "dataset", "tooltip": "The folder of the set, inside the output folder."},
                ),
                "labels": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "The class of each picture, a line each or one for all. Empty: none.",
                    },
                ),
                "captions": (
                    "STRING",
                    {"default": "", "tooltip": "A text for each picture, or one for all. Empty: none."},
                ),
                "masks_are": (
                    [OBJECTS, TRANSPARENCY],
                    {
                        "tooltip": "What a mask of 1 means. objects: the object, as SAM gives. transparency: all but "
                        "the object, as Sampler gives; then without masks the alpha of the images counts."
                    },
                ),
                "formats": (
                    "STRING",
                    {
                        "default": "imagefolder, coco, card",
                        "tooltip": f"What to build, with commas, of {', '.join(FORMATS)}. Empty: the ledger alone.",
                    },
                ),
                "splits": (
                    "STRING",
                    {
                        "default": "train: 80, val: 10, test: 10",
                        "tooltip": "The shares of the splits. Pictures of one origin stay together.",
                    },
                ),
                "quotas": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "How many pictures of each class to keep, as hero: 20, tile: 40; what comes beyond "
                        "is left out. Splits and formats wait until all are there. Empty: all are kept, and splits and "
                        "formats are made after each run.",
                    },
                ),
                "filters": (
                    "STRING",
                    {
                        "default": USUAL_FILTERS,
                        "tooltip": "What is rejected: blank (less spread of brightness), blurred (less sharpness), "
                        "clipped (a larger share of pure black and white), smallest_mask (fewer pixels), "
                        "fewest_objects (fewer marked), duplicate (no more bits of difference). What is left "
                        "out is off.",
                    },
                ),
                "picture_files": (list(SUFFIXES), {"tooltip": "How pictures are written. JPEG loses a little."}),
                "with_workflow": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Whether pictures carry this workflow. JPEG cannot."},
                ),
                "licence": (
                    "STRING",
                    {"default": "", "tooltip": "The licence of the pictures, an SPDX id like CC0-1.0 or a URL."},
                ),
                "author": ("STRING", {"default": "", "tooltip": "Who made them."}),
            },
            "optional": {
                "masks": (
                    "MASK",
                    {"tooltip": "A mask for each picture; with boxes, one for each box, picture after picture."},
                ),
                "boxes": (
                    "BOUNDING_BOX",
                    {
                        "forceInput": True,
                        "tooltip": "For each picture a list of boxes: x, y, width, height; label and score if known.",
                    },
                ),
                "segs": ("SEGS", {"tooltip": "For each picture Impact Pack's segments, instead of masks and boxes."}),
            },
            "hidden": {"prompt": "PROMPT", "unique_id": "UNIQUE_ID", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @staticmethod
    def set_of(inputs: Mapping[str, Any]) -> tuple[Path, Settings]:
        """The folder of the set that a node with these inputs writes, and how it is to be completed.

        Raises ValueError for inputs that are none, or that are wired.
        """
        wired = [name for name in ("folder", *SETTLING) if not isinstance(inputs.get(name), str)]
        if wired:
            raise ValueError(f"Export Dataset: write {', '.join(wired)} into the node instead of wiring it")
        folder = set_folder(inputs["folder"])
        return folder, _settings(folder.name, *(inputs[name] for name in SETTLING))

    @classmethod
    def IS_CHANGED(cls, folder=None, **_):
        # A set that was deleted or reviewed is filled again, though the graph is the same.
        try:
            ledger = os.stat(_ledger_folder(folder[0]) / LEDGER)
        except (OSError, ValueError, TypeError, AttributeError):
            return ""
        return f"{ledger.st_size} {ledger.st_mtime_ns}"

    def export(
        self,
        images,
        folder,
        labels,
        captions,
        masks_are,
        formats,
        splits,
        quotas,
        filters,
        picture_files,
        with_workflow,
        licence,
        author,
        masks=None,
        boxes=None,
        segs=None,
        prompt=None,
        unique_id=None,
        extra_pnginfo=None,
    ):
        host = current()
        place, part = set_folder(folder[0]), host.part
        settled = (quotas, filters, picture_files, splits, formats, licence, author)
        settings = _settings(place.name, *(value[0] for value in settled))
        rules = settings.rules
        given = labelled(images, labels, captions, masks_are[0], masks, boxes, segs)
        asked = prompt[0] if prompt else None
        origin = lineage(asked, unique_id[0] if unique_id else "")
        comfyui = _workflow(asked, extra_pnginfo) if with_workflow[0] and rules.encoding.format != "jpeg" else None

        with open_in_run(part_folder(place, part), rules if part[1] == 1 else rules.of_a_shard) as opened:
            settings.save(opened.folder)
            added = _add(opened, given, origin, settings, comfyui)
            whole = part[1] == 1 and not opened.wanting and _is_last(origin)
            views = complete(opened, settings) if whole else None
            handle, reasons = Handle.of(opened), opened.reasons
        shares = sum(map(bool, settings.shares.values()))
        report = report_of(handle, added, reasons, views, part, shares, origin.repeated)
        sheet = sheet_of(given, added)
        shown = {"text": [report], "images": [_shown(sheet, host.temp_folder())], "varifold_set": [folder[0]]}
        return {"ui": shown, "result": (handle, report, image_out([sheet]))}


def _ledger_folder(name: str) -> Path:
    return part_folder(set_folder(name), current().part)


def _rules(quotas: str, filters: str, picture_files: str) -> Rules:
    wanted = amounts(quotas, "quotas")
    for label, count in wanted.items():
        if not count.is_integer():
            raise ValueError(f"quotas: {label!r} should have a whole number, not {count:g}")
    quota_of = {label: int(count) for label, count in wanted.items()}
    limits: dict[str, Any] = dict.fromkeys(FILTERS) | amounts(filters, "filters", FILTERS)
    bits = limits.pop("duplicate")
    if bits is not None and bits > 7:
        raise ValueError(f"filters: duplicate should be from 0 to 7 bits of 64, not {bits:g}")
    return Rules(Filters(**limits), quota_of, None if bits is None else int(bits), encoding=Encoding(picture_files))


def _settings(
    name: str, quotas: str, filters: str, picture_files: str, splits: str, formats: str, licence: str, author: str
) -> Settings:
    rules, shares = _rules(quotas, filters, picture_files), amounts(splits, "splits", SPLITS)
    chosen = tuple(dict.fromkeys(filter(None, (part.strip() for part in formats.split(",")))))
    return Settings(name, rules, shares, chosen, licence.strip(), author.strip())


def _workflow(prompt: Mapping[str, Any] | None, extra_pnginfo: list | None) -> dict[str, Any] | None:
    """What ComfyUI keeps in its pictures, but for what it noted in the prompt while it ran."""
    if not prompt:
        return None
    noted = {name: {k: node[k] for k in sorted(node) if k != "is_changed"} for name, node in prompt.items()}
    return {"prompt": noted, **((extra_pnginfo and extra_pnginfo[0]) or {})}


def _add(
    opened: Store, given: list[Labelled], origin: Lineage, settings: Settings, comfyui: Mapping[str, Any] | None
) -> list[Added]:
    host = current()
    progress, added = host.progress(len(given)), []
    with opened.batch():
        if origin.graph:
            opened.add_graph(origin.graph)
        for number, each in enumerate(given):
            host.check_cancelled()
            key = origin.key(number, each.digest())
            told = origin.provenance(key, settings.licence, settings.author)
            links = (*origin.links_of(each.place), *each.links)
            more = {"marks": each.marks, "links": links, "provenance": told}
            added.append(opened.add(each.picture, key, label=each.label, caption=each.caption, comfyui=comfyui, **more))
            progress.update(number + 1)
    return added


def _is_last(origin: Lineage) -> bool:
    """Whether no more of a sweep is to come; without one, each run may be the last."""
    return origin.position is None or origin.position.index + 1 >= len(origin.position.sweep)


def _shown(sheet: Any, folder: Path) -> dict[str, str]:
    """The entry by which the front end finds a picture, which is put there."""
    name = f"varifold_dataset_{hashlib.sha256(sheet.tobytes()).hexdigest()[:16]}.png"
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(folder / name, compress_level=1)
    return {"filename": name, "subfolder": "", "type": "temp"}
