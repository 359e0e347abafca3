"""Prompts in, with what is wrong told node by node; history and jobs out."""

from __future__ import annotations

import json
import uuid

import pytest
from server_nodes import OPEN, shown, sum_of
from server_page import strict
from studio_graphs import CALLS, api

from varifold.studio.server import prompts

ID = "01234567-89ab-4cde-8f01-23456789abcd"


async def test_a_valid_prompt_is_answered_with_its_id_and_place_and_runs(page):
    answer = await page.post("/api/prompt", json={"prompt": sum_of(2, 3), "client_id": "me"})
    assert answer.status == 200
    assert set(answer.json) == {"prompt_id", "number", "node_errors"} and answer.json["node_errors"] == {}
    assert str(uuid.UUID(answer.json["prompt_id"])) == answer.json["prompt_id"]
    await page.idle()
    assert (await page.job(answer.json["prompt_id"]))["outputs"] == {"4": {"text": ["5"]}}


async def test_what_is_wrong_with_a_node_is_told_at_that_node(page):
    answer = await page.post("/api/prompt", json={"prompt": sum_of(1, 101)})
    reason = {
        "type": "value_bigger_than_max",
        "message": "Value 101 bigger than max of 100",
        "details": "value",
        "extra_info": {
            "input_name": "value",
            "input_config": ["INT", {"default": 3, "min": 0, "max": 100}],
            "received_value": 101,
        },
    }
    assert answer.status == 400
    assert answer.json == {
        "error": {
            "type": "prompt_outputs_failed_validation",
            "message": "Prompt outputs failed validation",
            "details": "Value 101 bigger than max of 100: value",
            "extra_info": {},
        },
        "node_errors": {"2": {"errors": [reason], "dependent_outputs": ["4"], "class_type": "Number"}},
    }
    assert (await page.get("/api/jobs")).json["jobs"] == []


async def test_good_outputs_run_and_the_bad_ones_are_told(page):
    prompt = sum_of(1, 2) | {"9": {"class_type": "Show", "inputs": {}}}
    answer = await page.post("/api/prompt", json={"prompt": prompt})
    assert answer.status == 200
    assert answer.json["node_errors"]["9"]["errors"][0]["type"] == "required_input_missing"
    await page.idle()
    assert (await page.job(answer.json["prompt_id"]))["outputs"] == {"4": {"text": ["3"]}}


async def test_an_unknown_node_is_named(page):
    answer = await page.post("/api/prompt", json={"prompt": shown("KSampler")})
    assert answer.status == 400 and answer.json["node_errors"] == {}
    assert answer.json["error"]["type"] == "missing_node_type"
    assert answer.json["error"]["extra_info"]["node_id"] == "1"


