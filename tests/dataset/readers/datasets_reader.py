"""Hugging Face's `datasets` reads ImageFolder and Parquet: prints what it found in the folder of views, as JSON."""

import hashlib
import json
import sys
import tempfile

import datasets

views, cache = sys.argv[1], tempfile.mkdtemp()


def row(each: dict) -> dict:
    pixels = hashlib.sha256(each["image"].convert("RGB").tobytes()).hexdigest()
    return {"id": each["id"], "pixels": pixels, "caption": each["caption"], "boxes": each["objects"]["bbox"]}


found = {}
for kind in ("imagefolder", "parquet"):
    found[kind] = {}
    read = datasets.load_dataset(f"{views}/{kind}", cache_dir=cache)
    for split, rows in read.items():
        label, categories = rows.features["label"], rows.features["objects"]["categories"].feature
        named = [label.int2str if kind == "parquet" else str, categories.int2str if kind == "parquet" else str]
        found[kind][split] = [
            {
                **row(each),
                "label": named[0](each["label"]),
                "categories": list(map(named[1], each["objects"]["categories"])),
            }
            for each in rows
        ]
print(json.dumps(found))
