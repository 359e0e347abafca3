"""What the browser side asks, answered by ComfyUI's server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web


def add(routes: web.RouteTableDef, answer: Callable[[str, Any], dict]) -> None:
    """Adds POST /varifold/{name}; ComfyUI serves it under /api as well."""

    @routes.post("/varifold/{name}")
    async def ask(request: web.Request) -> web.Response:
        # Other pages may post plain text unasked, but JSON only where this server allows it.
        if request.content_type != "application/json":
            return web.json_response({"error": "the question is not application/json"}, status=415)
        try:
            question = await request.json()
        except ValueError:
            return web.json_response({"error": "the question is not JSON"}, status=400)
        return web.json_response(await asyncio.to_thread(answer, request.match_info["name"], question))