async def test_only_the_targets_run(page):
    prompt = sum_of(1, 2) | {"5": {"class_type": "Show", "inputs": {"anything": ["1", 0]}}}
    assert set((await page.run(prompt))["outputs"]) == {"4", "5"}
    CALLS.clear()
    assert (await page.run(sum_of(7, 8), partial_execution_targets=["4"]))["outputs"] == {"4": {"text": ["15"]}}
    assert (await page.run(prompt, partial_execution_targets=["5"]))["outputs"] == {"5": {"text": ["1"]}}
    assert ("Number", 2) not in CALLS
    answer = await page.post("/api/prompt", json={"prompt": prompt, "partial_execution_targets": ["1"]})
    assert (answer.status, answer.json["error"]["type"]) == (400, "prompt_no_outputs")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "no_prompt"),
        ({"prompt": None}, "no_prompt"),
        ({"prompt": [1]}, "no_prompt"),
        ({"prompt": {}}, "prompt_no_outputs"),
        ({"prompt": {"1": 2}}, "invalid_prompt"),
        ({"prompt": {"1": {"inputs": {}}}}, "invalid_prompt"),
        ({"prompt": {"1": {"class_type": ["Show"]}}}, "invalid_prompt"),
        ({"prompt": {"1": {"class_type": "Show", "inputs": []}}}, "invalid_prompt"),
        ({"prompt": api(n1=("Number", {"value": 1}))}, "prompt_no_outputs"),
        ({"prompt": {str(n): {"class_type": "Show"} for n in range(prompts.MOST_NODES + 1)}}, "invalid_prompt"),
        ({"prompt": sum_of(1, 1), "extra_data": [1]}, "invalid_prompt"),
        ({"prompt": sum_of(1, 1), "client_id": 7}, "invalid_prompt"),
        ({"prompt": sum_of(1, 1), "partial_execution_targets": "4"}, "invalid_prompt"),
        ({"prompt": sum_of(1, 1), "partial_execution_targets": [4]}, "invalid_prompt"),
        ({"prompt": sum_of(1, 1), "prompt_id": 7}, "invalid_prompt_id"),
        ({"prompt": sum_of(1, 1), "prompt_id": "seven"}, "invalid_prompt_id"),
        ({"prompt": sum_of(1, 1), "prompt_id": ID.upper()}, "invalid_prompt_id"),
        ({"prompt": sum_of(1, 1), "prompt_id": ID.replace("-", "")}, "invalid_prompt_id"),
        ({"prompt": sum_of(1, 1), "prompt_id": f"{{{ID}}}"}, "invalid_prompt_id"),
    ],
)
async def test_what_is_no_prompt_is_refused_in_comfyuis_shape(page, body, kind):
    answer = await page.post("/api/prompt", json=body)
    assert answer.status == 400
    assert answer.json["error"]["type"] == kind and answer.json["node_errors"] == {}
    assert set(answer.json["error"]) == {"type", "message", "details", "extra_info"}
    assert page.queue.jobs == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"{",
        b"\xff\xfe{}",
        b'{"prompt": {"1": "\xff"}}',
        b"[" * 100_000,
        b'{"prompt":' * 100_000,
        b'{"prompt": NaN}',
        b'{"number": -Infinity}',
        b'{"number": 1e999}',
        b'{"number": ' + b"9" * 5000 + b"}",
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(page, body):
    answer = await page.post("/api/prompt", data=body)
    assert answer.status == 400 and isinstance(answer.json["error"], str)


async def test_an_id_may_be_given_once(page):
    assert await page.submit(sum_of(1, 2), prompt_id=ID) == ID
    answer = await page.post("/api/prompt", json={"prompt": sum_of(1, 2), "prompt_id": ID})
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_prompt_id")


@pytest.mark.parametrize("number", [10**400, -(10**400), "1", None, True, [1], {}], ids=lambda number: str(number)[:5])
async def test_a_number_that_is_none_is_passed_over(page, number):
    assert (await page.run(sum_of(1, 2), number=number))["status"] == "completed"


async def test_a_prompt_that_is_nested_deep_is_run_or_refused_but_never_spoils_the_history(page):
    for depth in (50, 90, 110, *range(950, 1000)):
        workflow = b"[" * depth + b"]" * depth
        prompt = json.dumps(sum_of(1, 2)).encode()
        body = b'{"prompt": %b, "extra_data": {"extra_pnginfo": {"workflow": %b}}}' % (prompt, workflow)
        assert (await page.post("/api/prompt", data=body)).status == (200 if depth < 100 else 400), depth
    await page.idle()
    for path in ("/api/history", "/api/queue", "/api/jobs", *(f"/api/jobs/{job_id}" for job_id in page.queue.jobs)):
        assert (await page.get(path)).status == 200, path


