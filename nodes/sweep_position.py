"""Where in a sweep a prompt stands: what tells its pictures from those of the other chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .sweep import Chunk, Sweep, VarifoldSweep, sweep_of


class Position(NamedTuple):
    """`node` is the Sweep's id, `index` the chunk of `sweep` that it stands at."""

    node: str
    sweep: Sweep
    index: int

    @property
    def chunk(self) -> Chunk:
        return self.sweep[self.index]

    def filled_in(self, prompt: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The same prompt with what the Sweep gives, in place of links to it: a list's text stands for the list."""
        chunk = self.chunk
        given = {**chunk._asdict(), "batch": chunk.count, "labels": chunk.label, "captions": chunk.prompt}
        given["chunks"] = len(self.sweep)

        def value(held: Any) -> Any:
            is_ours = isinstance(held, list) and len(held) == 2 and held[0] == self.node
            return given[VarifoldSweep.RETURN_NAMES[held[1]]] if is_ours else held

        return {
            name: {**node, "inputs": {field: value(held) for field, held in node["inputs"].items()}}
            for name, node in prompt.items()
        }


def position_of(prompt: Mapping[str, Mapping[str, Any]]) -> Position | None:
    """The position of a prompt in API form; None without a Sweep.

    Raises ValueError for several Sweeps, and for one with a wired input: its chunks cannot be told beforehand.
    """
    nodes = [name for name, node in prompt.items() if node["class_type"] == VarifoldSweep.__name__]
    if not nodes:
        return None
    if len(nodes) > 1:
        raise ValueError(f"there are {len(nodes)} Sweeps (ids {', '.join(nodes)}): a workflow makes one sweep")
    inputs = prompt[nodes[0]]["inputs"]
    wired = [name for name, value in inputs.items() if isinstance(value, (list, dict))]
    if wired:
        raise ValueError(f"Sweep (id {nodes[0]}): write {', '.join(wired)} into the node instead of wiring it")
    try:
        return Position(nodes[0], sweep_of(inputs), int(inputs["index"]))
    except KeyError as error:
        raise ValueError(f"Sweep (id {nodes[0]}) has no {error}: save the workflow again") from error


def moved_to(prompt: Mapping[str, Mapping[str, Any]], index: int) -> dict[str, Any]:
    """The same prompt with its Sweep at another chunk: at 0, it is the same for all chunks."""
    position = position_of(prompt)
    if position is None:
        return dict(prompt)
    node = prompt[position.node]
    return {**prompt, position.node: {**node, "inputs": {**node["inputs"], "index": index}}}
