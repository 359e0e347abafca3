"""What the front end runs on: Studios, each a program of its own with one front end, and Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class StudioProcess:
    """`varifold studio` on a free port; a context manager. Its files lie in `folder`, its words in `log`.

    `settings` are those that its user chose earlier.
    """

    def __init__(self, folder: Path, frontend: Path, settings: dict[str, object] | None = None):
        self.folder, self.log = folder, folder / "studio.log"
        folder.joinpath("user").mkdir(parents=True)
        folder.joinpath("user", "settings.json").write_text(json.dumps(settings or {}))
        self._command = [sys.executable, "-m", "varifold", "studio", "--no-browser", "--port", "0"]
        self._command += ["--folder", str(folder), "--frontend", str(frontend)]

    def __enter__(self) -> StudioProcess:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        first_line = self._process.stdout.readline()
        if not first_line:
            self.__exit__(None, None, None)
            raise RuntimeError(f"the Studio did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
        self.url = first_line.split()[2]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)
