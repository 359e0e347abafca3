"""What the pictures of an export were drawn from, one by one, as far as its graph tells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import PurePath
from typing import Any, NamedTuple

from ..dataset.compose import casts
from ..dataset.provenance import json_text
from .compose import VarifoldCompose, names_of
from .load_dataset import VarifoldLoadDataset, links_of

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SEEDS = ("seed", "noise_seed")
FITS = ("VarifoldFitSchedule",)  # their seeds are of something else
NO_SOURCES = ("style", "palette", "reference", "background")  # inputs whose picture others may share
REWORKED = ("image", "images", "content", "latent", "latent_image", "samples", "pixels")  # what a pass starts from
BATCHES = ("batch", "batch_size")
JOINS = {"ImageBatch": ("image1", "image2"), "LatentBatch": ("samples1", "samples2")}
PARTS = ("ImageFromBatch", "LatentFromBatch")
REPEATS = ("RepeatImageBatch", "RepeatLatentBatch")

Graph = Mapping[str, Mapping[str, Any]]


class Place(NamedTuple):
    """A picture of an export: its number, that of its batch and its number there, how many batches there are, and the
    numbers of the sprites in it, None where nobody tells."""

    number: int
    batch: int = 0
    within: int = 0
    batches: int = 1
    sprites: tuple[int, ...] | None = None

    def at(self, number: int) -> Place:
        """The same picture in a batch where it has another number."""
        return Place(number, within=number, sprites=self.sprites)


@dataclass(frozen=True, eq=False)
class Origin:
    """links: what a picture shares with others that come of the same. seeds: what its noise is known by, and the node
    that draws with it. size: how many pictures a run has, None where the graph does not tell."""

    links: Callable[[Place], frozenset[str]]
    seeds: Mapping[str, str]
    size: int | None = None

    def whole(self) -> frozenset[str]:
        """The link of all that comes of these seeds, for where the graph does not tell which picture is of what."""
        return frozenset(self.seeds)


NOTHING = Origin(lambda place: frozenset(), {})


def is_link(value: Any, graph: Graph) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph


def is_file(name: str, suffixes: tuple[str, ...]) -> bool:
    return PurePath(name.partition(" [")[0]).suffix.lower() in suffixes


def seeds_in(inputs: Mapping[str, Any]) -> Iterator[str]:
    """The inputs that are seeds."""
    return (field for field in SEEDS if field in inputs)


def origin_of(graph: Graph, node: str) -> Origin:
    """That of the pictures that come to `node`. The links of a graph are to its own nodes; a Sweep's are filled in.

    A picture is as its first noise has it: the passes that rework a picture add nothing. Picture k of a batch is taken
    to stay picture k from node to node.
    """
    walk = _Walk(graph)
    walk.up_to(node)
    return walk.above(node) or NOTHING


class _Walk:
    def __init__(self, graph: Graph):
        self._graph = graph
        self._found: dict[str, Origin | None] = {}

    def up_to(self, node: str) -> None:
        """Find the origins of all nodes before this one, the first ones first."""
        wires = {name: self._wired(name) for name in self._graph}
        for name in TopologicalSorter(wires).static_order():
            if name != node:
                self._found[name] = self._fresh(name)

    def above(self, name: str) -> Origin | None:
        """What comes to a node, by all inputs but those whose picture others may share."""
        inputs = self._graph[name]["inputs"]
        return self._by(name, [field for field in inputs if not field.startswith(NO_SOURCES)])

    def _by(self, name: str, fields: Sequence[str]) -> Origin | None:
        return _merged(self._each(name, fields))

    def _each(self, name: str, fields: Sequence[str]) -> list[Origin | None]:
        inputs = self._graph[name]["inputs"]
        return [self._found[inputs[field][0]] for field in fields if is_link(inputs.get(field), self._graph)]

    def _wired(self, name: str) -> list[str]:
        return [value[0] for value in self._graph[name]["inputs"].values() if is_link(value, self._graph)]

    def _fresh(self, name: str) -> Origin | None:
        """None where neither noise nor a picture is."""
        kind, inputs = self._graph[name]["class_type"], self._graph[name]["inputs"]
        if kind == VarifoldCompose.__name__:
            return self._composed(name, inputs)
        if kind == VarifoldLoadDataset.__name__:
            return _loaded(inputs)
        if kind in JOINS:
            return _joined(self._each(name, JOINS[kind]))
        seeds = self._seeds(name)
        if not seeds:
            if any(isinstance(value, str) and is_file(value, PICTURES) for value in inputs.values()):
                return NOTHING
            origin = self.above(name)
            return self._part(origin, inputs) if origin and kind in PARTS else origin
        guides = [field for field in inputs if field not in REWORKED and not field.startswith(NO_SOURCES)]
        loaded = [origin for origin in self._each(name, guides) if origin and not origin.seeds]
        return _merged([self._by(name, REWORKED) or self._drawn(name, seeds), *loaded])

    def _seeds(self, name: str) -> list[str]:
        """What the noise that a node draws with is known by: the NOISE wired to it, else its own seed."""
        inputs = self._graph[name]["inputs"]
        if is_link(inputs.get("noise"), self._graph):
            above = self._nodes_above(inputs["noise"][0])
            wired = [self._known(node["inputs"][field]) for node in above for field in seeds_in(node["inputs"])]
            if wired:
                return wired
        if self._graph[name]["class_type"] in FITS:
            return []
        return [self._known(inputs[field]) for field in seeds_in(inputs)]

    def _known(self, value: Any) -> str:
        """A seed by its number, or by the nodes that tell it."""
        if is_link(value, self._graph):
            numbers = list(self._graph[value[0]]["inputs"].values())
            if len(numbers) == 1 and type(numbers[0]) is int:
                return str(numbers[0])
            told = json_text([value[1], list(self._nodes_above(value[0]))], "this graph")
            return hashlib.sha256(told).hexdigest()[:16]
        return str(value)

    def _nodes_above(self, name: str) -> Iterator[Mapping[str, Any]]:
        found, left = set(), [name]
        while left:
            if (name := left.pop()) not in found:
                found.add(name)
                node = self._graph[name]
                left += self._wired(name)
                yield {"class_type": node["class_type"], "inputs": node["inputs"]}

    def _drawn(self, name: str, seeds: list[str]) -> Origin:
        size, first = self._batch(name)
        noises = [f"noise {seed}" for seed in seeds]

        def links(place: Place) -> frozenset[str]:
            number = first + (place.number % size if size else place.within)
            return frozenset(f"{noise} {number}" for noise in noises)

        return Origin(links, dict.fromkeys(noises, name), size)

    def _batch(self, name: str) -> tuple[int | None, int]:
        """How many streams of noise a node draws from, and the first."""
        kind, inputs = self._graph[name]["class_type"], self._graph[name]["inputs"]
        for field in REWORKED:
            if is_link(inputs.get(field), self._graph):
                size, first = self._batch(inputs[field][0])
                if kind in PARTS:
                    start, size = self._range(inputs, size)
                    return size, first + start
                times = self._number(inputs.get("amount")) if kind in REPEATS else 1
                return (size * times if size and times else None), first
        return next((size for field in BATCHES if (size := self._number(inputs.get(field)))), None), 0

    def _number(self, value: Any) -> int | None:
        told = self._known(value)
        return int(told) if told.isdecimal() and len(told) < 16 else None

    def _part(self, origin: Origin, inputs: Mapping[str, Any]) -> Origin:
        """Some pictures of a batch."""
        first, size = self._range(inputs, origin.size)
        if not size:
            return _blurred(origin)
        return Origin(lambda place: origin.links(place.at(first + place.number % size)), origin.seeds, size)

    def _range(self, inputs: Mapping[str, Any], size: int | None) -> tuple[int, int | None]:
        """The first of the pictures that are taken out of a batch, and how many these are."""
        first, length = self._number(inputs.get("batch_index")), self._number(inputs.get("length"))
        if first is None or length is None:
            return 0, None
        return (first, length) if size is None else (min(first, size - 1), min(length, max(1, size - first)))

    def _composed(self, name: str, inputs: Mapping[str, Any]) -> Origin:
        """A scene is of its own seed and of its sprites': of those in it, else of all those of its cast."""
        own = f"scene {self._known(inputs.get('seed'))}"
        size, first = self._number(inputs.get("count")), self._number(inputs.get("first"))
        sprites = self._by(name, ("sprites",)) or NOTHING
        dealt = _dealt(sprites, inputs.get("labels"), self._number(inputs.get("casts")))

        def links(place: Place) -> frozenset[str]:
            number = (first or 0) + (place.number % size if size else place.within)
            told = place.sprites
            if told is None and dealt and first is not None:
                told = dealt[number % len(dealt)]
            if told is None:
                return _blurred(sprites).links(place) | {f"{own} {number}"}
            used = (place._replace(number=each, within=each, sprites=None) for each in told)
            return _all(map(sprites.links, used)) | {f"{own} {number}"}

        return Origin(links, {own: name}, size)


