"""What a net's config may hold, checked by the config itself: it may come from any file."""

from collections.abc import Mapping, Sequence
from typing import Any


def check_number(name: str, value: Any, low: int, high: int) -> None:
    """Raise ValueError unless `value` is a whole number in bounds."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} should be a whole number from {low} to {high}, not {value!r:.80}")


def check_numbers(config: Any, limits: Mapping[str, tuple[int, int]]) -> None:
    """The same for each field of `limits`."""
    for name, (low, high) in limits.items():
        check_number(name, getattr(config, name), low, high)


def check_flags(config: Any, names: Sequence[str]) -> None:
    """Raise ValueError unless these fields are true or false."""
    for name in names:
        if type(getattr(config, name)) is not bool:
            raise ValueError(f"{name} should be true or false, not {getattr(config, name)!r:.80}")


def make_tuples(config: Any, names: Sequence[str]) -> None:
    """Make these fields of a frozen config tuples. Raises ValueError for what is no list."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name} should be a list of whole numbers, not {value!r:.80}")
        object.__setattr__(config, name, tuple(value))
