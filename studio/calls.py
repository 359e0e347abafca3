"""How ComfyUI calls a node: every input is a list, and the node is mapped over them."""

from __future__ import annotations

from collections.abc import Callable

from .declared import hidden_of, inputs_of
from .prompt import constant, is_link


def constants(node_id: str, node: dict, cls: type) -> dict[str, list]:
    """Arguments for VALIDATE_INPUTS and IS_CHANGED, which run before anything does: None stands for a link."""
    arguments = {
        name: [None if is_link(node["inputs"][name]) else constant(node["inputs"][name])]
        for name in inputs_of(cls)
        if name in node["inputs"]
    }
    early = {"UNIQUE_ID": node_id, "PROMPT": {}, "EXTRA_PNGINFO": None}
    for name, kind in hidden_of(cls).items():
        if kind in early:
            arguments[name] = [early[kind]]
    return arguments


def map_over_lists(function: Callable, arguments: dict[str, list], takes_lists: bool) -> list:
    """Call once per element; shorter lists repeat their last. `takes_lists`: once, with the lists themselves."""
    if takes_lists:
        return [function(**arguments)]
    empty = [name for name, values in arguments.items() if len(values) == 0]
    if empty:
        raise ValueError(f"input '{empty[0]}' is an empty list, so there is nothing to run on")
    return [
        function(**{name: values[min(index, len(values) - 1)] for name, values in arguments.items()})
        for index in range(max(map(len, arguments.values()), default=1))
    ]


def merge(returned: list, cls: type) -> tuple[list[list], dict]:
    """What the calls of one node returned -> (a list of values for each output, the ui dict)."""
    rows, shown = [], []
    for value in returned:
        if isinstance(value, dict):
            if "expand" in value:
                raise ValueError("this node expands into other nodes; run this workflow in ComfyUI")
            if "ui" in value:
                shown.append(value["ui"])
            value = value.get("result")
        rows.append(() if value is None else value)
    width = len(cls.RETURN_TYPES)
    if width and not all(isinstance(row, (tuple, list)) for row in rows):
        raise TypeError(f"{cls.__name__} returned {type(rows[0]).__name__} where ComfyUI wants a tuple")
    are_lists = getattr(cls, "OUTPUT_IS_LIST", (False,) * width)
    outputs = []
    for slot in range(min((len(row) for row in rows), default=0)):
        values = [row[slot] for row in rows]
        if slot < len(are_lists) and are_lists[slot]:
            values = [element for value in values for element in value]
        outputs.append(values)
    ui = {key: [entry for part in shown for entry in part.get(key, ())] for key in (shown[0] if shown else ())}
    return outputs, ui
