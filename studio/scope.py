"""One level of a UI graph: the root, or one instance of a subgraph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import WorkflowError
from .widgets import Place, is_control

INPUT_NODE, OUTPUT_NODE = "-10", "-20"


class Edge(NamedTuple):
    id: str
    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True)
class Scope:
    """`by_input` and `by_widget` hold what the instance sets in place of the values inside it."""

    path: tuple[str, ...]
    definition: dict
    nodes: dict[str, dict]
    edges: dict[str, Edge]
    parent: Scope | None = None
    instance: dict | None = None
    by_input: dict[str, Place] = field(default_factory=dict)
    by_widget: dict[tuple[str, str], Place] = field(default_factory=dict)

    def id_of(self, node: dict) -> str:
        return ":".join((*self.path, str(node["id"])))

    def output_link(self, slot: int) -> str | None:
        """The link inside a subgraph that feeds its output `slot`."""
        inside = (e.id for e in self.edges.values() if (e.target, e.target_slot) == (OUTPUT_NODE, slot))
        return next(inside, None)


def root_scope(document: dict) -> Scope:
    return Scope((), document, _nodes(document), _edges(document))


def instance_scope(parent: Scope, instance: dict, definition: dict) -> Scope:
    nodes, edges = _nodes(definition), _edges(definition)
    by_input, by_widget = _promoted(instance, definition, nodes, edges)
    instance_id = str(instance["id"])
    by_input |= {name: place for (node, name), place in parent.by_widget.items() if node == instance_id}
    path = (*parent.path, instance_id)
    return Scope(path, definition, nodes, edges, parent, instance, by_input, by_widget)


def entries(owner: dict, key: str) -> list[dict]:
    """The objects in a list of the document; anything else in it is ignored."""
    value = owner.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def saved_link(node: dict, name: str) -> str | None:
    """The link of the input `name` as it was saved."""
    links = (slot.get("link") for slot in entries(node, "inputs") if slot.get("name") == name)
    return next((str(link) for link in links if link is not None), None)


def _nodes(graph: dict) -> dict[str, dict]:
    nodes: dict[str, dict] = {}
    for node in entries(graph, "nodes"):
        if not isinstance(node.get("id"), (int, str)) or not isinstance(node.get("type"), str):
            raise WorkflowError(f"a node without an id or a type: {json.dumps(node)[:120]}")
        if str(node["id"]) in nodes:
            raise WorkflowError(f"two nodes have the id {node['id']}; save the workflow again in ComfyUI")
        nodes[str(node["id"])] = node
    return nodes


def _edges(graph: dict) -> dict[str, Edge]:
    links = graph.get("links")
    if isinstance(links, dict):
        links = list(links.values())
    if not isinstance(links, list):
        return {}
    return {edge.id: edge for link in links if (edge := _edge(link))}


def _edge(link: Any) -> Edge | None:
    if isinstance(link, dict):
        link = [link.get(k) for k in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    if not isinstance(link, list) or len(link) < 5:
        return None
    number, origin, origin_slot, target, target_slot = link[:5]
    try:
        return Edge(str(number), str(origin), int(origin_slot), str(target), int(target_slot))
    except (TypeError, ValueError):
        return None


def _promoted(instance: dict, definition: dict, nodes: dict, edges: dict) -> tuple[dict, dict]:
    """The widgets of an instance: those of subgraph inputs by name, others by (inner node, widget)."""
    by_input: dict[str, Place] = {}
    by_widget: dict[tuple[str, str], Place] = {}
    values = instance.get("widgets_values")
    if isinstance(values, dict):
        return {name: Place(values, name) for name in values}, {}
    if not isinstance(values, list):
        return {}, {}
    proxies = _proxies(instance)
    for position, (node_id, name) in enumerate(proxies):
        if position < len(values) and values[position] is not None:
            if node_id == "-1":
                by_input[name] = Place(values, position)
            else:
                by_widget[node_id, name] = Place(values, position)
    if not proxies:
        names = list(_widget_inputs(definition, nodes, edges))
        position, has_controls = 0, len(values) > len(names)
        for name in names:
            if position < len(values) and values[position] is not None:
                by_input[name] = Place(values, position)
            position += 1
            if has_controls and is_control(values, position):
                position += 1
    return by_input, by_widget


def _proxies(instance: dict) -> list[tuple[str, str]]:
    """`properties.proxyWidgets`: [[inner node, widget], ...]; "-1" stands for the subgraph's inputs."""
    properties = instance.get("properties")
    proxies = properties.get("proxyWidgets") if isinstance(properties, dict) else None
    if isinstance(proxies, str):
        try:
            proxies = json.loads(proxies)
        except ValueError:
            return []
    if not isinstance(proxies, list):
        return []
    pairs = [entry[:2] for entry in proxies if isinstance(entry, list) and len(entry) >= 2]
    return [(str(node), re.sub(r"^(\s*\d+\s*:\s*)+", "", str(name))) for node, name in pairs]


def _widget_inputs(definition: dict, nodes: dict, edges: dict[str, Edge]) -> Iterator[str]:
    """Names of the subgraph's inputs that lead to a widget."""
    for slot, declared in enumerate(entries(definition, "inputs")):
        for edge in edges.values():
            if (edge.origin, edge.origin_slot) == (INPUT_NODE, slot):
                inside = entries(nodes.get(edge.target, {}), "inputs")
                if any(str(entry.get("link")) == edge.id and entry.get("widget") for entry in inside):
                    yield str(declared.get("name"))
                    break
