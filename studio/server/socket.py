"""Websockets: what happens is told to the browsers that look on."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import time
import uuid
from typing import Any

from aiohttp import WSMsgType, web

PREVIEW, PREVIEW_WITH_METADATA = 1, 4
JPEG = 1
WAITING = 1000  # messages that a browser may lag behind; then previews are left out, and at twice as many it is let go
PAUSE = 0.05  # seconds between previews at least
FEATURES = {"supports_preview_metadata": True, "max_upload_size": 100 * 2**20}


class Clients:
    """The open websockets by client id. `send` may be called from any thread, once `loop` is set."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waiting: dict[str, asyncio.Queue] = {}
        self.features: dict[str, dict] = {}
        self._shown = 0.0

    def send(self, event: str, data: dict, client: str | None = None) -> None:
        """Tell one client, or all. A preview's `image` is a PIL picture."""
        if self.loop is None or self.loop.is_closed():
            return
        if event == "preview":
            if time.monotonic() - self._shown < PAUSE:
                return
            self._shown = time.monotonic()
            data = {**data, "image": _jpeg(data["image"])}
        self.loop.call_soon_threadsafe(self._put, event, data, client)

    def close(self) -> None:
        """Say goodbye to every browser."""
        for queue in self.waiting.values():
            queue.put_nowait(None)

    def _put(self, event: str, data: dict, client: str | None) -> None:
        for name in [client] if client is not None else list(self.waiting):
            queue = self.waiting.get(name)
            if queue is None or (event == "preview" and queue.qsize() > WAITING):
                continue
            if queue.qsize() > 2 * WAITING:
                self.waiting.pop(name).put_nowait(None)
                continue
            if event == "preview":
                queue.put_nowait(_preview(data, self.features.get(name, {})))
            else:
                queue.put_nowait(json.dumps({"type": event, "data": data}, default=str))

    async def serve(self, request: web.Request, hello: dict) -> web.WebSocketResponse:
        """One connection from its opening to its end; `hello` is the state of the queue."""
        socket = web.WebSocketResponse(heartbeat=30, max_msg_size=2**20)
        await socket.prepare(request)
        client = request.query.get("clientId", "")[:200] or uuid.uuid4().hex
        queue: asyncio.Queue = asyncio.Queue()
        previous = self.waiting.get(client)
        if previous is not None:
            previous.put_nowait(None)
        self.waiting[client] = queue
        self.features.pop(client, None)
        self._put("status", {"status": hello, "sid": client}, client)
        writer = asyncio.create_task(_write(socket, queue))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._receive(client, message.data)
        finally:
            writer.cancel()
            if self.waiting.get(client) is queue:
                del self.waiting[client]
                self.features.pop(client, None)
        return socket

    def _receive(self, client: str, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(message, dict) and message.get("type") == "feature_flags":
            data = message.get("data")
            self.features[client] = data if isinstance(data, dict) else {}
            self._put("feature_flags", FEATURES, client)


async def _write(socket: web.WebSocketResponse, queue: asyncio.Queue) -> None:
    """Sends what waits; None closes."""
    while (message := await queue.get()) is not None:
        try:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        except (ConnectionError, RuntimeError):
            return
    await socket.close()


def _jpeg(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=92)
    return file.getvalue()


def _preview(data: dict, features: dict) -> bytes:
    if not features.get("supports_preview_metadata"):
        return struct.pack(">II", PREVIEW, JPEG) + data["image"]
    ids = dict.fromkeys(("node_id", "display_node_id", "real_node_id"), data["node"])
    metadata = {**ids, "parent_node_id": None, "prompt_id": data["prompt_id"], "image_type": "image/jpeg"}
    text = json.dumps(metadata).encode()
    return struct.pack(">II", PREVIEW_WITH_METADATA, len(text)) + text + data["image"]
