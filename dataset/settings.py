"""How a set is to be completed, kept beside its ledger, so that it can be done without the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .files import write_whole
from .filters import Filters
from .metadata import Encoding
from .provenance import json_text
from .rules import Rules
from .sample import SPLITS
from .splits import SHARES, check_shares
from .store import Store
from .views import FORMATS, Info, Streamed
from .views.upkeep import Views, keep_up, outdated

SETTINGS = "settings.json"
REMEDY = "run the graph of the set again, which writes it anew"


@dataclass(frozen=True)
class Settings:
    """rules: of the set as a whole. shares: of the splits. formats: the views, as FORMATS names them. name, licence
    and author: what the views tell."""

    name: str
    rules: Rules = field(default_factory=Rules)
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
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
        write_whole(folder / SETTINGS, json_text(self.to_json(), "these settings"))


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


def complete(store: Store, settings: Settings) -> Views:
    """Give all samples their split, and have the views show the set as it is."""
    store.split({name: settings.shares[name] for name in SPLITS if name in settings.shares})
    return keep_up(store.folder, settings.formats, Streamed(store.samples), _info(store, settings), store.state)


def outdated_views(store: Store, settings: Settings) -> list[str]:
    """The formats whose views show the set as it was before what was done last."""
    return outdated(store.folder, settings.formats, _info(store, settings), store.state)


def _info(store: Store, settings: Settings) -> Info:
    return Info(settings.name, licence=settings.licence, author=settings.author, names=store.names)
