"""What is wired into Export Dataset, as one record a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dataset.marks import Mark
from . import wires
from .export_origin import Place

if TYPE_CHECKING:
    from torch import Tensor

SEG = ("cropped_mask", "crop_region", "bbox", "label", "confidence")  # what is read of each of Impact Pack's segments
OBJECTS, TRANSPARENCY = "objects", "transparency"


@dataclass(frozen=True)
class Labelled:
    """A picture [H, W, 3 or 4], uint8, what is said of it, and where among those of the export it is."""

    picture: np.ndarray
    label: str | None
    caption: str | None
    marks: tuple[Mark, ...]
    links: tuple[str, ...]
    place: Place

    def digest(self) -> bytes:
        """What changes when the picture does, or its texts."""
        told = f"{self.picture.shape} {self.label} {self.caption}"
        return hashlib.sha256(told.encode("utf-8", "surrogatepass") + self.picture.tobytes()).digest()


def labelled(
    images: Sequence[Tensor],
    labels: Sequence[str],
    captions: Sequence[str],
    masks_are: str,
    masks: Sequence[Tensor | None] | None,
    boxes: Sequence[Any] | None,
    segs: Sequence[Any] | None,
) -> list[Labelled]:
    """A record a picture, from what a node with INPUT_IS_LIST is given.

    Raises ValueError, with the names of the inputs and how many each has, where they do not match, and for masks, boxes
    and SEGS that are none or have no label.
    """
    pictures, batches = _pictures(images)
    count = len(pictures)
    if len(labels) == 1:
        labels = [line.strip() for line in labels[0].strip().splitlines()] or [""]
    labels = _one_each("labels", labels, count, batches)
    captions = _one_each("captions", captions, count, batches)
    found = _boxes(boxes, count)
    if segs and found:
        raise ValueError("boxes and segs are both wired: choose one, SEGS have boxes of their own")
    shapes = [picture.shape[:2] for picture in pictures]
    if segs:
        marks = _marks_of_segs(segs, shapes, labels)
    else:
        marks = _marks(_masks(masks, masks_are, pictures), found, shapes, labels)
    links = [_sources(each) for each in found] if found else [()] * count
    places = _places(batches, found)
    return [
        Labelled(picture, label or None, caption or None, tuple(own), tuple(linked), place)
        for picture, label, caption, own, linked, place in zip(
            pictures, labels, captions, marks, links, places, strict=True
        )
    ]


def _pictures(images: Sequence[Tensor]) -> tuple[list[np.ndarray], list[int]]:
    """All pictures, and how many each batch has."""
    pictures, batches = [], []
    if not images:
        raise ValueError("images is empty: look at the node that makes them")
    for image in images:
        rgb, alpha = wires.image_in(image)
        levels = rgb.numpy() if image.shape[-1] != 4 else np.concatenate([rgb.numpy(), alpha.numpy()[..., None]], -1)
        pictures += list((levels.clip(0, 1) * 255).round().astype(np.uint8))
        batches.append(len(rgb))
    return pictures, batches


def _places(batches: Sequence[int], boxes: Sequence[Sequence[dict]]) -> list[Place]:
    """Where each picture is; with the sprites that boxes tell, if any box does."""
    sprites = [tuple(told["sprite"] for told in map(_told, own) if type(told.get("sprite")) is int) for own in boxes]
    within = [(batch, number) for batch, size in enumerate(batches) for number in range(size)]
    told = sprites if any(sprites) else [None] * len(within)
    return [Place(number, *where, len(batches), told[number]) for number, where in enumerate(within)]


def _one_each(name: str, given: Sequence[str], count: int, batches: Sequence[int]) -> list[str]:
    """A text for each picture: given for each, for each batch, or one for all."""
    if len(given) == 1:
        return [given[0]] * count
    if len(given) == count:
        return list(given)
    if len(given) == len(batches):
        return [text for text, size in zip(given, batches, strict=True) for _ in range(size)]
    raise ValueError(f"there are {count} images and {len(given)} {name}: one for all, one each, or one a batch")


def _masks(
    given: Sequence[Tensor | None] | None, masks_are: str, pictures: Sequence[np.ndarray]
) -> list[np.ndarray | None]:
    """All masks [H, W], True where an object is, in the order in which they come; None for a picture without one."""
    as_placeholder = masks_are == OBJECTS or all(picture.shape[:2] != (64, 64) for picture in pictures)
    wired = [mask for mask in given or () if mask is not None]
    absent = [as_placeholder and wires.is_no_mask(mask) for mask in wired]
    if all(absent):
        if masks_are == OBJECTS:
            return []
        if not all(picture.shape[-1] == 4 for picture in pictures):
            raise ValueError(
                "masks: there are none, and the images have no alpha to take them from: wire masks, or "
                f"set masks_are to {OBJECTS}"
            )
        return [picture[..., 3] > 127 for picture in pictures]
    masks: list[np.ndarray | None] = []
    for batch, is_absent in zip(wired, absent, strict=True):
        read = wires.mask_in(batch).numpy()
        if not np.isfinite(read).all():
            raise ValueError("masks has NaN in it: look at the node that made it")
        objects = read > 0.5 if masks_are == OBJECTS else read < 0.5
        masks += [None] * len(read) if is_absent else list(objects)
    return masks


def _boxes(given: Sequence[Any] | None, count: int) -> list[list[dict]]:
    """The boxes of each picture, or nothing where none is wired."""
    if not given:
        return []
    found: list[list[dict]] = []
    for value in given:
        if isinstance(value, dict):
            found.append([value])
        elif isinstance(value, (list, tuple)) and value and all(isinstance(each, (list, tuple)) for each in value):
            found += [list(each) for each in value]
        elif isinstance(value, (list, tuple)):
            found.append(list(value))
        else:
            raise ValueError(f"boxes: {type(value).__name__} is no BOUNDING_BOX")
    if len(found) != count:
        raise ValueError(f"there are {count} images and boxes of {len(found)} pictures: a list of boxes for each image")
    for number, own in enumerate(found, 1):
        for place, box in enumerate(own, 1):
            if not isinstance(box, dict) or not all(_is_number(box.get(key)) for key in ("x", "y", "width", "height")):
                raise ValueError(f"boxes: box {place} of image {number} has no numbers x, y, width and height: {box!r}")
            if box["width"] < 0 or box["height"] < 0:
                raise ValueError(f"boxes: box {place} of image {number} has a negative size")
    return found


def _marks(
    masks: Sequence[np.ndarray | None],
    boxes: Sequence[Sequence[dict]],
    shapes: Sequence[tuple],
    labels: Sequence[str],
) -> list[list[Mark]]:
    """The marks of each picture; with boxes, masks come one a box, those of all pictures behind each other."""
    if not masks and not boxes:
        return [[] for _ in shapes]
    objects = boxes or [[{}] for _ in shapes]
    wanted = sum(map(len, objects))
    if masks and len(masks) != wanted:
        told = f"{wanted} boxes, in all images together," if boxes else f"{wanted} images"
        union = len(masks) == len(shapes) != wanted
        hint = "; a mask of all objects of an image will not do, switch individual_masks on" if union else ""
        raise ValueError(f"there are {told} and {len(masks)} masks: a mask for each{hint}")
    rest = iter(masks)
    marks: list[list[Mark]] = []
    for number, (own, shape, label) in enumerate(zip(objects, shapes, labels, strict=True), 1):
        marks.append([])
        for place, box in enumerate(own, 1):
            mask = next(rest, None)
            where = f"object {place} of image {number}"
            if mask is not None and mask.shape != shape:
                raise ValueError(f"the mask of {where} is {_size(mask.shape)}, and the image is {_size(shape)}")
            if mask is None and not box:
                continue
            told = _told(box)
            edges = [box[key] for key in ("x", "y", "width", "height")] if box else None
            name = _label(told.get("label"), label, where)
            marks[-1].append(Mark(name, mask, edges, told.get("score"), told.get("visibility")))
    return marks


def _marks_of_segs(segs: Sequence[Any], shapes: Sequence[tuple], labels: Sequence[str]) -> list[list[Mark]]:
    """The marks of each picture, from one SEGS each: ((height, width), [SEG with bbox, cropped_mask, ...])."""
    if len(segs) != len(shapes):
        raise ValueError(f"there are {len(shapes)} images and {len(segs)} SEGS in segs: one for each image")
    marks = []
    for number, (value, shape, label) in enumerate(zip(segs, shapes, labels, strict=True), 1):
        if not _is_segs(value):
            raise ValueError(f"segs: what is there for image {number} is no SEGS")
        size, found = tuple(map(int, value[0])), value[1]
        if size != tuple(shape):
            raise ValueError(f"segs: those of image {number} are for {_size(size)}, and the image is {_size(shape)}")
        marks.append(
            [_mark_of_seg(each, shape, label, f"segment {n} of image {number}") for n, each in enumerate(found, 1)]
        )
    return marks


def _is_segs(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(part, (list, tuple)) for part in value)
        and len(value[0]) == 2
        and all(hasattr(each, name) for each in value[1] for name in SEG)
    )


def _mark_of_seg(seg: Any, shape: tuple, label: str, where: str) -> Mark:
    x, y, right, bottom = (int(edge) for edge in seg.crop_region)
    cropped = np.asarray(seg.cropped_mask)
    if cropped.shape != (bottom - y, right - x) or x < 0 or y < 0 or right > shape[1] or bottom > shape[0]:
        raise ValueError(f"segs: the mask of {where} does not fit its crop region {tuple(seg.crop_region)}")
    mask = np.zeros(shape, bool)
    mask[y:bottom, x:right] = cropped > 0.5
    left, top, *other = map(float, seg.bbox)
    score = None if seg.confidence is None else float(np.asarray(seg.confidence).reshape(-1)[0])
    return Mark(_label(seg.label, label, where), mask, (left, top, other[0] - left, other[1] - top), score)


def _told(box: dict) -> dict:
    """What a box says of its object, by itself or as metadata."""
    return {**(box.get("metadata") or {}), **box}


def _sources(boxes: Sequence[dict]) -> list[str]:
    """What the objects of a picture were made from, where the boxes tell."""
    return sorted({str(told["source"]) for told in map(_told, boxes) if told.get("source") is not None})


def _label(own: Any, of_picture: str, where: str) -> str:
    if label := str(own or "").strip() or of_picture:
        return label
    raise ValueError(f"{where} has no label: write one into labels for its image, or give its box one")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}×{shape[0]}"
