"""UI form to API form, as ComfyUI's front end does it when a workflow is queued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .declared import inputs_of
from .errors import WorkflowError
from .scope import INPUT_NODE, Scope, entries, instance_scope, root_scope, saved_link
from .widgets import Place, widget_places

MUTED, BYPASSED = 2, 4
NOTES = {"Note", "MarkdownNote"}
VIRTUAL = {"Reroute", "PrimitiveNode", *NOTES}
MOST_NODES = 50_000


@dataclass(frozen=True)
class Flat:
    """A prompt; the place in the document of each constant in it; the pack that each node comes from."""

    prompt: dict[str, dict] = field(default_factory=dict)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    packs: dict[str, str] = field(default_factory=dict)


class Slot(NamedTuple):
    name: str
    type: str
    link: str | None


def flatten(document: dict, nodes: dict[str, type], titles: dict[str, str] | None = None) -> Flat:
    """Expand subgraphs, follow reroutes, primitives and bypassed nodes, drop muted ones, name widget values.

    `titles`: display names by node type, for nodes that the user has not renamed. Raises WorkflowError for
    subgraphs that contain themselves and for links that run in a circle.
    """
    return _Flattener(document, nodes, titles or {}).run()


class _Flattener:
    def __init__(self, document: dict, nodes: dict[str, type], titles: dict[str, str]):
        definitions = document.get("definitions")
        subgraphs = entries(definitions, "subgraphs") if isinstance(definitions, dict) else []
        self.definitions = {str(subgraph.get("id")): subgraph for subgraph in subgraphs}
        self.titles = titles
        self.declared = {name: inputs_of(nodes[name]) for name in _types(document, subgraphs) if name in nodes}
        self.root = root_scope(document)
        self.scopes: dict[tuple[str, ...], Scope] = {}
        self.flat = Flat()

    def run(self) -> Flat:
        for scope, node in self._nodes(self.root):
            self._add(scope, node)
        prompt = self.flat.prompt
        for node in prompt.values():
            node["inputs"] = {
                name: value
                for name, value in node["inputs"].items()
                if not isinstance(value, list) or value[0] in prompt
            }
        return self.flat

    def _nodes(self, scope: Scope) -> Iterator[tuple[Scope, dict]]:
        """The nodes that may run, in the front end's order; those of a subgraph in place of its instance."""
        waiting = [(scope, node) for node in reversed(_ordered(scope))]
        count = 0
        while waiting:
            scope, node = waiting.pop()
            count += 1
            if count > MOST_NODES:
                raise WorkflowError(f"the subgraphs unfold into more than {MOST_NODES} nodes")
            if node.get("mode") in (MUTED, BYPASSED) or node["type"] in VIRTUAL:
                continue
            if node["type"] in self.definitions:
                inner = self._inside(scope, node)
                waiting += [(inner, node) for node in reversed(_ordered(inner))]
            else:
                yield scope, node

    def _inside(self, scope: Scope, instance: dict) -> Scope:
        path = (*scope.path, str(instance["id"]))
        if path not in self.scopes:
            definition = self.definitions[instance["type"]]
            outer: Scope | None = scope
            while outer is not None:
                if outer.definition is definition:
                    name = definition.get("name", instance["type"])
                    raise WorkflowError(f"the subgraph '{name}' contains itself (node {':'.join(path)})")
                outer = outer.parent
            self.scopes[path] = instance_scope(scope, instance, definition)
        return self.scopes[path]

    def _add(self, scope: Scope, node: dict) -> None:
        node_id, class_type = scope.id_of(node), node["type"]
        found: dict[str, Any] = {}
        for name, place in widget_places(node, self.declared.get(class_type, {})):
            found[name] = scope.by_widget.get((str(node["id"]), name), place)
        for slot in self._slots(node):
            source = self._source(scope, slot)
            if source is not None:
                found[slot.name] = source
        inputs = {}
        for name, source in found.items():
            if isinstance(source, Place):
                self.flat.places[node_id, name] = source
                source = {"__value__": source.value} if isinstance(source.value, list) else source.value
            inputs[name] = source
        title = node.get("title") or self.titles.get(class_type, class_type)
        self.flat.prompt[node_id] = {"inputs": inputs, "class_type": class_type, "_meta": {"title": title}}
        properties = node.get("properties")
        if isinstance(properties, dict):
            pack = properties.get("cnr_id") or properties.get("aux_id")
            if isinstance(pack, str):
                self.flat.packs[node_id] = pack

    def _slots(self, node: dict) -> list[Slot]:
        """All inputs as the front end sees them: the declared ones, then what else was saved."""
        definition = self.definitions.get(node["type"])
        if definition is not None:
            declared = [(str(s.get("name")), str(s.get("type"))) for s in entries(definition, "inputs")]
        else:
            declared = [(d.name, d.socket) for d in self.declared.get(node["type"], {}).values()]
        names = {name for name, _ in declared}
        declared += [
            (str(slot.get("name")), str(slot.get("type", "*")))
            for slot in entries(node, "inputs")
            if str(slot.get("name")) not in names
        ]
        return [Slot(name, kind, saved_link(node, name)) for name, kind in declared]

    def _source(self, scope: Scope, slot: Slot) -> Place | list | None:
        """What feeds an input: a value of the document, [id, slot] of a node, or nothing."""
        link, override, seen = slot.link, None, set()
        while link is not None and link in scope.edges:
            if (scope.path, link) in seen:
                raise WorkflowError(f"the link {link} into input '{slot.name}' runs in a circle")
            seen.add((scope.path, link))
            edge = scope.edges[link]
            if scope.parent is not None and edge.origin == INPUT_NODE:
                names = [str(entry.get("name")) for entry in entries(scope.definition, "inputs")]
                if not 0 <= edge.origin_slot < len(names):
                    return None
                name = names[edge.origin_slot]
                override = scope.by_input.get(name, override)
                link, scope = saved_link(scope.instance, name), scope.parent
                continue
            node = scope.nodes.get(edge.origin)
            if node is None:
                return None
            kind = node["type"]
            if kind == "PrimitiveNode":
                values = node.get("widgets_values")
                own = Place(values, 0) if isinstance(values, list) and values else None
                return scope.by_widget.get((edge.origin, "value"), own)
            if node.get("mode") == BYPASSED:
                link = self._bypass(node, edge.origin_slot, slot.type)
            elif kind == "Reroute":
                link = next((entry.link for entry in self._slots(node)), None)
            elif kind in NOTES:
                return None
            elif kind in self.definitions and node.get("mode") != MUTED:
                scope = self._inside(scope, node)
                link = scope.output_link(edge.origin_slot)
            else:
                return [scope.id_of(node), edge.origin_slot]
        return override

    def _bypass(self, node: dict, slot: int, wanted: str) -> str | None:
        """The link of the input that a bypassed node passes on: same place first, then same type."""
        inputs = self._slots(node)
        if wanted in ("*", ""):
            chosen = inputs[slot : slot + 1] or inputs[:1]
            return chosen[0].link if chosen else None
        outputs = entries(node, "outputs")
        given = str(outputs[slot].get("type", "*")) if slot < len(outputs) else wanted

        def fits(entry: Slot) -> bool:
            return connects(entry.type, given) and connects(entry.type, wanted)

        candidates = [
            *(entry for entry in inputs[slot : slot + 1] if fits(entry)),
            *(entry for entry in inputs if entry.type == wanted),
            *(entry for entry in inputs if fits(entry)),
        ]
        return candidates[0].link if candidates else None


def connects(one: str, other: str) -> bool:
    """Whether litegraph lets two slot types be linked: any type, the same type, or a common one."""
    if "*" in (one, other) or "" in (one, other):
        return True
    return bool({t.strip().lower() for t in one.split(",")} & {t.strip().lower() for t in other.split(",")})


def _types(document: dict, subgraphs: list[dict]) -> set[str]:
    return {str(node.get("type")) for graph in (document, *subgraphs) for node in entries(graph, "nodes")}


def _ordered(scope: Scope) -> list[dict]:
    def order(node: dict) -> int:
        return node["order"] if isinstance(node.get("order"), int) else 0

    return sorted(scope.nodes.values(), key=order)
