"""COCO (Lin et al. 2014): annotations/instances_NAME.json with the pictures in NAME, images/NAME, images or beside it.

captions_NAME.json is read with it. A folder with _annotations.coco.json and its pictures is read, too. Polygons are
filled by the centres of pixels; runs are taken as they are. A set of COCO has no labels of whole pictures.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..marks import Mark
from .entry import (
    Entry,
    Loaded,
    box_of_json,
    confined,
    is_number,
    json_object,
    links_of_file,
    picture_of,
    read_bytes,
    read_text,
    split_of,
    text_or_none,
)
from .outlines import mask_of

INSTANCES, CAPTIONS = "instances", "captions"


def recognises(folder: Path) -> bool:
    return bool(_files(folder))


def entries(folder: Path) -> list[Entry]:
    """Every picture, file by file, in the files' order. Raises DatasetError."""
    found: list[Entry] = []
    for path in _files(folder):
        found += _of_file(folder, path)
    return found


def _files(folder: Path) -> list[Path]:
    patterns = ("annotations/instances*.json", "instances*.json", "*/_annotations.coco.json")
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _of_file(folder: Path, path: Path) -> list[Entry]:
    confined(folder, path.relative_to(folder).as_posix(), str(folder))
    table = json_object(read_text(path), str(path))
    name = path.stem.removeprefix(INSTANCES).lstrip("_") if path.stem.startswith(INSTANCES) else path.parent.name
    categories = {each.get("id"): each.get("name") for each in _tables(table, "categories", path)}
    marked: dict[Any, list[tuple[str, dict]]] = defaultdict(list)
    for number, each in enumerate(_tables(table, "annotations", path), 1):
        where = f"{path}, annotation {number}"
        if not isinstance(categories.get(each.get("category_id")), str):
            raise DatasetError(f"{where}: there is no category {ascii(each.get('category_id'))[:80]}")
        marked[each.get("image_id")].append((where, {**each, "label": categories[each["category_id"]]}))
    captions = _captions(path)
    found = []
    for number, image in enumerate(_tables(table, "images", path), 1):
        picture = _picture(folder, path, name, image.get("file_name"), f"{path}, image {number}")
        objects, caption = marked.pop(image.get("id"), []), captions.get(image.get("id"))
        load, links = partial(_load, picture, objects, caption), partial(links_of_file, picture)
        found.append(Entry(str(picture), split_of(name), load, links))
    for where, each in (lost[0] for lost in marked.values()):
        raise DatasetError(f"{where}: there is no image {ascii(each.get('image_id'))[:80]}")
    return found


def _tables(table: dict[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    rows = table.get(name, [])
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: {name} should be a list")
    for number, row in enumerate(rows, 1):
        ids = [row.get(key) for key in ("id", "image_id", "category_id")] if isinstance(row, dict) else []
        if not ids or not all(each is None or isinstance(each, (int, str)) for each in ids):
            raise DatasetError(f"{path}: number {number} of {name} should be an object with ids of numbers or text")
    return rows


def _captions(path: Path) -> dict[Any, str | None]:
    beside = path.with_name(path.name.replace(INSTANCES, CAPTIONS))
    if beside == path or not beside.is_file():
        return {}
    found: dict[Any, str | None] = {}
    for number, row in enumerate(_tables(json_object(read_text(beside), str(beside)), "annotations", beside), 1):
        found.setdefault(row.get("image_id"), text_or_none(row.get("caption"), f"{beside}, caption {number}"))
    return found


def _picture(folder: Path, path: Path, name: str, file: Any, where: str) -> Path:
    beside = path.parent.relative_to(folder).as_posix()
    places = [each for each in (name, f"images/{name}", "images", beside, "") if each != "."]
    for place in places:
        found = confined(folder, f"{place}/{file}".lstrip("/") if isinstance(file, str) else file, where)
        if found.is_file():
            return found
    raise DatasetError(f"{where}: there is no picture {ascii(file)[:120]} in {folder}, or in {name} or images there")


def _load(path: Path, objects: list[tuple[str, dict]], caption: str | None) -> Loaded:
    picture = picture_of(read_bytes(path), str(path))
    return Loaded(picture, None, caption, tuple(_mark(each, picture.shape[:2], where) for where, each in objects))


def _mark(each: dict[str, Any], shape: tuple[int, int], where: str) -> Mark:
    told = [each.get(name) for name in ("score", "visibility")]
    if not all(value is None or is_number(value) for value in told):
        raise DatasetError(f"{where}: score and visibility should be numbers")
    mask = mask_of(each.get("segmentation"), *shape, where)
    return Mark(each["label"], mask, box_of_json(each.get("bbox"), where), *told)
