"""What browsers hear over the websocket while prompts run."""

from __future__ import annotations

import asyncio
import io
import json
import struct

import pytest
from aiohttp import WSMsgType
from PIL import Image
from server_nodes import OPEN, PICTURES, shown, sum_of
from studio_graphs import CALLS

from varifold.studio.server import socket as socket_module
from varifold.studio.server.socket import FEATURES, Clients

METADATA = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


def names(heard: list) -> list[str]:
    """The types in order; with the node for those that have one, and no `status`, which comes when it likes."""
    texts = [(event, data) for event, data in heard if event != "status"]
    return [f"{event} {data['node']}" if "node" in data else event for event, data in texts]


async def test_the_first_word_is_the_state_of_the_queue_and_the_clients_id(page):
    async with page.listen("me") as ear:
        assert await ear.next() == ("status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "me"})
    async with page.client.ws_connect("/ws") as socket:
        sid = json.loads((await socket.receive()).data)["data"]["sid"]
        assert len(sid) == 32


async def test_a_run_is_told_step_by_step(page):
    async with page.listen() as ear:
        job_id = await page.submit(shown("Draw", value=7), client_id="me")
        heard = [message for message in await ear.whole_run() if not isinstance(message, bytes)]
    bar = ["progress_state", "progress 1"]
    assert names(heard) == [
        "execution_cached",
        "progress_state",
        "executing 1",
        *bar * 4,
        "progress_state",
        "executing 2",
        "progress_state",
        "executed 2",
        "execution_success",
        "executing None",
    ]
    assert all(data["prompt_id"] == job_id for event, data in heard if event != "status")
    progress = [(data["value"], data["max"]) for event, data in heard if event == "progress"]
    assert progress == [(0, 3), (1, 3), (2, 3), (3, 3)]
    (executed,) = [data for event, data in heard if event == "executed"]
    assert (executed["output"], executed["display_node"]) == ({"text": ["7"]}, "2")
    for event, data in heard:
        assert not event.startswith("execution_") or data["timestamp"] > 1.7e12


async def test_progress_state_has_the_bars_of_all_nodes_that_have_started(page):
    async with page.listen() as ear:
        await page.submit(shown("Draw", value=8), client_id="me")
        heard = [message for message in await ear.whole_run() if not isinstance(message, bytes)]
    states = [
        {name: (bar["state"], bar["value"], bar["max"]) for name, bar in data["nodes"].items()}
        for event, data in heard
        if event == "progress_state"
    ]
    assert states == [
        {"1": ("running", 0, 1)},
        *({"1": ("running", step, 3)} for step in range(4)),
        {"1": ("finished", 3, 3), "2": ("running", 0, 1)},
        {"1": ("finished", 3, 3), "2": ("finished", 1, 1)},
    ]
    last = [data for event, data in heard if event == "progress_state"][-1]["nodes"]["2"]
    assert {last[name] for name in ("node_id", "display_node_id", "real_node_id")} == {"2"}


async def test_the_second_run_is_cached_and_still_shows(page):
    async with page.listen() as ear:
        await page.submit(sum_of(3, 4), client_id="me")
        await ear.whole_run()
        CALLS.clear()
        await page.submit(sum_of(3, 4), client_id="me")
        heard = await ear.whole_run()
    assert CALLS == []
    assert names(heard) == [
        "execution_cached",
        "progress_state",
        "executed 4",
        "execution_success",
        "executing None",
    ]
    (cached,) = [data for event, data in heard if event == "execution_cached"]
    assert sorted(cached["nodes"]) == ["1", "2", "3", "4"]
    (executed,) = [data for event, data in heard if event == "executed"]
    assert executed["output"] == {"text": ["7"]}


async def test_status_counts_down(page):
    async with page.listen() as ear:
        await page.submit_waiting(1, 2)
        OPEN.set()
        await page.idle()
        counts = []
        while not counts or counts[-1] != 0 or len(counts) < 4:
            event, data = await ear.next()
            if event == "status":
                counts.append(data["status"]["exec_info"]["queue_remaining"])
    assert max(counts) == 2
    assert counts[counts.index(2) :] == sorted(counts[counts.index(2) :], reverse=True)


async def test_an_interrupted_run_says_where(page):
    async with page.listen() as ear:
        await page.submit(shown("Wait", value=1), client_id="me")
        await ear.until("executing", node="1")
        await page.post("/api/interrupt")
        heard = await ear.until("executing", node=None)
    assert names(heard) == ["execution_interrupted", "executing None"]
    (interrupted,) = [data for event, data in heard if event == "execution_interrupted"]
    assert interrupted["node_id"] == "1" and interrupted["executed"] == []


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
async def test_a_failed_run_says_where_and_why(page, error):
    async with page.listen() as ear:
        await page.submit(shown("Fail", error=error), client_id="me")
        heard = await ear.whole_run()
    (told,) = [data for event, data in heard if event == "execution_error"]
    assert (told["node_id"], told["node_type"], told["exception_message"]) == ("1", "Fail", "the wheel fell off")
    assert names(heard)[-2:] == ["execution_error", "executing None"]


async def test_only_the_client_that_asked_hears_of_its_run_but_all_see_the_queue(page):
    async with page.listen("me") as mine, page.listen("you") as yours:
        await page.submit(sum_of(5, 6), client_id="me")
        await mine.whole_run()
        await page.submit(sum_of(5, 7), client_id="you")
        heard = await yours.until("execution_start")
        assert {event for event, _ in heard} == {"status", "execution_start"}
        assert len(heard) > 2


async def test_a_run_that_nobody_asked_for_is_told_to_all(page):
    async with page.listen("me") as mine, page.listen("you") as yours:
        await page.submit(sum_of(5, 6))
        for ear in (mine, yours):
            assert names(await ear.whole_run())[-1] == "executing None"


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()


async def pictures_of_a_run(page, ear, **extra: str) -> list[bytes]:
    await page.submit(shown("Draw", value=1), client_id="me", extra_data=extra)
    return [message for message in await ear.whole_run() if isinstance(message, bytes)]


async def test_the_bytes_of_previews(page, monkeypatch):
    monkeypatch.setattr(socket_module, "PAUSE", 0)
    async with page.listen() as ear:
        assert await pictures_of_a_run(page, ear) == [b"\0\0\0\1\0\0\0\1" + jpeg(picture) for picture in PICTURES]


async def test_the_bytes_of_previews_with_metadata(page, monkeypatch):
    monkeypatch.setattr(socket_module, "PAUSE", 0)
    async with page.listen() as ear:
        await ear.socket.send_json(METADATA)
        await ear.until("feature_flags")
        for picture, message in zip(PICTURES, await pictures_of_a_run(page, ear), strict=True):
            kind, length = struct.unpack(">II", message[:8])
            assert kind == 4
            assert message[8 + length :] == jpeg(picture)
            metadata = json.loads(message[8 : 8 + length])
            (job_id,) = page.queue.jobs
            assert metadata == {
                "node_id": "1",
                "display_node_id": "1",
                "real_node_id": "1",
                "parent_node_id": None,
                "prompt_id": job_id,
                "image_type": "image/jpeg",
            }


async def test_previews_are_left_out_of_the_runs_that_want_none(page, monkeypatch):
    monkeypatch.setattr(socket_module, "PAUSE", 0)
    async with page.listen() as ear:
        assert await pictures_of_a_run(page, ear, preview_method="none") == []
        await page.post("/api/free", json={"free_memory": True})
        assert len(await pictures_of_a_run(page, ear, preview_method="auto")) == len(PICTURES)


async def test_features_are_exchanged(page):
    async with page.listen() as ear:
        await ear.socket.send_json(METADATA)
        heard = await ear.until("feature_flags")
        assert heard[-1] == ("feature_flags", FEATURES)


async def test_previews_that_come_too_fast_are_left_out(page, monkeypatch):
    monkeypatch.setattr(socket_module, "PAUSE", 1000)
    async with page.listen() as ear:
        await page.submit(shown("Draw", value=1), client_id="me")
        heard = await ear.whole_run()
    texts = [message for message in heard if not isinstance(message, bytes)]
    assert len(heard) - len(texts) <= 1
    assert [data["value"] for event, data in texts if event == "progress"] == [0, 1, 2, 3]


async def test_a_client_that_comes_back_takes_the_place_of_its_old_connection(page):
    async with page.listen("me") as old, page.listen("me") as new:
        await old.next()
        assert (await old.socket.receive(20)).type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
        await page.submit(sum_of(5, 6), client_id="me")
        assert names(await new.whole_run())[-1] == "executing None"
    await page.until(lambda: not page.studio.clients.waiting)


async def test_a_new_connection_has_no_features_of_the_old_one(page, monkeypatch):
    monkeypatch.setattr(socket_module, "PAUSE", 0)
    async with page.listen("me") as old:
        await old.socket.send_json(METADATA)
        await old.until("feature_flags")
        async with page.listen("me") as new:
            await page.submit(shown("Draw", value=2), client_id="me")
            pictures = [message for message in await new.whole_run() if isinstance(message, bytes)]
            assert [picture[:4] for picture in pictures] == [b"\0\0\0\1"] * 3


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "hello",
        "[]",
        "null",
        "7",
        '"feature_flags"',
        '{"type": ["feature_flags"]}',
        '{"type": "feature_flags"}',
        '{"type": "feature_flags", "data": 7}',
        '{"type": "feature_flags", "data": {"supports_preview_metadata": NaN}}',
        "[" * 100_000,
        "9" * 10_000,
        '"\\ud800"',
        b"\x00\xff" * 100,
        b"",
    ],
)
async def test_junk_from_a_client_is_passed_over(page, junk):
    async with page.listen() as ear:
        await (ear.socket.send_bytes(junk) if isinstance(junk, bytes) else ear.socket.send_str(junk))
        await page.submit(sum_of(5, 6), client_id="me")
        assert names(await ear.whole_run())[-1] == "executing None"


