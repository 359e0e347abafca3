"""Croissant 1.1 (http://mlcommons.org/croissant/1.1): croissant.json, and beside it the files that it describes.

samples.jsonl has a line a picture; images/ and masks/ are what its names point to.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..sample import Sample
from .folder import building, place
from .info import Info, dumps, is_spdx, licence_of, shown, splits, stem, suffix, utf8
from .objects import objects, told, whole
from .summary import Summary, summarize

NAME = "croissant"
MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
SPLIT_TERMS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}
RECORDS = "samples.jsonl"


def write(folder: Path, samples: Iterable[Sample], info: Info) -> dict[str, int]:
    """Build FOLDER/views/croissant; remark -> how many times it applies. Raises DatasetError."""
    remarks: Counter[str] = Counter()
    kinds = set()
    with building(folder, NAME) as stage:
        (stage / "images").mkdir()
        digest = hashlib.sha256()
        with (stage / RECORDS).open("wb") as records:
            for sample in shown(samples):
                kinds.add(MIME.get(suffix(sample), "image/*"))
                name = stem(sample) + suffix(sample)
                place(folder / sample.image, stage / "images" / name)
                line = (dumps(_record(folder, stage, name, sample, info, remarks)) + "\n").encode()
                records.write(line)
                digest.update(line)
        summary = summarize(samples, info)
        about = metadata(info, summary, splits(samples), sorted(kinds), digest.hexdigest())
        (stage / "croissant.json").write_bytes(utf8(json.dumps(about, indent=2, ensure_ascii=False) + "\n"))
    return told(remarks)


def _record(folder: Path, stage: Path, name: str, sample: Sample, info: Info, remarks: Counter[str]) -> dict[str, Any]:
    boxes, categories, masks = [], [], []
    for number, each in enumerate(objects(folder, sample, remarks)):
        boxes.append([whole(value) for value in each.box])
        categories.append(each.label)
        masks.append("")
        if each.mask is not None:
            masks[-1] = f"{stem(sample)}_{number}.png"
            place(folder / each.instance.mask, stage / "masks" / masks[-1])
    about = {"file_name": name, "id": sample.id, "split": sample.split, "label": sample.label}
    about |= {"caption": sample.caption, "width": sample.width, "height": sample.height}
    about |= {"boxes": boxes, "categories": categories, "masks": masks, "licence": licence_of(sample, info)}
    return about | {"provenance": dumps(dict(sample.provenance or {}))}


def metadata(info: Info, summary: Summary, present: list[str], kinds: list[str], digest: str) -> dict[str, Any]:
    """The JSON-LD. kinds: MIME types of the pictures; digest: SHA-256 of samples.jsonl."""
    licences = [_licence_url(name) for name in sorted(summary.licences) or [info.licence] if name]
    authors = [name for name in sorted({info.author, *summary.authors}) if name]
    about: dict[str, Any] = {"@context": CONTEXT, "@type": "sc:Dataset", "name": info.name}
    about["conformsTo"] = "http://mlcommons.org/croissant/1.1"
    about["description"] = info.description or f"{summary.count} labelled pictures made with Varifold"
    about |= {"license": licences} if licences else {}
    about |= {"url": info.url} if info.url else {}
    about |= {"creator": [{"@type": "sc:Person", "name": name} for name in authors]} if authors else {}
    about |= {"datePublished": info.date} if info.date else {}
    about["citeAs"] = ", ".join(part for part in (*authors, info.name, info.version, info.date, info.url) if part)
    about |= {"version": info.version, "keywords": ["synthetic"], "prov:wasGeneratedBy": _making(summary)}
    about["distribution"] = [
        {
            "@type": "cr:FileObject",
            "@id": RECORDS,
            "name": RECORDS,
            "description": "A line for each picture",
            "contentUrl": RECORDS,
            "encodingFormat": "application/jsonlines",
            "sha256": digest,
        },
        _file_set("images", "The pictures", kinds or ["image/png"]),
    ]
    if summary.masks:
        about["distribution"].append(_file_set("masks", "An object each: 255 where it is", ["image/png"]))
    about["recordSet"] = [_split_set(present), _sample_set(summary)]
    return about


def _licence_url(name: str) -> str:
    return f"https://spdx.org/licenses/{name}.html" if is_spdx(name) else name


def _making(summary: Summary) -> dict[str, Any]:
    """The activity that made the pictures, in PROV-O."""
    used = [
        {
            "@type": "prov:Entity",
            "prov:label": f"{kind[:-1]} {name}",
            "sha256" if kind != "versions" else "version": value,
        }
        for kind, name, value in sorted(summary.used)
    ]
    graphs = [{"@type": "prov:Plan", "prov:label": "graph", "sha256": name} for name in sorted(summary.graphs)]
    agent = {"@type": "prov:SoftwareAgent", "prov:label": "Varifold"}
    activity = {"@type": "prov:Activity", "prov:label": "Pictures made by a graph", "prov:wasAssociatedWith": agent}
    return activity | ({"prov:used": used + graphs} if used or graphs else {})


def _file_set(name: str, description: str, kinds: list[str]) -> dict[str, Any]:
    told_of = {"@type": "cr:FileSet", "@id": name, "name": name, "description": description}
    return told_of | {"encodingFormat": kinds if len(kinds) > 1 else kinds[0], "includes": f"{name}/*"}


def _split_set(present: list[str]) -> dict[str, Any]:
    fields = [_field("splits/name", "Its name", "sc:Text"), _field("splits/term", "What it is for", "sc:URL")]
    data = [{"splits/name": split, "splits/term": SPLIT_TERMS[split]} for split in present]
    head = {"@type": "cr:RecordSet", "@id": "splits", "name": "splits", "dataType": "cr:Split"}
    return head | {"key": {"@id": "splits/name"}, "field": fields, "data": data}


def _sample_set(summary: Summary) -> dict[str, Any]:
    columns: list[tuple[str, str, str, dict[str, Any]]] = [
        ("id", "Its id in the set", "sc:Text", {}),
        ("split", "train, val or test", "sc:Text", {"references": {"field": {"@id": "splits/name"}}}),
        ("label", "The class of the whole picture", "sc:Text", {}),
        ("caption", "What it shows, in words", "sc:Text", {}),
        ("width", "In pixels", "sc:Integer", {}),
        ("height", "In pixels", "sc:Integer", {}),
        ("boxes", "x, y, width and height of each object, in pixels from the upper left", "cr:BoundingBox", MANY),
        ("categories", "The class of each object", "sc:Text", MANY),
        ("masks", "The name of each object's file in masks/", "sc:Text", MANY),
        ("licence", "An SPDX id or a URL", "sc:Text", {}),
        ("provenance", "How it was made, as JSON", "sc:Text", {}),
    ]
    image = _field("samples/image", "The picture", "sc:ImageObject")
    image["source"] = {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "content"}}
    name = _field("samples/file_name", "The name of its file in images/", "sc:Text")
    name["source"] = {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "filename"}}
    name["references"] = _column("file_name")
    fields = [image, name]
    for column, description, kind, more in columns:
        fields.append(_field(f"samples/{column}", description, kind) | {"source": _column(column)} | more)
    head = {"@type": "cr:RecordSet", "@id": "samples", "name": "samples"}
    return head | {"description": "A picture each", "key": {"@id": "samples/file_name"}, "field": fields}


MANY = {"isArray": True, "arrayShape": "-1", "repeated": True}


def _field(id: str, description: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": id, "name": id.split("/")[1], "description": description, "dataType": kind}


def _column(name: str) -> Mapping[str, Any]:
    return {"fileObject": {"@id": RECORDS}, "extract": {"column": name}}


CROISSANT_TERMS = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileProperty fileObject "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex "
    "readLines repeated replace samplingRate sdVersion separator source subField transform unArchive value"
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in CROISSANT_TERMS.split()},
}
