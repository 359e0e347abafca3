"""Where the pictures of an export come from, as far as its graph tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..dataset.provenance import SOURCE, Key, graph_hash, json_text, provenance
from .denoiser import EMBEDDED, VarifoldLoadDenoiser
from .export_origin import FITS, NO_SOURCES, NOTHING, PICTURES, Origin, Place, is_file, is_link, origin_of, seeds_in
from .host import current
from .load_dataset import VarifoldLoadDataset, links_of
from .sweep_position import Position, moved_to, position_of

WEIGHTS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
DRAWS = ("denoiser", "model")  # a node with one of these wired draws from its seed
WORDS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "prompt", "prompts")
OWN = ("labels", "captions", "masks_are")  # of Export Dataset's widgets, those that say what its pictures are


@dataclass(frozen=True)
class Lineage:
    """graph: the nodes above an export, seeds set to 0, or with a Sweep its index. settings: NODE.INPUT -> what it was.
    weights, loras: file name -> SHA-256. links: source pictures. words: NODE.INPUT -> text. seed: of the first
    picture's noise, None for pictures that were not drawn but read; first: its number in the run. position: the
    Sweep's, if there is one. origin: what each picture comes of. repeated: the nodes that draw with the same seed in
    the next chunk of the Sweep."""

    graph: dict[str, Any]
    settings: dict[str, Any]
    weights: dict[str, str]
    loras: dict[str, str]
    links: tuple[str, ...]
    words: dict[str, str]
    seed: int | None
    first: int = 0
    position: Position | None = None
    origin: Origin = NOTHING
    repeated: tuple[str, ...] = ()

    def key(self, number: int, content: bytes) -> Key:
        """That of picture `number` of this execution, from 0; of what is read, by `content`, a digest of what it is."""
        if self.seed is None:
            return Key(graph_hash(self.graph), _number(content.hex()), 0)
        return Key(graph_hash(self.graph), self.seed, self.first + number)

    def links_of(self, place: Place) -> list[str]:
        """What a picture shares with others: it comes of the same noise, sprites or files."""
        return sorted({*self.links, *self.origin.links(place)})

    def provenance(self, key: Key, licence: str, author: str) -> dict[str, Any]:
        more = {"settings": self.settings, "sources": [link.removeprefix(SOURCE) for link in self.links]}
        told = {name: value for name, value in more.items() if value}
        return provenance(key, self.weights, self.loras, self.words, licence or None, author or None, **told)


def lineage(prompt: Mapping[str, Any] | None, node: str) -> Lineage:
    """That of the pictures of the node `node` of a prompt in API form; without one, as from Python, they are read.

    Raises ValueError for a Sweep whose chunks cannot be told, and for a set to load that is none.
    """
    from ..models.checkpoint import identity

    if not prompt or node not in prompt:
        return Lineage({}, {}, {}, {}, (), {}, None)
    graph = _above(prompt, node)
    position = position_of(graph)
    origin = origin_of(_told(graph, position), node)
    sources = _sources(graph, node)
    loads = [name for name in sources if graph[name]["class_type"] == VarifoldLoadDataset.__name__]
    weights: dict[str, str] = {}
    loras: dict[str, str] = {}
    links = set()
    for name, field, file in _named_files(graph):
        digest = identity(file.path)
        graph[name].setdefault("_meta", {}).setdefault("sha256", {})[field] = digest
        if not is_file(file.name, PICTURES):
            is_lora = "lora" in f"{graph[name]['class_type']} {field}".lower()
            (loras if is_lora else weights)[file.name] = digest
        elif name in sources:
            links.add(SOURCE + digest)
    settings: dict[str, Any] = {}
    if position is not None:
        settings[f"{position.node}.index"] = position.index
        for name in loads:
            _name_what_is_loaded(graph[name])
        seed, first = position.chunk.seed, position.chunk.first
        repeated = _repeated(graph, node, position, origin)
        graph = moved_to(graph, 0)
    else:
        drawn = _take_seeds(graph, settings)
        is_read = bool(loads) or not (drawn or origin.seeds)
        for name in loads:
            _take_part(name, graph[name], settings)
        seed, first, repeated = None if is_read else _seed(graph, settings, drawn), 0, ()
    files, words = tuple(sorted(links)), _words(graph)
    return Lineage(graph, settings, weights, loras, files, words, seed, first, position, origin, repeated)


def _told(graph: dict[str, Any], position: Position | None) -> Mapping[str, Any]:
    return graph if position is None else position.filled_in(graph)


def _repeated(graph: dict[str, Any], node: str, position: Position, origin: Origin) -> tuple[str, ...]:
    """The nodes that draw with the same seed in the next chunk."""
    if len(position.sweep) == 1:
        return ()
    after = origin_of(_told(graph, position._replace(index=position.index + 1)), node)
    drawers = sorted({drawer for seed, drawer in origin.seeds.items() if seed in after.seeds})
    return tuple(f"{graph[name]['class_type'].removeprefix('Varifold')} (id {name})" for name in drawers)


def _name_what_is_loaded(node: dict[str, Any]) -> None:
    """Have a node of a graph tell which pictures it loads: the folder may hold others another time."""
    told = hashlib.sha256(json_text(links_of(node["inputs"]), "this folder")).hexdigest()
    node.setdefault("_meta", {}).setdefault("sha256", {})["folder"] = told


def _take_part(name: str, node: dict[str, Any], settings: dict[str, Any]) -> None:
    """Set to 0 which part of a folder a node loads: the pictures tell themselves."""
    for part in ("start", "count"):
        settings[f"{name}.{part}"] = node["inputs"].get(part)
        node["inputs"][part] = 0


def _above(prompt: Mapping[str, Any], node: str) -> dict[str, Any]:
    """The nodes that lead to `node`, and of itself what says what its pictures are."""
    found, left = {}, [node]
    while left:
        name = left.pop()
        if name not in found:
            inputs = prompt[name]["inputs"]
            if name == node:
                inputs = {key: value for key, value in inputs.items() if key in OWN or is_link(value, prompt)}
            found[name] = {"class_type": prompt[name]["class_type"], "inputs": dict(inputs)}
            left += [value[0] for value in inputs.values() if is_link(value, prompt)]
    return found


def _take_seeds(graph: dict[str, Any], settings: dict[str, Any]) -> dict[str, int]:
    """Set all seeds to 0, and tell in `settings` what they were; those of nodes that draw."""
    drawn = {}
    for name, node in graph.items():
        for field in seeds_in(node["inputs"]):
            value = node["inputs"][field]
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
            elif isinstance(value, str) and (is_file(value, WEIGHTS) or is_file(value, PICTURES)):
                path = host.named_file(value)
                if path is not None:
                    yield name, field, File(value, path)


def _sources(graph: dict[str, Any], node: str) -> set[str]:
    """The nodes from which pictures come otherwise than as a style or a ground."""
    found, left = set(), [node]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            inputs = graph[name]["inputs"].items()
            left += [value[0] for key, value in inputs if is_link(value, graph) and not key.startswith(NO_SOURCES)]
    return found


def _words(graph: dict[str, Any]) -> dict[str, str]:
    return {
        f"{name}.{field}": value
        for name, node in graph.items()
        for field, value in node["inputs"].items()
        if field in WORDS and isinstance(value, str) and value.strip()
    }
