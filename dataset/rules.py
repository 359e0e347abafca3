"""What is let into a set, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .filters import Filters
from .metadata import Encoding


@dataclass(frozen=True)
class Rules:
    """quotas: class -> how many live samples are wanted; a class without one has no limit. duplicate: in how many of 64
    bits a picture may differ from a live one of the same colours and still be rejected as its duplicate, 0..7; None
    lets all in. near: in how many it may differ, of any colours, and still be kept in the same split, 0..7 or None.
    """

    filters: Filters = field(default_factory=Filters)
    quotas: Mapping[str, int] = field(default_factory=dict)
    duplicate: int | None = 2
    near: int | None = 7
    encoding: Encoding = field(default_factory=Encoding)

    @property
    def of_a_shard(self) -> Rules:
        """The rules for a part of a run: duplicates and quotas are the whole's affair, when it is merged."""
        return replace(self, quotas={}, duplicate=None)
