"""The route of what the browser side asks of the nodes while a graph is being edited."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ...nodes.answers import answer
from .state import json_object

routes = web.RouteTableDef()


@routes.post("/varifold/{name}")
async def ask(request: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(answer, request.match_info["name"], await json_object(request)))
