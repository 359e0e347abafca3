"""The API form of a workflow: {id: {class_type, inputs, _meta}}; an input is a constant or [id, slot]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .declared import inputs_of
from .errors import WorkflowError


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def constant(value: Any) -> Any:
    """The front end wraps list values, because a bare list is a link."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def clean(document: dict) -> dict:
    """A prompt as read from a file, checked for shape and rid of what ComfyUI leaves in it."""
    prompt = {}
    for node_id, node in document.items():
        if not isinstance(node, dict) or not isinstance(node.get("inputs", {}), dict):
            raise WorkflowError(f"node {node_id!r} should be an object with class_type and inputs")
        if not isinstance(node.get("class_type"), str):
            raise WorkflowError(f"node {node_id!r} has no class_type; save the workflow again in ComfyUI")
        inputs = {name: _link(value) for name, value in node.get("inputs", {}).items()}
        prompt[node_id] = {"inputs": inputs, "class_type": node["class_type"]}
        if isinstance(node.get("_meta"), dict):
            prompt[node_id]["_meta"] = node["_meta"]
    return prompt


def _link(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and type(value[0]) is int and type(value[1]) is int:
        return [str(value[0]), value[1]]
    return value


def links(node: dict, cls: type) -> Iterator[tuple[str, str, int]]:
    """Links into declared inputs: (input name, origin id, origin slot)."""
    for name, declared in inputs_of(cls).items():
        value = node["inputs"].get(name)
        if is_link(value) and not declared.options.get("rawLink"):
            yield name, value[0], value[1]


def ancestors(
    roots: Iterable[str], prompt: dict[str, dict], nodes: dict[str, type]
) -> tuple[list[str], list[list[str]]]:
    """All nodes that `roots` depend on, roots included, parents first; and the cycles among them."""

    def parents(node_id: str) -> Iterator[str]:
        node = prompt[node_id]
        return (origin for _, origin, _ in links(node, nodes[node["class_type"]]) if origin in prompt)

    order: list[str] = []
    done: set[str] = set()
    cycles: list[list[str]] = []
    for root in roots:
        if root in done:
            continue
        path, waiting = [root], [parents(root)]
        while path:
            parent = next(waiting[-1], None)
            if parent is None:
                waiting.pop()
                done.add(path[-1])
                order.append(path.pop())
            elif parent in path:
                cycles.append([*path[path.index(parent) :], parent])
            elif parent not in done:
                path.append(parent)
                waiting.append(parents(parent))
    return order, cycles
