"""Fits that were found, kept: in the workflow by a widget, and in the host's folder by what was asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .host import current
from .model import ModelDenoiser

if TYPE_CHECKING:
    from ..models.sampling.plan import Plan

VERSION = 1
_of_models: dict[str, str] = {}  # a MODEL is told apart only as long as the process lives, and so is its fit


class Kept:
    """A question, as JSON data, about one denoiser, and what is known of its answer.

    An answer in a widget counts where the question is the same and the denoiser of the same weights, or, for a MODEL,
    of the same kind: a workflow that was shared draws as it did for its author.
    """

    def __init__(self, question: dict[str, Any], denoiser: Any):
        self.is_model = isinstance(denoiser, ModelDenoiser)
        shared, exact = _identity(denoiser)
        self.asked = _hash([VERSION, question, shared])
        self.key = _hash([self.asked, exact])

    def find(self, widget: str) -> str | None:
        """The answer that the widget holds, else one that was kept, else None. Raises ValueError for other text."""
        if widget.strip():
            try:
                table = json.loads(widget)
                if table["asked"] == self.asked:
                    self.read(widget)
                    return widget
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(f"fitted does not hold a fit ({error}): clear it, and it is filled in anew") from None
        text = _of_models.get(self.key) if self.is_model else _text_of(self._path())
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            if text is not None and json.loads(text)["asked"] == self.asked:
                self.read(text)
                return text
        return None

    def keep(self, plan: Plan, report: str, curve: dict[int, float]) -> str:
        """The answer as text, kept for the next time; a folder that cannot be written is no error."""
        table = {"asked": self.asked, "report": report, "curve": sorted(curve.items())}
        text = json.dumps({**table, "plan": json.loads(plan.to_json())})
        if self.is_model:
            _of_models[self.key] = text
            return text
        path = self._path()
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        return text

    @staticmethod
    def read(text: str) -> tuple[Plan, str, list]:
        """The plan, the report, and [steps, error] for each number of steps. Raises ValueError, KeyError, TypeError."""
        from ..models.sampling.plan import Plan

        table = json.loads(text)
        return Plan.from_json(json.dumps(table["plan"])), str(table["report"]), [list(pair) for pair in table["curve"]]

    def _path(self) -> Path:
        return current().cache_folder() / f"{self.key}.json"


def _identity(denoiser: Any) -> tuple[str, str]:
    if isinstance(denoiser, ModelDenoiser):
        return current().models.identity(denoiser.model)
    spec = getattr(denoiser, "spec", None)
    known = [denoiser.identity or uuid.uuid4().hex, spec and spec.prediction, str(getattr(denoiser, "dtype", ""))]
    return _hash(known), _hash(known)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
