"""mlcroissant validates the JSON-LD and reads the records: prints them as JSON."""

import hashlib
import json
import sys

import mlcroissant

described = mlcroissant.Dataset(f"{sys.argv[1]}/croissant/croissant.json")
issues = described.metadata.ctx.issues
found = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "samples": []}
found["splits"] = [each["splits/name"] for each in described.records("splits")]


def plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode()
    return list(map(plain, value)) if isinstance(value, list) else value


for record in described.records("samples"):
    row = {name.removeprefix("samples/"): plain(value) for name, value in record.items() if name != "samples/image"}
    row["pixels"] = hashlib.sha256(record["samples/image"].convert("RGB").tobytes()).hexdigest()
    found["samples"].append(row)
print(json.dumps(found))
