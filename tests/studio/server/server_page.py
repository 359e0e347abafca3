"""A Studio that listens, and how a browser would talk to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import ClientWebSocketResponse, FormData, WSMsgType
from aiohttp.test_utils import TestClient, TestServer
from server_nodes import ALL_NODES

from varifold.studio.server.app import make_app, make_studio

PATIENCE = 20  # seconds until a test gives up


def strict(text: str | bytes) -> Any:
    """JSON as browsers read it, which know neither NaN nor Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON: {text[:500]!r}")

    return json.loads(text, parse_constant=refuse)


def meeting_twice(function: Callable) -> Callable:
    """The function, whose first two calls wait for each other."""
    calls, both = itertools.count(), threading.Barrier(2, timeout=PATIENCE)

    def waiting(*arguments: Any, **options: Any) -> Any:
        if next(calls) < 2:
            both.wait()
        return function(*arguments, **options)

    return waiting


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return strict(self.body)


class Ear:
    """A websocket that is listened to; texts are (type, data), pictures bytes."""

    def __init__(self, socket: ClientWebSocketResponse):
        self.socket = socket

    async def next(self) -> tuple[str, dict] | bytes:
        message = await self.socket.receive(PATIENCE)
        if message.type == WSMsgType.BINARY:
            return message.data
        assert message.type == WSMsgType.TEXT, message
        data = strict(message.data)
        return data["type"], data["data"]

    async def until(self, event: str, **fields: Any) -> list:
        """What is heard up to the message of that type with those fields, which comes last."""
        heard: list = []
        while not heard or heard[-1][0] != event or any(heard[-1][1][name] != fields[name] for name in fields):
            heard.append(await self.next())
        return heard

    async def whole_run(self) -> list:
        """What is heard of one job, from its start to its end."""
        await self.until("execution_start")
        return await self.until("executing", node=None)


class Page:
    """A running Studio, entered with `async with`. Paths lie under its base."""

    def __init__(self, home: Path, frontend: Path, allowed: tuple[str, ...] = (), base: str = ""):
        self.home, self.frontend, self.allowed, self.base = home, frontend, allowed, base

    async def __aenter__(self) -> Page:
        self.studio = make_studio(self.home, self.frontend)
        self.studio.nodes.update(ALL_NODES)
        self.app = make_app(self.studio, self.allowed, self.base)
        self.client = TestClient(TestServer(self.app))
        await self.client.start_server()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.close()

    @property
    def queue(self):
        return self.studio.queue

    async def ask(self, method: str, path: Any, **options: Any) -> Answer:
        address = self.base + path if isinstance(path, str) else path
        async with self.client.request(method, address, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: Any, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: Any, **options: Any) -> Answer:
        return await self.ask("POST", path, **options)

    async def upload(self, content: bytes, name: str = "pic.png", where: str = "image", **fields: str) -> Answer:
        form = FormData(quote_fields=False)  # as browsers do
        for key, value in fields.items():
            form.add_field(key, value)
        form.add_field("image", content, filename=name, content_type="image/png")
        return await self.post(f"/api/upload/{where}", data=form)

    async def submit(self, prompt: dict, **more: Any) -> str:
        answer = await self.post("/api/prompt", json={"prompt": prompt, **more})
        assert answer.status == 200, answer.body
        return answer.json["prompt_id"]

    async def job(self, job_id: str) -> dict:
        return (await self.get(f"/api/jobs/{job_id}")).json

    async def run(self, prompt: dict, **more: Any) -> dict:
        """What GET /jobs/{id} tells of a job once it has ended."""
        job_id = await self.submit(prompt, **more)
        await self.until(lambda: self.queue.jobs[job_id].status not in ("pending", "in_progress"))
        return await self.job(job_id)

    async def until(self, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            await asyncio.sleep(0.002)

    async def idle(self) -> None:
        await self.until(lambda: self.queue.running is None and not self.queue.pending())

    async def submit_waiting(self, *values: int) -> list[str]:
        """Jobs that wait until OPEN is set; the first runs already."""
        from server_nodes import shown

        ids = [await self.submit(shown("Wait", value=value)) for value in values]
        await self.until(lambda: self.queue.host.running == "1")
        return ids

    @asynccontextmanager
    async def listen(self, client: str = "me", **options: Any):
        async with self.client.ws_connect(f"{self.base}/ws?clientId={client}", **options) as socket:
            yield Ear(socket)

    async def raw(self, request: bytes) -> Answer:
        """The answer to bytes sent as they are, on a connection of their own."""
        reader, writer = await asyncio.open_connection(self.client.host, self.client.port)
        try:
            writer.write(request)
            head, _, body = (await asyncio.wait_for(reader.read(), PATIENCE)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        first, *lines = head.decode("latin-1").split("\r\n")
        return Answer(int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body)
