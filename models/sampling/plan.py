"""A Plan: one run of a solver as a table of numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

VERSION = 1


class Slot(NamedTuple):
    """Something a row can weigh, of a kind, and its number.

    "x": a state, k is what row k makes. "d": a denoiser output, k is what the denoiser says of state k. "u": the same
    without the prompt, the negative that guidance pulls away from. "n": a unit noise; 0 is what the run starts from.
    """

    kind: str
    index: int

    def __str__(self) -> str:
        return f"{self.kind}{self.index}"


START = Slot("n", 0)
Terms = tuple[tuple[Slot, float], ...]


@dataclass(frozen=True)
class Row:
    """State k = Σ weight·slot, at noise level `sigma`, in step `step` of the schedule.

    The denoiser is then asked about that state, except after the last row, whose state is the result.
    """

    sigma: float
    step: int
    terms: Terms


@dataclass(frozen=True)
class Plan:
    """Rows of numbers that `sample.run` turns into a picture.

    solver: where the rows came from, for people. space: "ve" or "flow". sigmas: the schedule they belong to.
    """

    solver: str
    space: str
    sigmas: tuple[float, ...]
    rows: tuple[Row, ...]

    @property
    def evaluations(self) -> int:
        """How often the denoiser is asked."""
        return len(self.rows) - 1

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def noises(self) -> int:
        """How many unit noises beyond the start it draws."""
        return max((slot.index for row in self.rows for slot, _ in row.terms if slot.kind == "n"), default=0)

    @property
    def asks_for_negatives(self) -> bool:
        """Whether a row weighs what the denoiser says without the prompt."""
        return any(slot.kind == "u" for row in self.rows for slot, _ in row.terms)

    def last_uses(self) -> dict[Slot, int]:
        """Slot -> the last row that weighs it; what the rows never weigh is not in it."""
        return {slot: index for index, row in enumerate(self.rows) for slot, _ in row.terms}

    def check_sigmas(self, sigmas: Sequence[float]) -> None:
        """Raise ValueError unless this plan was made for `sigmas` and can run."""
        if tuple(sigmas) != self.sigmas:
            raise ValueError(
                f"this plan ({self.solver}) belongs to another schedule, {_brief(self.sigmas)}, not {_brief(sigmas)}: "
                "make it anew from the solver, or wire the schedule that came with it"
            )
        self._check_rows()

    def to_json(self) -> str:
        rows = [{"sigma": r.sigma, "step": r.step, "terms": {str(s): w for s, w in r.terms}} for r in self.rows]
        table = {
            "version": VERSION,
            "solver": self.solver,
            "space": self.space,
            "sigmas": self.sigmas,
            "rows": rows,
        }
        return json.dumps(table)

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan back. Raises ValueError if it is not one, or not one that can run."""
        try:
            table = json.loads(text)
            if table["version"] > VERSION:
                raise ValueError(f"it is of version {table['version']}, and this Varifold knows {VERSION}: update it")
            rows = tuple(
                Row(
                    float(row["sigma"]),
                    int(row["step"]),
                    tuple((_slot(s), float(w)) for s, w in row["terms"].items()),
                )
                for row in table["rows"]
            )
            plan = Plan(str(table["solver"]), str(table["space"]), tuple(map(float, table["sigmas"])), rows)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"this is not a Varifold plan: {error}") from error
        plan._check_rows()
        return plan

    def _check_rows(self) -> None:
        if len(self.sigmas) < 2 or len(self.rows) < 2:
            raise ValueError("this plan has no step to run")
        for index, row in enumerate(self.rows):
            if not (math.isfinite(row.sigma) and 0 <= row.step < self.steps):
                raise ValueError(f"row {index} of this plan has σ {row.sigma} and step {row.step}")
            if not row.terms:
                raise ValueError(f"row {index} of this plan has no terms")
            if row.sigma <= 0 and index < self.evaluations:
                raise ValueError(f"row {index} of this plan asks the denoiser at σ 0")
            for slot, weight in row.terms:
                if not math.isfinite(weight):
                    raise ValueError(f"row {index} of this plan weighs {slot} with {weight}")
                if slot.kind != "n" and slot.index >= index:
                    raise ValueError(f"row {index} of this plan weighs {slot}: it cannot know that yet")


def _slot(text: str) -> Slot:
    kind, index = text[:1], text[1:]
    if kind not in ("x", "d", "u", "n") or not index.isdecimal():
        raise ValueError(f"unknown term {text!r}")
    return Slot(kind, int(index))


def _brief(sigmas: Sequence[float]) -> str:
    return f"{len(sigmas)} σ's from {sigmas[0]:g} to {sigmas[-1]:g}" if len(sigmas) else "an empty one"
