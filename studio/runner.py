"""Runs a workflow file from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..nodes import host as node_host
from ..nodes.sweep_position import position_of
from . import document, folders, settings
from .errors import InvalidPrompt, SettingError, WorkflowError
from .execute import Executor
from .flatten import Flat, flatten
from .folders import Folders
from .host import StudioHost
from .prefix import fill_prefixes
from .prompt import ancestors, clean
from .registry import node_classes, node_names
from .sweep import Chunks, Export
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
    part: tuple[int, int] = (0, 1),
    host: StudioHost | None = None,
) -> Report:
    """Run the workflow in `path`: UI JSON, API JSON, or a PNG made by one.

    `set_values`: "NODE.INPUT=VALUE". With a Sweep all its chunks are run that the set does not have yet, or those of
    `part` (i, N). `host` hears the progress and can cancel. Pictures to load are looked for in ./input, then beside the
    file. Outputs that are not valid are left out, as ComfyUI does, unless none is left.

    Raises WorkflowError, NodeError, Cancelled.
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
        host.part = part
        extra_pnginfo = {"workflow": source.workflow} if source.workflow else None
        executor = Executor(nodes, host)
        files: list[Path] = []
        for prompt in _prompts(flat.prompt, outputs, nodes, part):
            files += _files(executor.run(prompt, outputs, extra_pnginfo), places)
        return Report(files, node_errors, flat.prompt, time.monotonic() - started)
    finally:
        node_host.use(None)
        folders.use(None)


def _flat(source: document.Document, nodes: dict[str, type]) -> Flat:
    if source.prompt is not None:
        return Flat(clean(source.prompt))
    return flatten(source.workflow, nodes, node_names())


def _prompts(
    prompt: dict[str, dict], outputs: list[str], nodes: dict[str, type], part: tuple[int, int]
) -> Iterator[dict[str, dict]]:
    """What is to be run: the prompt, or with a Sweep that of each chunk."""
    try:
        position = position_of(prompt)
        if position is not None:
            chunks = Chunks(prompt, position, _exports(prompt, outputs, nodes), part)
            yield from chunks
            chunks.finish()
            return
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    if part[1] > 1:
        raise SettingError(
            f"--shard {part[0]}/{part[1]}: no Sweep divides the work of this workflow, so every one of "
            f"the {part[1]} runs would make the same pictures; run it once, without --shard"
        )
    yield prompt


def _exports(prompt: dict[str, dict], outputs: list[str], nodes: dict[str, type]) -> dict[str, Export]:
    """Where each Export Dataset of a prompt puts its pictures."""
    order, _ = ancestors(outputs, prompt, nodes)
    classes = {name: nodes[prompt[name]["class_type"]] for name in order}
    return {
        name: Export(*cls.set_of(prompt[name]["inputs"])) for name, cls in classes.items() if hasattr(cls, "set_of")
    }


def _files(shown: dict[str, dict], places: Folders) -> list[Path]:
    entries = [entry for ui in shown.values() for group in ui.values() for entry in group]
    return [places.path_of(entry) for entry in entries if isinstance(entry, dict) and "filename" in entry]
