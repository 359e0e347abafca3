"""Runs a workflow file from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..nodes import host as node_host
from ..nodes.sweep_position import position_of
from . import document, folders, settings
from .errors import InvalidPrompt, SettingError, WorkflowError, describe
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
    `part` (i, N). `host` hears the progress, also "chunk" before each of these, and can cancel. Pictures to load are
    looked for in ./input, then beside the file. Outputs that are not valid are left out, as ComfyUI does, unless none
    is left.

    Raises WorkflowError, NodeError, Cancelled.
    """
    started = time.monotonic()
    host = host or StudioHost()
    with _ready(Path(path), set_values, Path(output), host) as ready:
        host.part = part
        executor = Executor(ready.nodes, host)
        files: list[Path] = []
        for prompt in _prompts(ready, part):
            if (position := position_of(prompt)) is not None:
                host.listener("chunk", {"index": position.index, "chunks": len(position.sweep)})
            files += _files(executor.run(prompt, ready.outputs, ready.extra_pnginfo), folders.current())
        return Report(files, ready.node_errors, ready.prompt, time.monotonic() - started)


def train_file(
    path: str | Path,
    set_values: Iterable[str] = (),
    output: str | Path = "output",
    host: StudioHost | None = None,
) -> list[str]:
    """Run the nodes of a workflow that train, and what they stand on, but nothing that comes after them.

    Gives what each of them told. Raises WorkflowError, also where none trains, NodeError, Cancelled.
    """
    host = host or StudioHost()
    with _ready(Path(path), set_values, Path(output), host) as ready:
        training = [name for name in ready.outputs if hasattr(ready.nodes[ready.prompt[name]["class_type"]], "TRAINS")]
        if not training:
            raise WorkflowError(f"{path}: no node of this workflow trains; `varifold run` runs it")
        shown = Executor(ready.nodes, host).run(ready.prompt, training, ready.extra_pnginfo)
        return [text for name in training for text in shown[name]["text"]]


def sets_of(path: str | Path, set_values: Iterable[str] = (), output: str | Path = "output") -> list[Path]:
    """The folders of the sets that the Sweep of a workflow fills, which is not run.

    Raises WorkflowError if some of its outputs could not be run, and where there is no Sweep or no set.
    """
    with _ready(Path(path), set_values, Path(output), StudioHost()) as ready:
        if ready.node_errors:
            raise WorkflowError(describe(ready.prompt, ready.node_errors))
        try:
            if position_of(ready.prompt) is None:
                raise WorkflowError(f"{path}: no Sweep divides the work of this workflow")
            exports = _exports(ready)
        except ValueError as error:
            raise WorkflowError(str(error)) from error
    if not exports:
        raise WorkflowError(f"{path}: no Export Dataset keeps the pictures of this workflow")
    return list(dict.fromkeys(export.folder for export in exports.values()))


@dataclass(frozen=True)
class _Ready:
    """A prompt that is checked: `outputs` can be run."""

    prompt: dict[str, dict]
    outputs: list[str]
    node_errors: dict[str, dict]
    nodes: dict[str, type]
    extra_pnginfo: dict | None


@contextmanager
def _ready(path: Path, set_values: Iterable[str], output: Path, host: StudioHost) -> Iterator[_Ready]:
    """The prompt of a file, while its folders and the host are in use."""
    folders.use(Folders((Path("input"), path.parent), output, output / "temp"))
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
        yield _Ready(
            flat.prompt, outputs, node_errors, nodes, {"workflow": source.workflow} if source.workflow else None
        )
    finally:
        node_host.use(None)
        folders.use(None)


def _flat(source: document.Document, nodes: dict[str, type]) -> Flat:
    if source.prompt is not None:
        return Flat(clean(source.prompt))
    return flatten(source.workflow, nodes, node_names())


def _prompts(ready: _Ready, part: tuple[int, int]) -> Iterator[dict[str, dict]]:
    """What is to be run: the prompt, or with a Sweep that of each chunk."""
    try:
        position = position_of(ready.prompt)
        if position is not None:
            yield from Chunks(ready.prompt, position, _exports(ready), part)
            return
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    if part[1] > 1:
        raise SettingError(
            f"--shard {part[0]}/{part[1]}: no Sweep divides the work of this workflow, so every one of "
            f"the {part[1]} runs would make the same pictures; run it once, without --shard"
        )
    yield ready.prompt


def _exports(ready: _Ready) -> dict[str, Export]:
    """Where each Export Dataset of a prompt puts its pictures."""
    order, _ = ancestors(ready.outputs, ready.prompt, ready.nodes)
    asked = {name: ready.prompt[name] for name in order}
    classes = {name: ready.nodes[node["class_type"]] for name, node in asked.items()}
    return {name: Export(*cls.set_of(asked[name]["inputs"])) for name, cls in classes.items() if hasattr(cls, "set_of")}


def _files(shown: dict[str, dict], places: Folders) -> list[Path]:
    entries = [entry for ui in shown.values() for group in ui.values() for entry in group]
    return [places.path_of(entry) for entry in entries if isinstance(entry, dict) and "filename" in entry]
