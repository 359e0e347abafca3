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


def check_levels(config: Any) -> None:
    """Raise ValueError unless `multipliers` and `width` are those of a pyramid of levels, each of half the size."""
    if not 1 <= len(config.multipliers) <= 6:
        raise ValueError(f"multipliers should name 1 to 6 levels, not {len(config.multipliers)}")
    for multiplier in config.multipliers:
        check_number("every multiplier", multiplier, 1, 16)
    if config.width % 16:
        raise ValueError(f"width should be a multiple of 16, not {config.width}")


def check_sides(config: Any) -> None:
    """The same for `sides`, the height and width of pictures that are shrunk to `grid`."""
    if len(config.sides) != 2:
        raise ValueError(f"sides should be a height and a width, not {len(config.sides)} numbers")
    for side in config.sides:
        check_number("every side", side, 1, 1024)
        if side % shrunk_by(config):
            raise ValueError(f"every side should be a multiple of {shrunk_by(config)}, not {side}")


def shrunk_by(config: Any) -> int:
    """How many pixels of a side become one of the lowest level."""
    return config.patch * 2 ** (len(config.multipliers) - 1)
