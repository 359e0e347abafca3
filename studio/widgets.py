"""Where the value of a widget lies in the UI form of a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .declared import UNSAVED, Declared

CONTROLS = {"fixed", "increment", "decrement", "randomize", "increment-wrap"}


class Place(NamedTuple):
    """A value inside the document, so that it can be changed there too."""

    container: Any
    key: Any

    @property
    def value(self) -> Any:
        return self.container[self.key]

    def set(self, value: Any) -> None:
        self.container[self.key] = value


def widget_places(node: dict, inputs: dict[str, Declared]) -> Iterator[tuple[str, Place]]:
    """Each widget of a node with its value: by name, by position, or the default where there is none.

    After a seed comes an entry for control_after_generate (and after a combo box with one, its filter). An
    input that is linked keeps its entry; one that is only ever a socket has none, nor has what is never saved.
    """
    values = node.get("widgets_values")
    position = 0
    for name, declared in inputs.items():
        if declared.socket in UNSAVED:
            yield name, Place([list(UNSAVED[declared.socket])], 0)
            continue
        if not declared.is_widget:
            continue
        if isinstance(values, dict):
            yield name, Place(values, name) if name in values else Place([declared.default], 0)
            continue
        present = isinstance(values, list) and position < len(values)
        yield name, Place(values, position) if present else Place([declared.default], 0)
        position += 1
        if declared.has_control and is_control(values, position):
            position += 1 if declared.choices is None else 2


def is_control(values: Any, position: int) -> bool:
    if not isinstance(values, list) or position >= len(values):
        return False
    return isinstance(values[position], str) and values[position] in CONTROLS
