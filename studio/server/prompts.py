"""Routes of the queue: prompts in, jobs and history out."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

from aiohttp import web

from ..errors import WorkflowError
from ..prompt import clean
from ..validate import validate
from .jobs import FINISHED, RUNNING, STATUSES, Job
from .state import Studio, json_object, studio_of, whole_number

routes = web.RouteTableDef()
MOST_NODES = 10_000
_numbers = itertools.count()


@routes.get("/prompt")
async def remaining(request: web.Request) -> web.Response:
    return web.json_response(studio_of(request).queue.remaining())


@routes.post("/prompt")
async def submit(request: web.Request) -> web.Response:
    """Checks a prompt and queues it; what is wrong is answered node by node, as ComfyUI does."""
    studio, body = studio_of(request), await json_object(request)
    try:
        job, node_errors = await asyncio.to_thread(_job, studio, body)
    except Refused as refused:
        return web.json_response({"error": refused.error, "node_errors": refused.node_errors}, status=400)
    studio.queue.submit(job)
    return web.json_response({"prompt_id": job.id, "number": job.number, "node_errors": node_errors})


class Refused(Exception):
    """A prompt that cannot run, in the shapes of ComfyUI's answer."""

    def __init__(self, error: dict, node_errors: dict | None = None):
        super().__init__(error["message"])
        self.error, self.node_errors = error, node_errors or {}


def _refuse(kind: str, message: str, details: str = "") -> Refused:
    return Refused({"type": kind, "message": message, "details": details, "extra_info": {}})


def _job(studio: Studio, body: dict[str, Any]) -> tuple[Job, dict]:
    if not isinstance(body.get("prompt"), dict):
        raise _refuse("no_prompt", "No prompt provided", "`prompt` should be an object of nodes")
    if len(body["prompt"]) > MOST_NODES:
        raise _refuse("invalid_prompt", f"A prompt has at most {MOST_NODES} nodes")
    extra, client, targets = body.get("extra_data") or {}, body.get("client_id"), body.get("partial_execution_targets")
    if not isinstance(extra, dict) or not isinstance(client, (str, type(None))):
        raise _refuse("invalid_prompt", "`extra_data` should be an object and `client_id` a text")
    if targets is not None and not (isinstance(targets, list) and all(isinstance(target, str) for target in targets)):
        raise _refuse("invalid_prompt", "`partial_execution_targets` should be a list of node ids")
    try:
        prompt = clean(body["prompt"])
        ok, error, outputs, node_errors = validate(prompt, studio.nodes, targets=targets)
    except WorkflowError as error:
        raise _refuse("invalid_prompt", "This is not a prompt", str(error)) from None
    if not ok:
        raise Refused(error, node_errors)
    # Keys of other services are no business of this host, and history would show them.
    extra = {name: value for name, value in extra.items() if name not in ("auth_token_comfy_org", "api_key_comfy_org")}
    return Job(_id(body.get("prompt_id"), studio), _number(body), prompt, outputs, extra, client), node_errors


def _id(given: Any, studio: Studio) -> str:
    if given is None:
        return str(uuid.uuid4())
    try:
        fine = isinstance(given, str) and str(uuid.UUID(given)) == given and given not in studio.queue.jobs
    except ValueError:
        fine = False
    if not fine:
        raise _refuse("invalid_prompt_id", "prompt_id must be a new UUID in lower case with hyphens")
    return given


def _number(body: dict[str, Any]) -> float:
    given = body.get("number")
    if isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) < 2**53:
        return given
    return -next(_numbers) if body.get("front") else next(_numbers)


@routes.get("/queue")
async def waiting(request: web.Request) -> web.Response:
    queue = studio_of(request).queue
    running = [queue.running.as_tuple()] if queue.running else []
    return web.json_response({"queue_running": running, "queue_pending": [job.as_tuple() for job in queue.pending()]})


@routes.post("/queue")
async def edit_queue(request: web.Request) -> web.Response:
    queue, body = studio_of(request).queue, await json_object(request)
    for job_id in _ids(body, [job.id for job in queue.pending()]):
        if job_id in queue.jobs and queue.jobs[job_id].status not in (*FINISHED, RUNNING):
            queue.drop(job_id)
    return web.Response()


