"""A training in a folder: what it has learned so far, its losses, what it makes; it can be left and taken up."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .chance import Draw
from .curve import draw_losses, draw_pictures, draw_training
from .learner import Learner
from .loop import Loop, StateError, asked_of
from .ranks import ALONE, Ranks
from .settings import Settings

STATE, LOSSES, CURVE, SAMPLES = "state.safetensors", "loss.csv", "loss.png", "samples.png"
REPORTS, LOOKS, MOST_STEPS = 200, 10, 100
HELD_BATCHES = 4
SAVE_AFTER = 30.0  # seconds
HELD = "held out"
MAY_CHANGE = ("images", "warmup")


class Live(NamedTuple):
    """How a training stands: after `done` of its `steps`, with `left` seconds to go at `rate` pictures a second.

    `picture` is drawn anew now and then: its losses, and what the net makes.
    """

    done: int
    steps: int
    rate: float
    left: float
    losses: dict[str, float]
    picture: Image.Image | None

    @property
    def told(self) -> str:
        """Losses, pictures a second and the time left, in a few words."""
        losses = ", ".join(f"{name} {loss:.3g}" for name, loss in self.losses.items())
        return f"{losses}; {self.rate:.0f} pictures/s, {_time(self.left)} left" if losses else ""


class Trained(NamedTuple):
    """Where the model is, its held-out loss if there is one, how it came about in words, and the last picture."""

    model: Path
    held: float | None
    report: str
    picture: Image.Image
    samples: Tensor


def train(
    learner: Learner,
    draw: Draw,
    settings: Settings,
    folder: str | os.PathLike,
    *,
    held: Draw | None = None,
    watch: Callable[[Live], None] = lambda live: None,
    precision: str = "float32",
    ranks: Ranks = ALONE,
) -> Trained:
    """Trains, or goes on where the folder's training was left, and keeps what does best on `held` pictures.

    The folder gets the model, FAMILY.safetensors, the state to go on from, loss.csv, loss.png and samples.png. `watch`
    is called after every step; if it raises, as a cancel does, what was learned so far is written first. Without
    `held`, or where a lower loss is no better net, the newest average is kept. Of several processes the first writes.
    Raises StateError if the folder is another training's, Diverged, and OSError.
    """
    return _Run(learner, draw, settings, Path(folder), held, precision, ranks).through(watch)


class _Run:
    def __init__(
        self,
        learner: Learner,
        draw: Draw,
        settings: Settings,
        folder: Path,
        held: Draw | None,
        precision: str,
        ranks: Ranks,
    ):
        self.learner, self.settings, self.folder, self.ranks = learner, settings, folder, ranks
        self.held = held if learner.judged else None
        self.loop = Loop(learner.players, learner.kept, draw, settings, precision=precision, ranks=ranks)
        self.asked = json.loads(json.dumps({**learner.asked, **asdict(settings), "precision": precision}))
        self.rows: list[dict[str, Any]] = []
        self.samples: Tensor | None = None
        self.best = (float("inf"), 0)
        self.model = folder / f"{learner.asked['family']}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self._take_up()

    def _take_up(self) -> None:
        path = self.folder / STATE
        before = asked_of(path)
        now = self.asked
        other = sorted(key for key in {*before, *now} - set(MAY_CHANGE) if before.get(key) != now.get(key))
        if other:
            told = ", ".join(f"{key} {before.get(key)!r:.40} -> {now.get(key)!r:.40}" for key in other[:3])
            raise StateError(
                f"{self.folder} has another training ({told}): choose another folder, or delete {path.name} in it"
            )
        self.loop.load(path)
        self.rows = [row for row in _read(self.folder / LOSSES) if row["images"] <= self._seen]
        judged = [(row[HELD], row["images"]) for row in self.rows if row.get(HELD) is not None]
        if judged and self.model.exists():
            self.best = min(judged)

    @property
    def _seen(self) -> int:
        return self.loop.step * self.settings.batch

    def through(self, watch: Callable[[Live], None]) -> Trained:
        loop, steps = self.loop, self.settings.steps
        names = list(self.learner.players)
        report_every = min(MOST_STEPS, max(1, steps // REPORTS))
        look_every = report_every * max(1, steps // LOOKS // report_every)
        recent, since, saved, rate, picture = [], time.monotonic(), time.monotonic(), 0.0, None
        losses: dict[str, float] = {}
        for means in loop.steps():
            recent.append(means)
            last = loop.step == steps
            if loop.step % report_every == 0 or last:
                mean = self.ranks.mean(torch.stack(recent).mean(0)).tolist()
                losses = dict(zip(names, mean, strict=True))
                now = time.monotonic()
                rate = len(recent) * self.settings.batch / max(1e-9, now - since)
                recent, since = [], now
                self._note({"images": self._seen, **losses, "images_per_second": round(rate, 1)})
                if (loop.step % look_every == 0 or last) and self.ranks.rank == 0:
                    self._look()
                    since = time.monotonic()
                left = (steps - loop.step) * self.settings.batch / rate
                picture = self._picture(f"{rate:.0f} pictures/s, {_time(left)} left")
                if self.ranks.rank == 0 and (last or time.monotonic() - saved > SAVE_AFTER):
                    self._save()
                    saved = since = time.monotonic()
            left = (steps - loop.step) * self.settings.batch / rate if rate else 0.0
            try:
                watch(Live(loop.step, steps, rate, left, losses, picture))
            except BaseException:
                if self.ranks.rank == 0 and not last:
                    self._look()
                    self._save()
                raise
        if self.samples is None and self.ranks.rank == 0:
            self._look()
        elif self.samples is None:
            self.samples = self.learner.pictures(self.loop.averages[0])
        self.ranks.wait()
        return Trained(
            self.model, None if self.best[0] == float("inf") else self.best[0], self._report(),
            self._picture(), self.samples,
        )  # fmt: skip

    def _note(self, row: dict[str, Any]) -> None:
        self.rows = [old for old in self.rows if old["images"] < row["images"]]
        self.rows.append(row)

    def _look(self) -> None:
        """Judges the averages, keeps the better if it is the best so far, and draws with it."""
        averages = self.loop.averages
        index, loss = 0, None
        if self.held is not None:
            judged = self.loop.judge(self.held, HELD_BATCHES)
            loss, index = min((loss, index) for index, loss in enumerate(judged))
            self._note({**(self.rows[-1] if self._is_noted else {"images": self._seen}), HELD: loss})
        with torch.no_grad():
            self.samples = self.learner.pictures(averages[index])
        if loss is None or loss < self.best[0] or not self.model.exists():
            self.learner.save(self.model, averages[index])
            self.best = (float("inf") if loss is None else loss, self._seen)
        _replace(self.folder / SAMPLES, lambda part: draw_pictures(self.samples, 512).save(part, "PNG"))

    @property
    def _is_noted(self) -> bool:
        return bool(self.rows) and self.rows[-1]["images"] == self._seen

    def _save(self) -> None:
        # A kill in between leaves losses of steps that are taken again, never steps without losses.
        _replace(self.folder / LOSSES, lambda part: part.write_text(_csv(self.rows), encoding="utf-8"))
        self.loop.save(self.folder / STATE, self.asked)
        _replace(self.folder / CURVE, lambda part: self._curve().save(part, "PNG"))

    def _curve(self, note: str = "") -> Image.Image:
        names = [*self.learner.players, *([HELD] if self.held is not None else [])]
        lines = {name: [(row["images"], row[name]) for row in self.rows if row.get(name) is not None] for name in names}
        return draw_losses(lines, self.settings.steps * self.settings.batch, note)

    def _picture(self, note: str = "") -> Image.Image:
        return draw_training(self._curve(note), self.samples)

    def _report(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.learner.kept.parameters())
        last = next((row for row in reversed(self.rows) if set(self.learner.players) <= set(row)), {})
        told = ", ".join(f"{name} {last[name]:.4g}" for name in self.learner.players if name in last)
        lines = [f"{self._seen:,} pictures seen, {parameters:,} parameters; last losses: {told}"]
        if self.best[0] != float("inf"):
            lines.append(f"held-out loss {self.best[0]:.4g}, after {self.best[1]:,} pictures: that net was kept")
        if self.loop.rolled_back:
            lines.append(
                f"{self.loop.rolled_back} times the loss was no number: taken back, and on at {self.loop.calm:.3g} "
                "of the rate"
            )
        return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _csv(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of losses; none where it is not one."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        return [{**row, "images": int(row["images"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)
