"""`--set NODE.INPUT=VALUE`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .declared import Declared, inputs_of
from .errors import SettingError, name_node, title_of
from .prompt import is_link
from .widgets import Place


def apply(
    settings: Iterable[str],
    prompt: dict[str, dict],
    nodes: dict[str, type],
    places: dict[tuple[str, str], Place] | None = None,
) -> None:
    """Change constants of the prompt, and of the document behind it at `places`, in place.

    NODE is an id, a title or a node type, and must mean one node. Raises SettingError, which lists what there is.
    """
    for setting in settings:
        target, equals, text = setting.partition("=")
        node_text, dot, name = target.rpartition(".")
        if not (equals and dot and node_text and name):
            raise SettingError(f"--set {setting}: write it as NODE.INPUT=VALUE, for example 3.seed=7")
        node_id = _find(node_text, prompt)
        node = prompt[node_id]
        declared = inputs_of(nodes[node["class_type"]]) if node["class_type"] in nodes else {}
        label = name_node(node_id, node["class_type"], title_of(node))
        if name not in declared:
            raise SettingError(f"--set {setting}: node {label} has no input '{name}'; it has {_list(declared)}")
        current = node["inputs"].get(name)
        if is_link(current):
            raise SettingError(
                f"--set {setting}: input '{name}' of node {label} is fed by node {current[0]}; "
                "set an input of that node, or unlink it in the workflow"
            )
        if not declared[name].is_widget:
            raise SettingError(f"--set {setting}: input '{name}' is a socket and takes a link, not a value")
        value = _parse(text, declared[name], setting)
        node["inputs"][name] = value
        if places and (node_id, name) in places:
            places[node_id, name].set(value)


def _find(text: str, prompt: dict[str, dict]) -> str:
    if text in prompt:
        return text
    for what in (title_of, lambda node: node["class_type"]):
        found = [node_id for node_id, node in prompt.items() if what(node) == text]
        if len(found) == 1:
            return found[0]
        if found:
            raise SettingError(f"--set: '{text}' means several nodes; use an id: {', '.join(found)}")
    there = "\n".join(f"  {name_node(k, node['class_type'], title_of(node))}" for k, node in prompt.items())
    raise SettingError(f"--set: no node is called '{text}'. There are:\n{there}")


def _parse(text: str, declared: Declared, setting: str) -> Any:
    if declared.choices is not None:
        return next((choice for choice in declared.choices if str(choice) == text), text)
    if declared.type not in ("INT", "FLOAT", "BOOLEAN"):
        return text
    wanted = {"INT": int, "FLOAT": (int, float), "BOOLEAN": bool}[declared.type]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, wanted) or (isinstance(value, bool) and declared.type != "BOOLEAN"):
        raise SettingError(f"--set {setting}: '{declared.name}' wants {_EXAMPLES[declared.type]}")
    return value


_EXAMPLES = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}


def _list(declared: dict[str, Declared]) -> str:
    return ", ".join(name for name, entry in declared.items() if entry.is_widget) or "none that can be set"