@routes.get("/history")
async def history(request: web.Request) -> web.Response:
    jobs = studio_of(request).queue.finished()
    most = whole_number(request.query.get("max_items"), len(jobs), "max_items")
    offset = whole_number(request.query.get("offset"), max(0, len(jobs) - most), "offset")
    return web.json_response({job.id: job.as_history() for job in jobs[offset : offset + most]})


@routes.get("/history/{id}")
async def history_of(request: web.Request) -> web.Response:
    job = studio_of(request).queue.jobs.get(request.match_info["id"])
    return web.json_response({job.id: job.as_history()} if job and job.status in FINISHED else {})


@routes.post("/history")
async def edit_history(request: web.Request) -> web.Response:
    queue, body = studio_of(request).queue, await json_object(request)
    for job_id in _ids(body, [job.id for job in queue.finished()]):
        if job_id in queue.jobs and queue.jobs[job_id].status in FINISHED:
            queue.drop(job_id)
    return web.Response()


def _ids(body: dict[str, Any], all_of_them: list[str]) -> list[str]:
    """What a request wants deleted: {clear: true} or {delete: [id, ...]}."""
    given = body.get("delete", [])
    if not isinstance(given, list) or not all(isinstance(job_id, str) for job_id in given):
        raise ValueError("`delete` should be a list of ids")
    return all_of_them if body.get("clear") else given


@routes.get("/jobs")
async def jobs(request: web.Request) -> web.Response:
    """All jobs, the newest first, perhaps only those of some statuses or of one workflow."""
    query = request.query
    wanted = [status.strip() for status in query.get("status", "").split(",") if status.strip()]
    if not set(wanted) <= set(STATUSES):
        raise ValueError(f"status should be some of {', '.join(STATUSES)}")
    queue = studio_of(request).queue
    found = [job.summary() for job in list(queue.jobs.values()) if not wanted or job.status in wanted]
    if "workflow_id" in query:
        found = [entry for entry in found if entry.get("workflow_id") == query["workflow_id"]]
    key = _duration if query.get("sort_by") == "execution_duration" else (lambda entry: entry["create_time"])
    found.sort(key=key, reverse=query.get("sort_order", "desc") != "asc")
    limit = whole_number(query.get("limit"), len(found), "limit")
    offset = whole_number(query.get("offset"), 0, "offset")
    page = found[offset : offset + limit]
    more = offset + len(page) < len(found)
    pagination = {"offset": offset, "limit": limit, "total": len(found), "has_more": more}
    return web.json_response({"jobs": page, "pagination": pagination})


def _duration(entry: dict) -> int:
    start, end = entry.get("execution_start_time"), entry.get("execution_end_time")
    return end - start if start and end else 0


@routes.get("/jobs/{id}")
async def job_of(request: web.Request) -> web.Response:
    job = studio_of(request).queue.jobs.get(request.match_info["id"])
    if job is None:
        raise FileNotFoundError("there is no such job")
    return web.json_response(job.details())


@routes.post("/jobs/cancel")
async def cancel_jobs(request: web.Request) -> web.Response:
    given = (await json_object(request)).get("job_ids")
    if not isinstance(given, list) or not all(isinstance(job_id, str) for job_id in given):
        raise ValueError("`job_ids` should be a list of ids")
    cancelled = [studio_of(request).queue.cancel(job_id) for job_id in given]
    return web.json_response({"cancelled": any(cancelled)})


@routes.post("/jobs/{id}/cancel")
async def cancel_job(request: web.Request) -> web.Response:
    return web.json_response({"cancelled": studio_of(request).queue.cancel(request.match_info["id"])})


@routes.post("/interrupt")
async def interrupt(request: web.Request) -> web.Response:
    """Cancels what runs, or the named job only if that is what runs."""
    queue = studio_of(request).queue
    body = await json_object(request) if request.can_read_body and await request.read() else {}
    wanted, running = body.get("prompt_id"), queue.running
    if not wanted or (running is not None and running.id == wanted):
        queue.cancel(running.id if running else None)
    return web.Response()


@routes.post("/free")
async def free(request: web.Request) -> web.Response:
    """Lets go of denoisers and results; both lie in the cache of results here."""
    body = await json_object(request)
    if body.get("unload_models") or body.get("free_memory"):
        studio_of(request).queue.free()
    return web.Response()