async def test_history_tells_what_was_sent_shown_and_announced(page):
    workflow = {"extra_pnginfo": {"workflow": {"id": "w"}}}
    job = await page.run(sum_of(1, 2), client_id="me", extra_data=workflow)
    history = (await page.get(f"/api/history/{job['id']}")).json
    assert history == (await page.get("/api/history")).json
    entry = history[job["id"]]
    assert entry["prompt"][1:3] == [job["id"], sum_of(1, 2)]
    assert entry["prompt"][3]["extra_pnginfo"] == workflow["extra_pnginfo"]
    assert entry["prompt"][4] == ["4"]
    assert entry["outputs"] == {"4": {"text": ["3"]}}
    assert entry["status"]["status_str"] == "success" and entry["status"]["completed"] is True
    messages = entry["status"]["messages"]
    assert [event for event, _ in messages] == ["execution_start", "execution_cached", "execution_success"]
    assert all(data["prompt_id"] == job["id"] and data["timestamp"] > 1.7e12 for _, data in messages)


async def test_history_has_no_job_that_has_not_ended(page):
    running, waiting = await page.submit_waiting(1, 2)
    assert (await page.get("/api/history")).json == {}
    for job_id in (running, waiting, "nobody"):
        assert (await page.get(f"/api/history/{job_id}")).json == {}


async def test_pages_of_history_are_its_end_unless_an_offset_is_given(page):
    ids = [(await page.run(sum_of(1, n)))["id"] for n in range(4)]
    for query, expected in (
        ("", ids),
        ("?max_items=2", ids[2:]),
        ("?max_items=2&offset=0", ids[:2]),
        ("?max_items=2&offset=3", ids[3:]),
        ("?offset=9", []),
        ("?max_items=0", []),
        ("?max_items=99", ids),
    ):
        assert list((await page.get(f"/api/history{query}")).json) == expected, query


async def test_history_is_deleted_by_id_or_whole(page):
    ids = [(await page.run(sum_of(1, n)))["id"] for n in range(3)]
    assert (await page.post("/api/history", json={"delete": [ids[1], "nobody"]})).status == 200
    assert list((await page.get("/api/history")).json) == [ids[0], ids[2]]
    assert (await page.post("/api/history", json={"clear": True})).status == 200
    assert (await page.get("/api/history")).json == {}
    assert (await page.get(f"/api/jobs/{ids[0]}")).status == 404


@pytest.mark.parametrize("path", ["/api/queue", "/api/history"])
@pytest.mark.parametrize("given", ["x", {"a": 1}, 7, [7], [["x"]], None])
async def test_what_is_to_be_deleted_is_a_list_of_ids(page, path, given):
    answer = await page.post(path, json={"delete": given})
    assert answer.status == 400 and "list of ids" in answer.json["error"]


@pytest.mark.parametrize("given", ["x", {"a": 1}, 7, [7], [["x"]], None])
async def test_what_is_to_be_cancelled_is_a_list_of_ids(page, given):
    answer = await page.post("/api/jobs/cancel", json={"job_ids": given})
    assert answer.status == 400 and "list of ids" in answer.json["error"]


async def one_of_each(page) -> dict[str, str]:
    done = (await page.run(sum_of(1, 2), extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}}))["id"]
    failed = (await page.run(shown("Fail", error="ValueError")))["id"]
    running, waiting, cancelled = await page.submit_waiting(1, 2, 3)
    await page.post(f"/api/jobs/{cancelled}/cancel")
    return {"completed": done, "failed": failed, "in_progress": running, "pending": waiting, "cancelled": cancelled}


async def test_jobs_tell_of_every_status_and_are_chosen_by_it(page):
    ids = await one_of_each(page)
    for status, job_id in ids.items():
        found = (await page.get(f"/api/jobs?status={status}")).json
        assert [(job["id"], job["status"]) for job in found["jobs"]] == [(job_id, status)]
        assert found["pagination"] == {"offset": 0, "limit": 1, "total": 1, "has_more": False}
    both = (await page.get("/api/jobs?status=failed,%20completed&sort_order=asc")).json["jobs"]
    assert [job["status"] for job in both] == ["completed", "failed"]
    assert [job["id"] for job in (await page.get("/api/jobs?workflow_id=w")).json["jobs"]] == [ids["completed"]]
    everything = (await page.get("/api/jobs")).json["jobs"]
    assert {job["status"]: job["id"] for job in everything} == ids
    for job in everything:
        ended = job["status"] in ("completed", "failed", "cancelled")
        assert ("execution_end_time" in job) == ended
        assert ("execution_error" in job) == (job["status"] == "failed")
        assert ("execution_start_time" in job) == (job["status"] not in ("pending", "cancelled"))


