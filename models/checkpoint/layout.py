"""What a layout says of a file that it can read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .spec import Spec


class Source(NamedTuple):
    """Where a tensor of a net comes from: `keys` of the file, joined along their first dimension.

    With `swapped` the second of its two halves comes first.
    """

    keys: tuple[str, ...]
    swapped: bool = False


@dataclass(frozen=True)
class Match:
    """A layout that reads the file: `source` tells where each tensor of the net is; `proof` and `doubts` are sentences.

    `source` raises KeyError for a name that it does not know. `others` are readings that the user may choose where the
    file cannot tell, one for each prediction. `spare` are tensors that no net needs: copies, marks, and what is
    computed.
    """

    family: str
    spec: Spec
    source: Callable[[str], Source]
    proof: str
    doubts: tuple[str, ...] = ()
    others: tuple[Spec, ...] = ()
    spare: frozenset[str] = frozenset()
