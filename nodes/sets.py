"""The sets of the host's output folder: where each lies, and whose turn it is to write one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from ..dataset import store
from ..dataset.errors import LockedError
from ..dataset.rules import Rules
from ..dataset.store import LEDGER, LOCK, Store
from .host import current
from .inside import inside

PAUSE, TRIES = 0.1, 20  # seconds between two tries, and how many; a click takes less than one
reviewing = threading.Lock()  # held while a review writes, so that no click makes a run fail


def set_folder(name: str) -> Path:
    """The folder of a set by its name.

    Raises ValueError for one that is not inside the host's output folder, or is inside another set.
    """
    root = current().output_folder()
    path = inside(root, name)
    for above in path.relative_to(root).parents[:-1]:
        if (root / above / LEDGER).is_file():
            raise ValueError(f"folder: {name!r} lies in the set {above.as_posix()}: choose a folder beside it")
    return path


def existing_set(name: str) -> Path:
    """As set_folder, of a set that is there. Raises ValueError if none is, or if its ledger lies elsewhere."""
    path, root = set_folder(name), current().output_folder()
    for file in (LEDGER, LOCK):
        inside(root, f"{name.strip()}/{file}")
    if not (path / LEDGER).is_file():
        raise ValueError(f"there is no set in {path} any more: run the graph again")
    return path


def open_in_run(folder: Path, rules: Rules) -> Store:
    """store.open for a node that is running: it waits until a review in this process is done with the set.

    For one in another process, such as a Studio beside a run of many hours, it waits a moment. Then it raises
    LockedError.
    """
    for left in reversed(range(TRIES)):
        while not reviewing.acquire(timeout=PAUSE):
            current().check_cancelled()
        try:
            return store.open(folder, rules)
        except LockedError:
            if not left:
                raise
        finally:
            reviewing.release()
        current().check_cancelled()
        time.sleep(PAUSE)
