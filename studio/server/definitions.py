"""What the front end needs to know of every node (GET /object_info)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PACK = "custom_nodes.varifold"
OPTIONAL = {
    "OUTPUT_TOOLTIPS": "output_tooltips",
    "DEPRECATED": "deprecated",
    "EXPERIMENTAL": "experimental",
    "ESSENTIALS_CATEGORY": "essentials_category",
}


def definition(node_id: str, cls: type, title: str) -> dict[str, Any]:
    """One node's entry; `python_module` tells the front end whose help pages and badge it has."""
    inputs = cls.INPUT_TYPES()
    outputs = list(cls.RETURN_TYPES)
    entry = {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "is_input_list": getattr(cls, "INPUT_IS_LIST", False),
        "output": outputs,
        "output_is_list": list(getattr(cls, "OUTPUT_IS_LIST", [False] * len(outputs))),
        "output_name": list(getattr(cls, "RETURN_NAMES", outputs)),
        "name": node_id,
        "display_name": title,
        "description": getattr(cls, "DESCRIPTION", ""),
        "python_module": PACK if node_id.startswith("Varifold") else "nodes",
        "category": getattr(cls, "CATEGORY", ""),
        "output_node": getattr(cls, "OUTPUT_NODE", False) is True,
        "search_aliases": getattr(cls, "SEARCH_ALIASES", []),
    }
    return entry | {name: getattr(cls, own) for own, name in OPTIONAL.items() if hasattr(cls, own)}


def definitions(nodes: dict[str, type], names: dict[str, str], only: Iterable[str] | None = None) -> dict[str, dict]:
    """The entries of all nodes, or of some."""
    wanted = nodes if only is None else [node_id for node_id in only if node_id in nodes]
    return {node_id: definition(node_id, nodes[node_id], names.get(node_id, node_id)) for node_id in wanted}
