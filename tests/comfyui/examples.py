"""The examples, run by ComfyUI and by `varifold run`, and the pictures that they save."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from varifold.studio import document
from varifold.studio.flatten import flatten
from varifold.studio.registry import node_classes, node_names

from .graphs import node
from .server import ComfyServer, Run

EXAMPLES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))
STAND_INS = {
    "CheckpointLoaderSimple": node("ProbeCheckpoint", kind="sdxl"),
    "UNETLoader": node("ProbeShapedModel", kind="flux"),
    "DualCLIPLoader": node("ProbeCLIP"),
    "VAELoader": node("ProbeVAE", channels=16),
}
FINDER = ("sam3.1_multiplex_fp16.safetensors", node("ProbeSAM3"))
SIZED = ("EmptyLatentImage", "VarifoldSampler")
SHORT = {
    **{f"VarifoldTrain{family}": {"images": 640} for family in ("Denoiser", "Autoencoder", "GAN")},
    "VarifoldCompareModels": {"count": 16, "steps": 4, "likelihood": "none"},
}
"""What takes minutes is cut down to, by the type of its node."""
TRAININGS = "training/"  # of the output folder


def prompt_of(workflow: dict, object_info: dict[str, dict] | None = None) -> dict:
    """The API form of a workflow, as the front end would queue it; of a host with more nodes by its `object_info`."""
    theirs = {
        name: type(name, (), {"INPUT_TYPES": lambda i=info: i["input"]}) for name, info in (object_info or {}).items()
    }
    return flatten(workflow, {**theirs, **node_classes()}, node_names()).prompt


def foreign_nodes(example: Path) -> list[str]:
    """The nodes of an example that ComfyUI has and the Studio has not."""
    prompt = prompt_of(json.loads(example.read_text()))
    return sorted({node["class_type"] for node in prompt.values()} - node_classes().keys())


def skip_where_nodes_are_missing(example: Path) -> None:
    """For tests of `varifold run` and the Studio."""
    if foreign := foreign_nodes(example):
        pytest.skip(f"only ComfyUI has {', '.join(foreign)}")


@contextmanager
def files_of_models(server: ComfyServer) -> Iterator[None]:
    """While it lasts, the files that the examples' loaders name are there, with nothing in them."""
    nodes = [node for example in EXAMPLES for node in json.loads(example.read_text())["nodes"]]
    named = [model for node in nodes for model in node["properties"].get("models", ())]
    paths = {server.models / model["directory"] / model["name"] for model in named}
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    try:
        yield
    finally:
        for path in paths:
            path.unlink()


def with_stand_ins(prompt: dict) -> dict:
    """The prompt with small random models in place of those that its loaders load, and an eighth of the size."""
    small = {node_id: _stand_in(node) for node_id, node in prompt.items()}
    for node_id, sized in small.items():
        if sized["class_type"] in SIZED:
            sides = {side: sized["inputs"][side] // 8 for side in ("width", "height")}
            small[node_id] = {**sized, "inputs": {**sized["inputs"], **sides}}
    return small


def _stand_in(loader: dict) -> dict:
    file, finder = FINDER
    return finder if loader["inputs"].get("ckpt_name") == file else STAND_INS.get(loader["class_type"], loader)


def run_in_comfyui(server: ComfyServer, example: Path) -> Run:
    """The run of an example as its user runs it."""
    workflow = json.loads(example.read_text())
    extra_data = {"extra_pnginfo": {"workflow": workflow}, "preview_method": "auto"}
    prompt = {
        node_id: {**node, "inputs": {**node["inputs"], **SHORT.get(node["class_type"], {})}}
        for node_id, node in prompt_of(workflow).items()
    }
    run = server.run(prompt, extra_data, timeout=300)
    assert run.error is None, run.error
    return run


def run_headless(graph: Path, folder: Path) -> None:
    """`varifold run graph` in a working directory of its own."""
    types = {node["type"] for node in (document.read(graph).workflow or {}).get("nodes", ())}
    short = [f"{kind}.{name}={value}" for kind in types & SHORT.keys() for name, value in SHORT[kind].items()]
    command = [
        sys.executable,
        "-m",
        "varifold",
        "run",
        str(graph),
        *(part for each in short for part in ("--set", each)),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def saved(folder: Path) -> dict[str, Image.Image]:
    """The pictures that `varifold run` left in its working directory, without previews, data sets and trainings."""
    sets = [ledger.parent for ledger in (folder / "output").rglob("ledger.jsonl")]
    found = sorted(path for path in (folder / "output").rglob("*.png") if not {*sets} & {*path.parents})
    paths = {path.relative_to(folder / "output").as_posix(): path for path in found}
    return _by_prefix(
        {name: Image.open(path) for name, path in paths.items() if not name.startswith(("temp/", TRAININGS))}
    )


def set_files(folder: Path) -> dict[str, bytes]:
    """The files of a data set, but for the one that keeps a second writer out."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "lock"}


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