async def test_a_message_larger_than_any_that_means_something_ends_only_its_connection(page):
    async with page.listen("big") as big, page.listen("me") as ear:
        await big.socket.send_str("x" * (2**20 + 1))
        while (message := await big.socket.receive(20)).type == WSMsgType.TEXT:
            pass
        assert message.type == WSMsgType.CLOSE and message.data == 1009
        await page.submit(sum_of(5, 6), client_id="me")
        assert names(await ear.whole_run())[-1] == "executing None"


async def test_fifty_browsers_at_once(page):
    async def look_on(number: int) -> list[str]:
        async with page.listen(f"browser {number}") as ear:
            await page.submit(sum_of(number, 1), client_id=f"browser {number}")
            heard = await ear.whole_run()
            return [data["output"]["text"][0] for event, data in heard if event == "executed"]

    assert await asyncio.gather(*map(look_on, range(50))) == [[str(number + 1)] for number in range(50)]
    await page.until(lambda: not page.studio.clients.waiting)


async def test_a_browser_that_vanishes_in_the_middle_of_a_run_stops_nothing(page):
    async with page.listen() as ear:
        (job_id,) = await page.submit_waiting(1)
        ear.socket._response.connection.transport.abort()
    await page.until(lambda: not page.studio.clients.waiting)
    OPEN.set()
    await page.idle()
    assert (await page.job(job_id))["status"] == "completed"


async def test_a_plain_request_is_no_websocket(page):
    assert (await page.get("/ws")).status == 400


async def test_a_browser_that_lags_behind_misses_previews_and_is_then_let_go(monkeypatch):
    monkeypatch.setattr(socket_module, "WAITING", 3)
    monkeypatch.setattr(socket_module, "PAUSE", 0)
    clients = Clients()
    clients.loop = asyncio.get_running_loop()
    queue = clients.waiting["slow"] = asyncio.Queue()

    async def send(event: str, data: dict) -> None:
        clients.send(event, data, "slow")
        await asyncio.sleep(0)

    preview = {"node": "1", "prompt_id": "p", "image": PICTURES[0]}
    for _ in range(4):
        await send("progress", {})
    await send("preview", preview)
    assert queue.qsize() == 4
    for _ in range(9):
        await send("progress", {})
    assert "slow" not in clients.waiting
    assert [queue.get_nowait() for _ in range(queue.qsize())][-1] is None and queue.empty()


async def test_nothing_is_said_before_there_is_a_loop_or_after_it():
    clients = Clients()
    clients.send("status", {})
    loop = clients.loop = asyncio.new_event_loop()
    loop.close()
    clients.send("status", {})
