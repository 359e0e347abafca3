"""The examples, run by ComfyUI and by `varifold run`, and the pictures that they save."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from varifold.studio.flatten import flatten
from varifold.studio.registry import node_classes, node_names

from .server import ComfyServer, Run

EXAMPLES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))


def prompt_of(workflow: dict) -> dict:
    """The API form of a workflow, as the front end would queue it."""
    return flatten(workflow, node_classes(), node_names()).prompt


def run_in_comfyui(server: ComfyServer, example: Path) -> Run:
    """The run of an example as its user runs it."""
    workflow = json.loads(example.read_text())
    extra_data = {"extra_pnginfo": {"workflow": workflow}, "preview_method": "auto"}
    run = server.run(prompt_of(workflow), extra_data, timeout=300)
    assert run.error is None, run.error
    return run


def run_headless(graph: Path, folder: Path) -> None:
    """`varifold run graph` in a working directory of its own."""
    command = [sys.executable, "-m", "varifold", "run", str(graph)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def saved(folder: Path) -> dict[str, Image.Image]:
    """The pictures that `varifold run` left in its working directory, previews left out."""
    found = sorted((folder / "output").rglob("*.png"))
    paths = {path.relative_to(folder / "output").as_posix(): path for path in found}
    return _by_prefix({name: Image.open(path) for name, path in paths.items() if not name.startswith("temp/")})


def saved_in_comfyui(server: ComfyServer, run: Run) -> dict[str, Image.Image]:
    """The pictures that a run saved, previews left out."""
    files = [file for shown in run.outputs.values() for file in shown.get("images", ()) if file["type"] == "output"]
    contents = {f"{file['subfolder']}/{file['filename']}": server.view(**file) for file in files}
    return _by_prefix({name: Image.open(io.BytesIO(content)) for name, content in contents.items()})


def _by_prefix(pictures: dict[str, Image.Image]) -> dict[str, Image.Image]:
    """Numbered from 0 for each prefix, for a server has counted further than a folder of one run."""
    counts: dict[str, int] = {}
    numbered = {}
    for name in sorted(pictures):
        prefix = re.sub(r"_\d+_\.png$", "", name)
        counts[prefix] = counts.get(prefix, -1) + 1
        numbered[f"{prefix} {counts[prefix]}"] = pictures[name]
    return numbered
