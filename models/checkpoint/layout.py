"""What a layout finds in a checkpoint. Each layout is a function header -> Match or None, in a file of its own."""

from dataclasses import dataclass

from .spec import Spec


@dataclass(frozen=True)
class Match:
    """A layout that reads the file: `keys` maps the net's names to the file's; `proof` and `doubts` are sentences."""

    family: str
    spec: Spec
    keys: dict[str, str]
    proof: str
    doubts: tuple[str, ...] = ()
