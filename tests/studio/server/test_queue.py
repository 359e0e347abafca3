"""The queue: what runs next, what is cancelled, and that it goes on whatever a node does."""

from __future__ import annotations

import gc
import time

import pytest
import torch
from server_nodes import HELD, OPEN, RAN, shown, sum_of
from studio_graphs import CALLS, api

from varifold.studio.server import queue as queue_module
from varifold.studio.server.jobs import Job
from varifold.studio.server.queue import Queue

ALL = ("queue_running", "queue_pending")


async def ids_in(page) -> tuple[list[str], list[str]]:
    data = (await page.get("/api/queue")).json
    return tuple([entry[1] for entry in data[name]] for name in ALL)


async def status(page, job_id: str) -> str:
    return (await page.job(job_id))["status"]


async def test_one_job_runs_at_a_time_in_the_order_of_sending(page):
    first, second, third = await page.submit_waiting(1, 2, 3)
    assert await ids_in(page) == ([first], [second, third])
    assert (await page.get("/api/prompt")).json == {"exec_info": {"queue_remaining": 3}}
    OPEN.set()
    await page.idle()
    assert RAN == [1, 2, 3]
    assert await ids_in(page) == ([], [])
    assert (await page.get("/api/prompt")).json == {"exec_info": {"queue_remaining": 0}}


async def test_front_is_next_and_a_number_is_a_place(page):
    await page.submit_waiting(1, 2)
    for value, place in ((3, {"front": True}), (4, {"front": True}), (5, {"number": 1e9}), (6, {"number": -1e9})):
        await page.submit(shown("Wait", value=value), **place)
    OPEN.set()
    await page.idle()
    assert RAN == [1, 6, 4, 3, 2, 5]


async def test_the_five_values_of_a_waiting_prompt(page):
    await page.submit_waiting(1)
    extra = {
        "extra_pnginfo": {"workflow": {"id": "w"}},
        "api_key_comfy_org": "secret",
        "auth_token_comfy_org": "secret",
    }
    prompt = shown("Wait", value=2)
    answer = (await page.post("/api/prompt", json={"prompt": prompt, "extra_data": extra})).json
    ((number, job_id, sent, kept, outputs),) = (await page.get("/api/queue")).json["queue_pending"]
    assert (number, job_id, sent, outputs) == (answer["number"], answer["prompt_id"], prompt, ["2"])
    assert kept.pop("create_time") > 1.7e12
    assert kept == {"extra_pnginfo": {"workflow": {"id": "w"}}}


@pytest.mark.parametrize("way", ["one", "several", "delete", "clear"])
async def test_a_waiting_job_is_cancelled(page, way):
    running, doomed, last = await page.submit_waiting(1, 2, 3)
    path, body = {
        "one": (f"/api/jobs/{doomed}/cancel", None),
        "several": ("/api/jobs/cancel", {"job_ids": ["nobody", doomed]}),
        "delete": ("/api/queue", {"delete": [doomed]}),
        "clear": ("/api/queue", {"clear": True}),
    }[way]
    answer = await page.post(path, json=body)
    assert answer.status == 200
    assert way in ("delete", "clear") or answer.json == {"cancelled": True}
    assert await ids_in(page) == ([running], [] if way == "clear" else [last])
    OPEN.set()
    await page.idle()
    assert ([1] if way == "clear" else [1, 3]) == RAN
    if way in ("delete", "clear"):  # as in ComfyUI, what is taken out of the queue leaves no trace
        assert (await page.get(f"/api/jobs/{doomed}")).status == 404
    else:
        assert await status(page, doomed) == "cancelled"


@pytest.mark.parametrize("way", ["interrupt", "interrupt by id", "one", "several"])
async def test_the_running_job_is_cancelled_and_the_next_one_runs(page, way):
    running, following = await page.submit_waiting(1, 2)
    path, body = {
        "interrupt": ("/api/interrupt", None),
        "interrupt by id": ("/api/interrupt", {"prompt_id": running}),
        "one": (f"/api/jobs/{running}/cancel", None),
        "several": ("/api/jobs/cancel", {"job_ids": [running]}),
    }[way]
    assert (await page.post(path, **({} if body is None else {"json": body}))).status == 200
    await page.until(lambda: page.queue.running is not None and page.queue.running.id == following)
    OPEN.set()
    await page.idle()
    assert RAN == [2]
    assert [await status(page, job_id) for job_id in (running, following)] == ["cancelled", "completed"]
    events = [event for event, _ in page.queue.jobs[running].messages]
    assert events == ["execution_start", "execution_cached", "execution_interrupted"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/interrupt", {"prompt_id": "another"}),
        ("/api/interrupt", {"prompt_id": ["another"]}),
        ("/api/jobs/another/cancel", None),
        ("/api/jobs/cancel", {"job_ids": ["another"]}),
        ("/api/queue", {"delete": ["another"]}),
        ("/api/queue", {"delete": ["RUNNING"]}),
        ("/api/queue", {"clear": True}),
        ("/api/history", {"delete": ["RUNNING"]}),
        ("/api/history", {"clear": True}),
    ],
)
async def test_the_running_job_goes_on_when_others_are_meant(page, path, body):
    (running,) = await page.submit_waiting(1)
    if body and body.get("delete") == ["RUNNING"]:
        body = {"delete": [running]}
    answer = await page.post(path, json=body)
    assert answer.status == 200
    assert not path.startswith("/api/jobs") or answer.json == {"cancelled": False}
    OPEN.set()
    await page.idle()
    assert await status(page, running) == "completed"


