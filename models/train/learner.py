"""What is to be learned: one family of models, as a training sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor, nn


class Learner(Protocol):
    """The losses of a family, the net that is kept of them, and what that net is good for.

    `players`: see `loop.Loop`. `judged` tells whether a lower loss of the first of them on other pictures means a
    better net. `asked` is what would have to be the same for a training to be taken up, as JSON; its "family" names the
    file.
    """

    players: dict[str, nn.Module]
    kept: nn.Module
    judged: bool
    asked: dict

    def pictures(self, net: nn.Module) -> Tensor:
        """What such a net makes, always from the same seeds: colours [N, H, W, 3 or 4] in 0..1 for a sheet."""

    def save(self, path: Path, net: nn.Module) -> None:
        """Writes such a net as a Varifold checkpoint; a file already there stays whole until the new one is."""
