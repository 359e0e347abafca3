"""The queue: prompts wait, one runs at a time in a thread of its own, and what became of them is kept."""

from __future__ import annotations

import gc
import json
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from ..errors import Cancelled, NodeError, is_out_of_memory
from ..execute import Executor
from ..host import StudioHost
from .jobs import CANCELLED, DONE, FAILED, FINISHED, PENDING, RUNNING, Job, now

KEPT = 500  # finished jobs
Send = Callable[[str, dict, "str | None"], None]


class Queue:
    """Jobs by id, oldest first. Every method may be called from any thread.

    `send(event, data, client)` is called with ComfyUI's websocket messages, and with ("preview", ...).
    """

    def __init__(self, nodes: dict[str, type], send: Send):
        self.send = send
        self.host = StudioHost(self._hear)
        self.executor = Executor(nodes, self.host)
        self.jobs: dict[str, Job] = {}
        self.running: Job | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._free = False
        self._progress: dict[str, dict] = {}
        self._thread = threading.Thread(target=self._work, name="varifold-queue", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        with self._changed:
            self.jobs[job.id] = job
            self._changed.notify()
        self._announce()

    def pending(self) -> list[Job]:
        """Those waiting, the next one first."""
        with self._changed:
            return sorted((job for job in self.jobs.values() if job.status == PENDING), key=lambda job: job.number)

    def finished(self) -> list[Job]:
        """Those that ran, the oldest first."""
        with self._changed:
            return sorted((job for job in self.jobs.values() if job.status in FINISHED), key=lambda job: job.ended)

    def cancel(self, job_id: str | None = None) -> bool:
        """Cancel a job, waiting or running, or without an id the running one; whether there was anything to do."""
        with self._changed:
            job = self.running if job_id is None else self.jobs.get(job_id)
            if job is None or job.status in FINISHED:
                return False
            if job is self.running:
                self.host.cancel.set()
            else:
                self._finish(job, CANCELLED)
        self._announce()
        return True

    def drop(self, job_id: str) -> None:
        """Forget a job that is waiting or finished."""
        with self._changed:
            if job_id in self.jobs and self.jobs[job_id] is not self.running:
                del self.jobs[job_id]
        self._announce()

    def free(self) -> None:
        """Let go of all results, and of the denoisers among them, before the next job."""
        with self._changed:
            self._free = True
            self._changed.notify()

    def close(self, timeout: float = 10.0) -> None:
        """Cancel what runs and stop the thread."""
        with self._changed:
            self._closing = True
            self.host.cancel.set()
            self._changed.notify()
        self._thread.join(timeout)

    def remaining(self) -> dict:
        """What GET /prompt and the status message say."""
        with self._changed:
            waiting = sum(job.status in (PENDING, RUNNING) for job in self.jobs.values())
        return {"exec_info": {"queue_remaining": waiting}}

    def _announce(self) -> None:
        self.send("status", {"status": self.remaining()}, None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._free or self.pending())
                if self._closing:
                    return
                free, self._free = self._free, False
                job = next(iter(self.pending()), None)
                if job is not None:
                    self.running, job.status, job.started = job, RUNNING, now()
                    self.host.cancel.clear()
            if free:
                self._let_go()
            if job is not None:
                self._run(job)

    def _run(self, job: Job) -> None:
        self._progress = {}
        self.host.wants_preview = job.extra.get("preview_method") != "none"
        self._announce()
        status = FAILED
        try:
            self.executor.run(job.prompt, job.outputs, job.extra.get("extra_pnginfo"))
            status = DONE
        except Cancelled:
            status = CANCELLED
        except NodeError as error:
            if is_out_of_memory(error.__cause__):
                self.free()  # not here: until the error is gone, so is nothing that the node had in its hands
        except BaseException as error:  # whatever a node raises, the queue goes on
            traceback.print_exc(file=sys.stderr)
            self._hear("execution_error", self._unexpected(job, error))
        with self._changed:
            self.running = None
            self._finish(job, status)
        self.send("executing", {"node": None, "prompt_id": job.id}, job.client)
        self._announce()

    def _finish(self, job: Job, status: str) -> None:
        job.status, job.ended = status, now()
        finished = [other.id for other in self.jobs.values() if other.status in FINISHED]
        for job_id in finished[: max(0, len(finished) - KEPT)]:
            del self.jobs[job_id]

    def _let_go(self) -> None:
        import torch

        self.executor.forget()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        """What the executor says, told to the client with what the front end wants to know beside it."""
        job = self.running
        if job is None:
            return
        message = {**data, "prompt_id": job.id, "timestamp": now()}
        if event == "preview":
            self.send(event, message, job.client)
            return
        message = _plain(message)
        if event.startswith("execution_"):
            job.messages.append([event, message])
        if event in ("executing", "progress", "executed"):
            self._track(job, event, message)
        if event == "executed":
            job.ui[message["node"]] = message["output"]
        if event == "execution_error":
            job.error = message
        self.send(event, message, job.client)

    def _track(self, job: Job, event: str, data: dict) -> None:
        """The bar of every node that has started, sent as `progress_state`."""
        for state in self._progress.values():
            if event == "executing":
                state |= {"state": "finished", "value": state["max"]}
        node = data["node"]
        if node is not None:
            ids = dict.fromkeys(("node_id", "display_node_id", "real_node_id"), node)
            blank = {"value": 0, "max": 1, "state": "running", **ids, "prompt_id": job.id, "parent_node_id": None}
            state = self._progress.setdefault(node, blank)
            if event == "progress":
                state |= {"value": data["value"], "max": data["max"]}
            elif event == "executed":
                state |= {"state": "finished", "value": state["max"]}
        nodes = {name: dict(state) for name, state in self._progress.items()}
        self.send("progress_state", {"prompt_id": job.id, "nodes": nodes}, job.client)

    def _unexpected(self, job: Job, error: BaseException) -> dict:
        at_work = [node_id for node_id, state in self._progress.items() if state["state"] == "running"]
        return {
            "node_id": at_work[0] if at_work else "",
            "node_type": job.prompt[at_work[0]]["class_type"] if at_work else "",
            "executed": [],
            "exception_message": str(error) or type(error).__name__,
            "exception_type": type(error).__name__,
            "traceback": traceback.format_exception(error),
            "current_inputs": {},
            "current_outputs": [],
        }


def _plain(data: dict) -> dict:
    """The same as JSON has it, with words for what it lacks: nodes show infinite numbers, and objects of their own."""
    return json.loads(json.dumps(data, default=str), parse_constant=str)
