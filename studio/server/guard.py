"""Who may talk to the Studio: its own page, and nobody else."""

from __future__ import annotations

import errno
import ipaddress
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http import HttpProcessingError

LOCAL = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = {"0.0.0.0", "::"}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Too long, a file among its folders, a folder itself, a link to itself, or signs that the system does not allow.
NOT_A_NAME = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EINVAL}
FULL = {errno.ENOSPC, errno.EDQUOT}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def hostname(authority: str) -> str:
    """The name in "name:port", lower case, without the brackets of IPv6; "" if it is malformed."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""


def problem(status: int, message: str) -> web.Response:
    """An error in words, as JSON."""
    return web.json_response({"error": message}, status=status)


def guard(allowed: Iterable[str]):
    """Refuses what comes under a foreign name or from a foreign page; turns errors of handlers into answers.

    A page elsewhere cannot read our answers, but it could post, open websockets, or come back under a name of its own
    that it has pointed at this machine (DNS rebinding). So the Host must be one of the allowed names, and the Origin,
    which browsers add to such requests, must be the same place or an allowed name. A Studio that listens everywhere is
    reached under any address, and no stranger can point an address elsewhere, as he can a name.
    """
    names = {*LOCAL, *(name.lower() for name in allowed)}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _refusal(request, names)
        response = problem(403, refusal) if refusal else await _answer(request, handler)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    return middleware


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem(error.status, error.text or error.reason)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return problem(400, "the request is not JSON in UTF-8")
    except ValueError as error:
        return problem(400, str(error))
    except (web.RequestPayloadError, HttpProcessingError):
        return problem(400, "the request's body is damaged")
    except ConnectionError:
        return problem(400, "the browser has gone")  # so nobody hears
    except FileNotFoundError as error:
        return problem(404, str(error))
    except OSError as error:
        if error.errno in NOT_A_NAME:
            return problem(400, f"no file can have this name here: {error.strerror}")
        print(f"{request.method} {request.path}: {error}", file=sys.stderr)
        why = f"the Studio could not read or write a file ({error.strerror or 'unknown'}); its terminal says which"
        return problem(507 if error.errno in FULL else 500, why)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return problem(500, "an error of the Studio's own; its terminal says more")


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _refusal(request: web.Request, names: set[str]) -> str | None:
    host = hostname(request.headers.get("Host", ""))
    if host not in names and not (names & EVERYWHERE and _is_address(host)):
        return f"this Studio does not answer under the name {host!r}: start it with --allow-host {host or 'NAME'}"
    origin = request.headers.get("Origin")
    if origin is not None:
        place = origin.partition("://")[2]
        own = place.lower() == request.headers["Host"].lower()
        if not own and (hostname(place) not in names or hostname(place) in LOCAL):
            return "this request comes from another page"
    elif request.headers.get("Sec-Fetch-Site") == "cross-site" and request.headers.get("Sec-Fetch-Mode") != "navigate":
        return "this request comes from another page"
    return None
