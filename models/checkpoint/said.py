"""What a file says of itself in JSON, checked field by field: it may come from anywhere."""

import json
from dataclasses import asdict, fields
from typing import Any, TypeVar

from .errors import quote

MAX_WORDS = 65536
MAX_WORD, MAX_LABEL = 64, 256  # letters; a class may have several names
MAX_SIDE = 16384
MAX_TEXT = 4096
MAX_DEPTH = 32

Said = TypeVar("Said")


def to_json(said: Any) -> str:
    """A dataclass as JSON; fields of newer versions, in its `extra`, come again."""
    return json.dumps({**said.extra, **{k: v for k, v in asdict(said).items() if k != "extra"}}, ensure_ascii=False)


def from_json(kind: type[Said], text: str, key: str, version: int, needed: set[str]) -> Said:
    """Reads what `to_json` writes, found under `key`. Raises ValueError with the field and the reason."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{key} is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError(f"{key} is not a JSON object")
    if not _is_shallow(values):
        raise ValueError(f"{key} is nested more than {MAX_DEPTH} deep")
    own = values.get("version")
    if type(own) is int and own > version:
        raise ValueError(f"{key} is of version {quote(own)}, newer than this Varifold's {version}: update Varifold")
    known = {field.name for field in fields(kind)} - {"extra"}
    if missing := needed - set(values):
        raise ValueError(f"{key} lacks {', '.join(sorted(missing))}")
    extra = {name: value for name, value in values.items() if name not in known}
    return kind(**{name: value for name, value in values.items() if name in known}, extra=extra)


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise ValueError, naming the field, unless the condition holds."""
    if not condition:
        raise ValueError(f"{name} should be {expected}, and is {quote(value)}")


def check_version(said: Any, version: int) -> None:
    """Raise ValueError for a version that there is not."""
    require(type(said.version) is int and 1 <= said.version <= version, "version", said.version, f"1 to {version}")


def check_texts(said: Any, names: tuple[str, ...]) -> None:
    """The same for fields that are no printable texts."""
    for name in names:
        require(is_text(getattr(said, name), MAX_TEXT), name, getattr(said, name), "a printable text")


def make_lists(said: Any, names: tuple[str, ...]) -> None:
    """Make these fields of a frozen dataclass tuples. Raises ValueError for what is no list."""
    for name in names:
        value = getattr(said, name)
        require(isinstance(value, (list, tuple)), name, value, "a list")
        object.__setattr__(said, name, tuple(value))


def check_shape(said: Any, channels: int) -> None:
    """Raise ValueError unless `shape` is [channels, height, width], of so many channels."""
    sides = all(type(side) is int and 0 < side <= MAX_SIDE for side in said.shape)
    require(sides and len(said.shape) == 3, "shape", said.shape, "[channels, height, width]")
    require(said.shape[0] == channels, "channels", said.channels, "as many as shape says")


def check_words(said: Any, name: str, longest: int) -> None:
    """Raise ValueError unless a field is a list of words or names of at most so many letters."""
    words = getattr(said, name)
    fine = len(words) <= MAX_WORDS and all(is_text(word, longest) and word for word in words)
    require(fine, name, words, f"a list of texts of at most {longest} letters")


def check_vocabulary(said: Any) -> None:
    """The same for `vocabulary`, whose words must differ."""
    check_words(said, "vocabulary", MAX_WORD)
    require(
        len(set(said.vocabulary)) == len(said.vocabulary), "vocabulary", said.vocabulary, "a list of different words"
    )


def is_text(value: object, limit: int) -> bool:
    """Whether it is a printable text of at most so many letters."""
    return isinstance(value, str) and len(value) <= limit and all(c.isprintable() or c == "\n" for c in value)


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        tables = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [each for table in tables for each in table]
    return not level
