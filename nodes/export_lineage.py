"""Where the pictures of an export come from, as far as its graph tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ..dataset.provenance import Key, graph_hash, json_text, provenance
from .denoiser import EMBEDDED, VarifoldLoadDenoiser
from .host import current
from .sweep_position import Position, moved_to, position_of

WEIGHTS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SEEDS = ("seed", "noise_seed")
DRAWS = ("denoiser", "model")  # a node with one of these wired draws from its seed
FITS = ("VarifoldFitSchedule",)  # their seeds are of something else
WORDS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "prompt", "prompts")
NO_SOURCES = ("style", "palette", "reference", "background")  # inputs whose picture others may share
SOURCE = "source "
OWN = ("labels", "captions", "masks_are")  # of Export Dataset's widgets, those that say what its pictures are


@dataclass(frozen=True)
class Lineage:
    """graph: the nodes above an export, seeds set to 0, or with a Sweep its index. settings: NODE.INPUT -> what it was.
    weights, loras: file name -> SHA-256. links: source pictures. words: NODE.INPUT -> text. seed: of the first
    picture's noise; first: its number in the run. position: the Sweep's, if there is one."""

    graph: dict[str, Any]
    settings: dict[str, Any]
    weights: dict[str, str]
    loras: dict[str, str]
    links: tuple[str, ...]
    words: dict[str, str]
    seed: int
    first: int
    position: Position | None

    def key(self, number: int) -> Key:
        """That of picture `number` of this execution, from 0."""
        return Key(graph_hash(self.graph), self.seed, self.first + number)

    def provenance(self, key: Key, licence: str, author: str) -> dict[str, Any]:
        more = {"settings": self.settings, "sources": [link.removeprefix(SOURCE) for link in self.links]}
        told = {name: value for name, value in more.items() if value}
        return provenance(key, self.weights, self.loras, self.words, licence or None, author or None, **told)


def lineage(prompt: Mapping[str, Any] | None, node: str, pictures: bytes) -> Lineage:
    """That of the pictures of the node `node` of a prompt in API form.

    Without a prompt, as from Python, pictures are known by `pictures`, a digest of what is in them.
    """
    from ..models.checkpoint import identity

    if not prompt or node not in prompt:
        return Lineage({}, {}, {}, {}, (), {}, _number([pictures.hex()]), 0, None)
    graph = _above(prompt, node)
    position = position_of(graph)
    sources = _sources(graph, node)
    weights: dict[str, str] = {}
    loras: dict[str, str] = {}
    links = set()
    for name, field, file in _named_files(graph):
        digest = identity(file.path)
        graph[name].setdefault("_meta", {}).setdefault("sha256", {})[field] = digest
        if not _is(file.name, PICTURES):
            is_lora = "lora" in f"{graph[name]['class_type']} {field}".lower()
            (loras if is_lora else weights)[file.name] = digest
        elif name in sources:
            links.add(SOURCE + digest)
    settings: dict[str, Any] = {}
    if position is not None:
        settings[f"{position.node}.index"] = position.index
        graph = moved_to(graph, 0)
        seed, first = position.chunk.seed, position.chunk.first
    else:
        seed, first = _seed(graph, settings, _take_seeds(graph, settings)), 0
    return Lineage(graph, settings, weights, loras, tuple(sorted(links)), _words(graph), seed, first, position)


def _above(prompt: Mapping[str, Any], node: str) -> dict[str, Any]:
    """The nodes that lead to `node`, and of itself what says what its pictures are."""
    found, left = {}, [node]
    while left:
        name = left.pop()
        if name not in found:
            inputs = prompt[name]["inputs"]
            if name == node:
                inputs = {key: value for key, value in inputs.items() if key in OWN or _is_link(value, prompt)}
            found[name] = {"class_type": prompt[name]["class_type"], "inputs": dict(inputs)}
            left += [value[0] for value in inputs.values() if _is_link(value, prompt)]
    return found


def _is_link(value: Any, prompt: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in prompt


def _take_seeds(graph: dict[str, Any], settings: dict[str, Any]) -> dict[str, int]:
    """Set all seeds to 0, and tell in `settings` what they were; those of nodes that draw."""
    drawn = {}
    for name, node in graph.items():
        for field in SEEDS:
            value = node["inputs"].get(field)
            if not isinstance(value, int) or isinstance(value, bool) or node["class_type"] in FITS:
                continue
            settings[f"{name}.{field}"] = value
            node["inputs"][field] = 0
            if field == "noise_seed" or node["class_type"] == "VarifoldNoise" or set(DRAWS) & node["inputs"].keys():
                drawn[f"{name}.{field}"] = value
    return drawn


def _seed(graph: dict, settings: dict, drawn: dict[str, int]) -> int:
    """The seed of the noise where it alone tells runs of the graph apart; else a number that does."""
    if len(settings) == len(drawn) == 1:
        return next(iter(drawn.values()))
    return _number([graph, settings])


def _number(told: Any) -> int:
    return int(hashlib.sha256(json_text(told, "this graph")).hexdigest()[:13], 16)


class File(NamedTuple):
    """A file as a widget names it; the embedded denoiser has no path."""

    name: str
    path: Path | None


def _named_files(graph: dict[str, Any]) -> Iterator[tuple[str, str, File]]:
    """Node, input and file of each widget that names a file which is found."""
    host = current()
    for name, node in graph.items():
        for field, value in node["inputs"].items():
            if node["class_type"] == VarifoldLoadDenoiser.__name__ and value == EMBEDDED:
                yield name, field, File(value, None)
            elif isinstance(value, str) and (_is(value, WEIGHTS) or _is(value, PICTURES)):
                path = host.named_file(value)
                if path is not None:
                    yield name, field, File(value, path)


def _is(name: str, suffixes: tuple[str, ...]) -> bool:
    return PurePath(name.partition(" [")[0]).suffix.lower() in suffixes


def _sources(graph: dict[str, Any], node: str) -> set[str]:
    """The nodes from which pictures come otherwise than as a style or a ground."""
    found, left = set(), [node]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            inputs = graph[name]["inputs"].items()
            left += [value[0] for key, value in inputs if _is_link(value, graph) and not key.startswith(NO_SOURCES)]
    return found


def _words(graph: dict[str, Any]) -> dict[str, str]:
    return {
        f"{name}.{field}": value
        for name, node in graph.items()
        for field, value in node["inputs"].items()
        if field in WORDS and isinstance(value, str) and value.strip()
    }
