"""How a set is to be completed, kept beside its ledger, so that it can be done without the graph."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .files import sync_file, sync_folder
from .filters import Filters
from .metadata import Encoding
from .provenance import json_text
from .rules import Rules
from .sample import SPLITS
from .splits import SHARES, check_shares
from .store import Store
from .views import FORMATS, Info, Streamed

SETTINGS = "settings.json"
PARTS = "shards"
REMEDY = "run the graph of the set again, which writes it anew"


@dataclass(frozen=True)
class Settings:
    """rules: of the set as a whole. shares and seed: of the splits. formats: the views, as FORMATS names them.
    name, licence and author: what the views tell."""

    name: str
    rules: Rules = field(default_factory=Rules)
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    seed: int = 0
    formats: tuple[str, ...] = ()
    licence: str = ""
    author: str = ""

    def __post_init__(self) -> None:
        check_shares(self.shares)
        odd = [name for name in self.formats if name not in FORMATS]
        if odd:
            raise DatasetError(f"there is no format {', '.join(odd)}; there are {', '.join(FORMATS)}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any, place: str = "the settings") -> Settings:
        """Raises DatasetError, about `place`, for data that to_json() would not give."""
        try:
            rules = {**data["rules"]}
            rules["filters"], rules["encoding"] = Filters(**rules["filters"]), Encoding(**rules["encoding"])
            return cls(**{**data, "rules": Rules(**rules), "formats": tuple(data["formats"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{place}: not as this Varifold writes it ({error!r}); {REMEDY}") from error

    def save(self, folder: Path) -> None:
        """Write them into a set's folder. Raises DatasetError if that cannot be."""
        content, path = json_text(self.to_json(), "these settings"), folder / SETTINGS
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                return
        part = folder / f"{SETTINGS}.part"
        try:
            part.write_bytes(content)
            sync_file(part)
            os.replace(part, path)
            sync_folder(folder)
        except OSError as error:
            raise DatasetError(f"cannot write {path}: {error.strerror}") from error


def read_settings(folder: Path) -> Settings:
    """The settings in a set's folder. Raises DatasetError if there are none that can be read."""
    path = folder / SETTINGS
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; {REMEDY}") from error
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}; {REMEDY}") from error
    return Settings.from_json(data, str(path))


def part_folder(folder: Path, part: tuple[int, int]) -> Path:
    """Where part (i, N) of a run puts its samples: the set itself if it is the only one."""
    number, count = part
    return folder if count == 1 else folder / PARTS / str(number)


def complete(store: Store, settings: Settings) -> dict[str, dict[str, int]]:
    """Give all samples their split and build the views; format -> remark -> how many times it applies."""
    store.split({name: settings.shares[name] for name in SPLITS if name in settings.shares}, settings.seed)
    info = Info(settings.name, licence=settings.licence, author=settings.author, names=store.names)
    return {name: FORMATS[name](store.folder, Streamed(store.samples), info) for name in settings.formats}
