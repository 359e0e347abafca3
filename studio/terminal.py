"""Progress of a run in a terminal: one line a node, with a bar while it works."""

from __future__ import annotations

import time
from typing import TextIO

from .errors import name_node

WIDTH = 24
NOTE_EVERY = 30.0  # seconds


class Terminal:
    """A listener that writes to `stream`; without a terminal behind it, only finished lines, and notes now and then."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.live = stream.isatty()
        self.label = ""
        self.started = 0.0
        self.count = self.total = 0
        self.bar = ""
        self.noted = 0.0

    def __call__(self, event: str, data: dict) -> None:
        if event == "execution_start":
            self.count, self.total = 0, data["nodes"]
        elif event == "executing":
            self._finish()
            self.count += 1
            name = name_node(data["node"], data["class_type"], data["title"])
            self.label, self.started = f"[{self.count}/{self.total}] {name}", time.monotonic()
            self._draw(self.label)
        elif event == "progress" and data["max"] > 0:
            filled = min(WIDTH, WIDTH * data["value"] // data["max"])
            self.bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {data['value']}/{data['max']}"
            self.bar += f"  {data['note']}" if data.get("note") else ""
            self._draw(f"{self.label}  {self.bar}")
            self._note(data)
        elif event == "execution_success":
            self._finish()
        elif event in ("execution_error", "execution_interrupted") and self.live and self.label:
            self.stream.write("\n")
            self.label = ""

    def _draw(self, text: str) -> None:
        if self.live:
            self.stream.write(f"\r\x1b[K{text}")
            self.stream.flush()

    def _note(self, data: dict) -> None:
        if not self.live and data.get("note") and time.monotonic() - max(self.noted, self.started) > NOTE_EVERY:
            self.noted = time.monotonic()
            self.stream.write(f"{data['value']}/{data['max']}  {data['note']}\n")
            self.stream.flush()

    def _finish(self) -> None:
        if self.label:
            start = "\r\x1b[K" if self.live else ""
            self.stream.write(f"{start}{self.label}  {time.monotonic() - self.started:.1f} s\n")
            self.stream.flush()
        self.label = self.bar = ""
