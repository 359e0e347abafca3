"""A queued prompt and what became of it, in the shapes that the front end reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

PENDING, RUNNING, DONE, FAILED, CANCELLED = "pending", "in_progress", "completed", "failed", "cancelled"
STATUSES = (PENDING, RUNNING, DONE, FAILED, CANCELLED)
FINISHED = (DONE, FAILED, CANCELLED)
PREVIEWABLE = ("images", "video", "audio", "3d", "text")


def now() -> int:
    """Milliseconds since 1970, as the front end counts."""
    return int(time.time() * 1000)


@dataclass(eq=False)
class Job:
    """`number` orders the queue, smallest first. `ui` is what the nodes showed, `messages` what was announced."""

    id: str
    number: float
    prompt: dict[str, dict]
    outputs: list[str]
    extra: dict[str, Any] = field(default_factory=dict)
    client: str | None = None
    status: str = PENDING
    created: int = field(default_factory=now)
    started: int | None = None
    ended: int | None = None
    error: dict | None = None
    ui: dict[str, dict] = field(default_factory=dict)
    messages: list[list] = field(default_factory=list)

    @property
    def workflow(self) -> Any:
        """The graph in UI form, if the client sent it."""
        pnginfo = self.extra.get("extra_pnginfo")
        return pnginfo.get("workflow") if isinstance(pnginfo, dict) else None

    def as_tuple(self) -> list:
        """The five values of GET /queue and /history."""
        return [self.number, self.id, self.prompt, {**self.extra, "create_time": self.created}, self.outputs]

    def as_history(self) -> dict:
        """The entry of GET /history."""
        status = {
            "status_str": "success" if self.status == DONE else "error",
            "completed": self.status == DONE,
            "messages": self.messages,
        }
        return {"prompt": self.as_tuple(), "outputs": self.ui, "status": status, "meta": {}}

    def summary(self) -> dict:
        """The entry of GET /jobs; what is not known is left out."""
        shown = [
            {"mediaType": kind, **item, "nodeId": node_id}
            for node_id, groups in list(self.ui.items())  # it may be running
            for kind, items in groups.items()
            if isinstance(items, (list, tuple))
            for item in items
            if isinstance(item, dict)
        ]
        previews = [item for item in shown if item["mediaType"] in PREVIEWABLE]
        saved = [item for item in previews if item.get("type") == "output"]
        workflow = self.workflow if isinstance(self.workflow, dict) else {}
        entry = {
            "id": self.id,
            "status": self.status,
            "priority": self.number,
            "create_time": self.created,
            "execution_start_time": self.started,
            "execution_end_time": self.ended,
            "execution_error": self.error,
            "outputs_count": len(shown),
            "preview_output": next(iter(saved or previews), None),
            "workflow_id": workflow.get("id"),
        }
        return {name: value for name, value in entry.items() if value is not None}

    def details(self) -> dict:
        """The answer of GET /jobs/{id}."""
        workflow = {"prompt": self.prompt, "extra_data": self.extra}
        status = self.as_history()["status"] if self.status in FINISHED else None
        return {**self.summary(), "outputs": self.ui, "execution_status": status, "workflow": workflow}