async def test_interrupting_an_idle_queue_spares_the_next_job(page):
    assert (await page.post("/api/interrupt")).status == 200
    assert (await page.run(sum_of(1, 2)))["status"] == "completed"


async def test_a_finished_job_cannot_be_cancelled(page):
    job = await page.run(sum_of(1, 2))
    assert (await page.post(f"/api/jobs/{job['id']}/cancel")).json == {"cancelled": False}
    assert await status(page, job["id"]) == "completed"


ERRORS = ["RuntimeError", "ValueError", "MemoryError", "RecursionError", "SystemExit", "KeyboardInterrupt"]


@pytest.mark.parametrize("error", ERRORS)
async def test_whatever_a_node_raises_is_told_at_that_node_and_the_queue_goes_on(page, error):
    prompt = api(
        n1=("Number", {"value": 1}),
        n7=("Fail", {"error": error, "after": ["1", 0]}),
        n9=("Show", {"anything": ["7", 0]}),
    )
    job = await page.run(prompt)
    assert job["status"] == "failed"
    told = job["execution_error"]
    assert (told["node_id"], told["node_type"]) == ("7", "Fail")
    assert (told["exception_type"], told["exception_message"].splitlines()[0]) == (error, "the wheel fell off")
    assert any("in run" in line for line in told["traceback"])
    assert job["execution_status"]["messages"][-1] == ["execution_error", told]
    assert job["execution_status"]["status_str"] == "error"
    assert (await page.run(sum_of(1, 2)))["outputs"] == {"4": {"text": ["3"]}}


async def test_results_stay_when_a_node_fails_so_that_the_next_run_is_short(page):
    both = api(
        n1=("Hold", {}), n2=("Fail", {"error": "ValueError", "after": ["1", 0]}), n3=("Show", {"anything": ["2", 0]})
    )
    await page.run(both)
    await page.run(both)
    assert len(HELD) == 1 and HELD[0]() is not None


@pytest.mark.parametrize("error", ["MemoryError", "no memory on the CPU"])
async def test_results_are_let_go_when_memory_runs_out_before_it_is_given_back(page, monkeypatch, error):
    alive = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(HELD[0]() is not None))
    held = api(n1=("Hold", {}), n2=("Fail", {"error": error, "after": ["1", 0]}), n3=("Show", {"anything": ["2", 0]}))
    job = await page.run(held)
    assert "Out of memory" in job["execution_error"]["exception_message"]
    await page.until(lambda: alive)
    assert alive == [False]


@pytest.mark.parametrize("wish", ["unload_models", "free_memory"])
async def test_free_lets_go_of_results_even_while_nothing_runs(page, wish):
    await page.run(shown("Hold"))
    CALLS.clear()
    gc.collect()
    assert HELD[0]() is not None
    assert (await page.post("/api/free", json={wish: True})).status == 200
    await page.until(lambda: HELD[0]() is None)
    await page.run(shown("Hold"))
    assert len(HELD) == 2


async def test_free_waits_for_the_running_job(page):
    (running,) = await page.submit_waiting(1)
    await page.post("/api/free", json={"free_memory": True})
    OPEN.set()
    await page.idle()
    assert await status(page, running) == "completed"


async def test_free_keeps_results_if_nothing_is_asked_for(page):
    await page.run(sum_of(1, 2))
    assert (await page.post("/api/free", json={"unload_models": False})).status == 200
    CALLS.clear()
    await page.run(sum_of(1, 2))
    assert CALLS == []


async def test_the_oldest_finished_jobs_are_forgotten(page, monkeypatch):
    monkeypatch.setattr(queue_module, "KEPT", 3)
    ids = [(await page.run(sum_of(1, n)))["id"] for n in range(5)]
    assert [job["id"] for job in (await page.get("/api/jobs?sort_order=asc")).json["jobs"]] == ids[2:]


async def test_stopping_the_server_cancels_what_runs_and_leaves_nothing_behind(make_page):
    async with make_page() as page:
        await page.submit_waiting(1, 2)
        temp = page.studio.places.temp
        assert temp.is_dir()
    assert not page.queue._thread.is_alive()
    assert RAN == []
    assert not temp.exists()


def test_jobs_without_a_server_run_too():
    heard = []
    queue = Queue({}, lambda event, data, client: heard.append((event, client)))
    queue.submit(Job("j", 0, {}, [], client="me"))
    queue.free()
    for _ in range(1000):
        if queue.jobs["j"].status == "completed":
            break
        time.sleep(0.01)
    queue.close()
    assert ("execution_success", "me") in heard