def _merged(origins: list[Origin | None]) -> Origin | None:
    found = list(dict.fromkeys(origin for origin in origins if origin is not None))
    if len(found) < 2:
        return found[0] if found else None
    sizes = [origin.size for origin in found if origin.size]
    seeds = {seed: node for origin in found for seed, node in origin.seeds.items()}
    return Origin(lambda place: _all(each.links(place) for each in found), seeds, max(sizes, default=None))


def _joined(origins: list[Origin | None]) -> Origin | None:
    """Two batches behind each other."""
    merged = _merged(origins)
    sizes = [origin.size if origin else None for origin in origins]
    if merged is None or None in sizes:
        return merged and _blurred(merged)

    def links(place: Place) -> frozenset[str]:
        number = place.number % sum(sizes)
        before = number < sizes[0]
        return origins[0 if before else 1].links(place.at(number if before else number - sizes[0]))

    return Origin(links, merged.seeds, sum(sizes))


def _blurred(origin: Origin) -> Origin:
    """For where the graph does not tell which picture is which: all of a run stay together."""
    return Origin(lambda place: origin.links(place) | origin.whole(), origin.seeds)


def _loaded(inputs: Mapping[str, Any]) -> Origin:
    """Each picture of a list is of one in the folder; where they are not as many, each may be of any."""
    sources = links_of(inputs)

    def links(place: Place) -> frozenset[str]:
        return frozenset(sources[place.batch]) if place.batches == len(sources) else _all(map(frozenset, sources))

    return Origin(links, {})


def _dealt(sprites: Origin, labels: Any, count: int | None) -> list[list[int]]:
    """The numbers of the sprites of each cast; nothing where the graph does not tell."""
    if not sprites.size or not count or not isinstance(labels, str):
        return []
    try:
        return casts(names_of(labels, sprites.size), count)
    except ValueError:
        return []


def _all(links: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*links)
