"""What a node class declares about its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

DEFAULTS = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}
UNSAVED = {"IMAGECOMPARE": ["", ""]}
"""Types of widgets that are sent with a prompt but not saved with a workflow, and what they hold when new."""


class Declared(NamedTuple):
    """One entry of INPUT_TYPES. `type` is a name, or the list of choices of a combo box."""

    name: str
    type: Any
    options: dict
    required: bool

    @property
    def choices(self) -> list | None:
        if isinstance(self.type, (list, tuple)):
            return list(self.type)
        return list(self.options.get("options", [])) if self.type == "COMBO" else None

    @property
    def socket(self) -> str:
        return "COMBO" if self.choices is not None else str(self.type)

    @property
    def is_widget(self) -> bool:
        """Whether the front end gives it a widget. A default on a custom type means a custom widget."""
        if self.options.get("forceInput") or self.options.get("rawLink"):
            return False
        kind = self.options.get("widgetType", self.socket)
        return kind in DEFAULTS or kind == "COMBO" or "default" in self.options

    @property
    def default(self) -> Any:
        fallback = (self.choices or [None])[0] if self.choices is not None else DEFAULTS.get(self.socket)
        return self.options.get("default", fallback)

    @property
    def has_control(self) -> bool:
        """Whether the front end puts a control_after_generate widget behind it."""
        guess = self.socket == "INT" and self.name in ("seed", "noise_seed")
        return bool(self.options.get("control_after_generate", guess))


def inputs_of(cls: type) -> dict[str, Declared]:
    """Required, then optional inputs, in the order in which the front end lays them out."""
    return {declared.name: declared for declared in _inputs(cls)}


def _inputs(cls: type) -> Iterator[Declared]:
    declared = cls.INPUT_TYPES()
    for category in ("required", "optional"):
        for name, (kind, *options) in declared.get(category, {}).items():
            yield Declared(name, kind, options[0] if options else {}, category == "required")


def hidden_of(cls: type) -> dict[str, str]:
    """Hidden inputs: parameter name -> what it asks for (PROMPT, UNIQUE_ID, ...)."""
    return {
        name: kind if isinstance(kind, str) else kind[0] for name, kind in cls.INPUT_TYPES().get("hidden", {}).items()
    }


def is_output(cls: type) -> bool:
    return getattr(cls, "OUTPUT_NODE", False) is True
