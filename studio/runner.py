"""Runs a workflow file from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..nodes import host as node_host
from . import document, folders, settings
from .declared import hidden_of
from .errors import InvalidPrompt, SettingError
from .execute import Executor
from .flatten import Flat, flatten
from .folders import Folders
from .host import StudioHost
from .prefix import fill_prefixes
from .prompt import ancestors, clean
from .registry import node_classes, node_names
from .validate import validate


@dataclass(frozen=True)
class Report:
    """`files`: what the run saved. `node_errors`: outputs left out because they are not valid; often empty."""

    files: list[Path]
    node_errors: dict[str, dict]
    prompt: dict[str, dict]
    seconds: float


def run_file(
    path: str | Path,
    set_values: Iterable[str] = (),
    output: str | Path = "output",
    shard: tuple[int, int] = (0, 1),
    host: StudioHost | None = None,
) -> Report:
    """Run the workflow in `path`: UI JSON, API JSON, or a PNG made by one.

    `set_values`: "NODE.INPUT=VALUE". `shard` (i, N) is handed to nodes that divide their work. `host` hears the
    progress and can cancel. Pictures to load are looked for in ./input, then beside the file. Outputs that are
    not valid are left out, as ComfyUI does, unless none is left. Raises WorkflowError, NodeError, Cancelled.
    """
    started = time.monotonic()
    path, output = Path(path), Path(output)
    host = host or StudioHost()
    places = Folders((Path("input"), path.parent), output, output / "temp")
    folders.use(places)
    node_host.use(host)
    try:
        nodes = node_classes()
        source = document.read(path)
        flat = _flat(source, nodes)
        settings.apply(set_values, flat.prompt, nodes, flat.places)
        fill_prefixes(flat.prompt)
        ok, error, outputs, node_errors = validate(flat.prompt, nodes, flat.packs)
        if not ok:
            raise InvalidPrompt(flat.prompt, error, node_errors)
        if shard[1] > 1 and not _divides_work(flat.prompt, outputs, nodes):
            raise SettingError(
                f"--shard {shard[0]}/{shard[1]}: no node of this workflow divides its work, so every one of "
                f"the {shard[1]} runs would make the same pictures; run it once, without --shard"
            )
        extra_pnginfo = {"workflow": source.workflow} if source.workflow else None
        shown = Executor(nodes, host).run(flat.prompt, outputs, extra_pnginfo, shard)
        return Report(_files(shown, places), node_errors, flat.prompt, time.monotonic() - started)
    finally:
        node_host.use(None)
        folders.use(None)


def _flat(source: document.Document, nodes: dict[str, type]) -> Flat:
    if source.prompt is not None:
        return Flat(clean(source.prompt))
    return flatten(source.workflow, nodes, node_names())


def _divides_work(prompt: dict[str, dict], outputs: list[str], nodes: dict[str, type]) -> bool:
    order, _ = ancestors(outputs, prompt, nodes)
    asked = (hidden_of(nodes[prompt[node_id]["class_type"]]).values() for node_id in order)
    return any("VARIFOLD_SHARD" in kinds for kinds in asked)


def _files(shown: dict[str, dict], places: Folders) -> list[Path]:
    entries = [entry for ui in shown.values() for group in ui.values() for entry in group]
    return [places.path_of(entry) for entry in entries if isinstance(entry, dict) and "filename" in entry]
