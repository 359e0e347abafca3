"""Training Pictures: what a net learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import training_sources
from .drawing import cells, draw_sheet, image_out
from .host import current

if TYPE_CHECKING:
    from PIL import Image

    from ..models.train.picture_files import Source
    from ..models.train.pictures import Pictures

FOLDER, TILES = "folder", "embedded tiles"
SHOWN, HELD_SHOWN, FEWEST = 48, 12, 8
SHEET_PIXELS = 2**22
PROBLEMS = 20


class VarifoldPictures:
    DESCRIPTION = (
        "Pictures to train on: from a folder, with its folders' names as labels or with captions, from what is wired, "
        "or the tiles that the embedded denoiser learned from."
    )
    SEARCH_ALIASES = ["training set", "train", "dataset", "load images", "image folder", "captions", "fine-tune"]
    CATEGORY = "Varifold/training"
    FUNCTION = "read"
    INPUT_IS_LIST = True
    RETURN_TYPES = ("VARIFOLD_PICTURES", "IMAGE", "STRING")
    RETURN_NAMES = ("pictures", "sheet", "report")
    OUTPUT_TOOLTIPS = (
        "What the training nodes learn from, with the held-out ones that judge it.",
        "Some of them as the net sees them, with their words; those held out come last.",
        "How many there are of each label, the words, what could not be read and why, and the memory.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "source": (
                    [FOLDER, TILES],
                    {"tooltip": "Where they come from, unless images or a dataset are wired."},
                ),
                "folder": (
                    "STRING",
                    {
                        "default": "pictures",
                        "tooltip": "The folder, inside the input or the output folder. Below it, folders are labels.",
                    },
                ),
                "size": (
                    "INT",
                    {"default": 64, "min": 4, "max": 1024, "step": 4, "tooltip": "Pixels of a side; all are square."},
                ),
                "crop": (
                    ["centre", "random", "pad"],
                    {
                        "tooltip": "centre: the middle square. random: another part each time it is seen. "
                        "pad: the whole picture with the ground around it."
                    },
                ),
                "scaling": (
                    ["smooth", "pixels"],
                    {"tooltip": "smooth: by averaging, for photographs. pixels: the nearest, for pixel art."},
                ),
                "transparency": (
                    ["keep", "on white", "on black"],
                    {"tooltip": "keep: the net learns it, each pixel opaque or not. Else what pictures are laid on."},
                ),
                "colours": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 256,
                        "tooltip": "One palette of so many colours for all pictures. 0: as they are.",
                    },
                ),
                "flip": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Shows half of them mirrored; not for letters, maps or hands."},
                ),
                "words": (
                    ["auto", "labels", "captions", "none"],
                    {
                        "tooltip": "What a prompt can say later: names of folders, or captions beside the pictures. "
                        "auto: captions where there are some, else labels."
                    },
                ),
                "vocabulary": (
                    "INT",
                    {"default": 1000, "min": 1, "max": 65535, "tooltip": "How many words at most, the most frequent."},
                ),
                "held_out": (
                    "FLOAT",
                    {
                        "default": 0.1,
                        "min": 0.0,
                        "max": 0.5,
                        "step": 0.01,
                        "round": 0.001,
                        "tooltip": "The share that is not trained on and judges the net; unless the source has parts.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFF,
                        "control_after_generate": False,
                        "tooltip": "Of the choice of those held out.",
                    },
                ),
            },
            "optional": {
                "images": ("IMAGE", {"tooltip": "Pictures to learn from, in place of a folder."}),
                "masks": ("MASK", {"tooltip": "What of the images is transparent, as Sampler gives it."}),
                "labels": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "A label or caption for each of the images, a line each; or one for all.",
                    },
                ),
                "dataset": ("VARIFOLD_DATASET", {"tooltip": "A set of Export Dataset, in place of a folder."}),
            },
        }

    @classmethod
    def IS_CHANGED(cls, source=None, folder=None, **_):
        # Pictures may have come or gone, or been changed, while the same graph waited.
        try:
            return training_sources.state(training_sources.found(folder[0])) if source[0] == FOLDER else ""
        except (OSError, ValueError, TypeError, AttributeError):
            return ""

    def read(
        self,
        source,
        folder,
        size,
        crop,
        scaling,
        transparency,
        colours,
        flip,
        words,
        vocabulary,
        held_out,
        seed,
        images=None,
        masks=None,
        labels=None,
        dataset=None,
    ):
        from ..models.train.picture_reading import Reading, read
        from ..models.train.picture_shelf import Shelf

        host = current()
        reading = Reading(
            size=size[0],
            crop=crop[0],
            scaling=scaling[0],
            transparency=transparency[0],
            colours=colours[0],
            flip=flip[0],
            words=words[0],
            vocabulary=vocabulary[0],
            held_out=held_out[0],
            seed=seed[0],
        )
        where, sources, problems = _sources(source[0], folder[0], images, masks, labels, dataset)
        if not sources:
            raise ValueError(f"{where} has no picture{'; ' + problems[0] if problems else ''}")
        progress = host.progress(len(sources))

        def watch(done: int) -> None:
            host.check_cancelled()
            progress.update(done)

        shelf = Shelf(host.cache_folder())
        pictures = read(sources, reading, problems=problems, shelf=shelf, watch=watch)
        report = "\n".join([f"from {where}", *pictures.notes, *_problems(pictures.problems)])
        return {"ui": {"text": [report]}, "result": (pictures, image_out([_sheet(pictures)]), report)}


def _sources(source, folder, images, masks, labels, dataset) -> tuple[str, list[Source], list[str]]:
    """In words where pictures come from, the pictures, and what is wrong with some."""
    images, masks, dataset = ([each for each in given or () if each is not None] for given in (images, masks, dataset))
    if images and dataset:
        raise ValueError("images and dataset are both wired: choose one")
    if images:
        return "images", training_sources.wired(images, masks, labels or [""]), []
    if dataset:
        return f"the set {dataset[0].folder.name}", training_sources.in_set(dataset[0].folder), []
    if source == TILES:
        from ..models.train.picture_sources import embedded_tiles

        return TILES, embedded_tiles(), []
    return f"folder {folder.strip()}", *training_sources.in_folder(training_sources.found(folder))


def _problems(problems: tuple[str, ...]) -> list[str]:
    more = len(problems) - PROBLEMS
    return [*(f"left out: {problem}" for problem in problems[:PROBLEMS]), *([f"and {more} more"] if more > 0 else [])]


def _sheet(pictures: Pictures) -> Image.Image:
    most = max(FEWEST, min(SHOWN, SHEET_PIXELS // (pictures.size[0] * pictures.size[1])))
    held = pictures.held and _some(pictures.held, most * HELD_SHOWN // SHOWN)
    shown, texts = [], []
    for part, numbers, mark in (
        (pictures, _some(pictures, most - len(held or ())), ""),
        (pictures.held, held, "held out: "),
    ):
        if numbers:
            rgb = part.rgb(numbers)
            transparency = 1 - rgb[..., 3] if rgb.shape[-1] == 4 else rgb.new_zeros(rgb.shape[:3])
            shown += cells(rgb[..., :3], transparency, 0)
            texts += [f"{mark}{part.said(number)}" for number in numbers]
    return draw_sheet(shown, texts)


def _some(pictures: Pictures, most: int) -> list[int]:
    """At most so many, of all labels alike."""
    labels = pictures.label_of or [0] * len(pictures)
    seen: dict[int, int] = {}
    turns = []
    for number, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        turns.append((seen[label], label, number))
    return [number for _, _, number in sorted(turns)[:most]]