async def test_pages_of_jobs(page):
    ids = [(await page.run(sum_of(1, n)))["id"] for n in range(5)]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        for offset, limit in ((0, 2), (2, 2), (4, 2), (9, 2), (0, 0), (0, 99)):
            found = (await page.get(f"/api/jobs?sort_order={order}&offset={offset}&limit={limit}")).json
            assert [job["id"] for job in found["jobs"]] == expected[offset : offset + limit]
            more = offset + limit < 5 and offset < 5
            assert found["pagination"] == {"offset": offset, "limit": limit, "total": 5, "has_more": more}


async def test_a_job_that_never_started_took_no_time(page):
    await one_of_each(page)
    OPEN.set()
    await page.idle()
    for job in page.queue.jobs.values():
        if job.started is not None:
            job.ended = job.started + 1000
    longest_first = (await page.get("/api/jobs?sort_by=execution_duration")).json["jobs"]
    assert longest_first[-1]["status"] == "cancelled"


@pytest.mark.parametrize(
    "query", ["status=done", "limit=-1", "limit=many", "offset=1.5", "limit=9999999999", "offset=²"]
)
async def test_questions_about_jobs_that_make_no_sense(page, query):
    assert (await page.get(f"/api/jobs?{query}")).status == 400


@pytest.mark.parametrize("query", ["max_items=-1", "max_items=x", "offset=-1"])
async def test_questions_about_history_that_make_no_sense(page, query):
    assert (await page.get(f"/api/history?{query}")).status == 400


async def test_a_job_shows_its_pictures(page):
    prompt = api(
        n1=("Colour", {"seed": 1, "batch": 2}),
        n2=("PreviewImage", {"images": ["1", 0]}),
        n3=("SaveImage", {"images": ["1", 0], "filename_prefix": "sub/shot"}),
    )
    job = await page.run(prompt)
    assert job["outputs_count"] == 4
    shown_first = {
        "filename": "shot_00001_.png",
        "subfolder": "sub",
        "type": "output",
        "nodeId": "3",
        "mediaType": "images",
    }
    assert job["preview_output"] == shown_first
    assert job["workflow"]["prompt"] == prompt
    assert job["execution_status"]["completed"] is True
    for image in job["outputs"]["2"]["images"] + job["outputs"]["3"]["images"]:
        answer = await page.get("/api/view", params=image)
        assert answer.status == 200 and answer.body.startswith(b"\x89PNG")


async def test_a_job_that_is_not_there(page):
    assert (await page.get("/api/jobs/nobody")).status == 404


async def test_what_nodes_show_is_told_in_json_whatever_it_is(page):
    """Browsers read neither NaN nor Infinity, and nothing of Python's own."""
    prompt = api(
        n1=("Infinite", {}),
        n2=("Fail", {"error": "ValueError", "after": ["1", 0]}),
        n3=("Show", {"anything": ["2", 0]}),
    )
    async with page.listen() as ear:
        job_id = await page.submit(prompt, client_id="me")
        heard = await ear.whole_run()
    (error,) = [data for event, data in heard if event == "execution_error"]
    assert error["current_inputs"]["after"] == ["Infinity"]
    job = await page.job(job_id)
    assert job["outputs"] == {"1": {"numbers": ["NaN", [2]]}}
    assert job["execution_error"] == error
    for path in ("/api/history", "/api/jobs"):
        assert strict((await page.get(path)).body)
