"""Who is answered: the Studio's own page under its own names, and nobody else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from varifold.studio.server.guard import hostname

FOREIGN = "evil.example:8188"


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("localhost:8188", "localhost"),
        ("LOCALHOST", "localhost"),
        ("[::1]:8188", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
        ("[::1", ""),
        ("[evil]:80", ""),
    ],
)
def test_the_name_in_an_authority(authority, name):
    assert hostname(authority) == name


async def test_a_foreign_name_is_refused_on_every_route(page):
    for route in page.app.router.routes():
        path = route.resource.canonical.replace("{", "").replace("}", "")
        answer = await page.ask(route.method, path, headers={"Host": FOREIGN})
        assert answer.status == 403, (route.method, path)
        assert answer.body == b"" if route.method == "HEAD" else "--allow-host evil.example" in answer.json["error"]


@pytest.mark.parametrize("host", ["localhost", "LocalHost:1", "127.0.0.1:99", "[::1]:8188"])
async def test_this_machines_own_names_are_answered_on_any_port(page, host):
    assert (await page.get("/api/prompt", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["", "localhost.evil.example", "127.0.0.1.nip.io", "localhost@evil.example", "[", "::1", "0.0.0.0"]
)
async def test_names_that_only_look_local_are_refused(page, host):
    assert (
        await page.raw(b"GET /api/prompt HTTP/1.1\r\nConnection: close\r\nHost: %b\r\n\r\n" % host.encode())
    ).status == 403


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
async def test_a_studio_that_listens_everywhere_answers_under_every_address_but_under_no_name(make_page, listen):
    async with make_page(allowed=(listen,)) as page:
        for host, status in (
            ("192.0.2.7:8188", 200),
            ("[2001:db8::7]", 200),
            ("localhost", 200),
            ("evil.example", 403),
            ("192.0.2.7.evil.example", 403),
            ("", 403),
        ):
            assert (await page.get("/api/prompt", headers={"Host": host})).status == status, host
        own = {"Host": "192.0.2.7:8188", "Origin": "http://192.0.2.7:8188"}
        assert (await page.post("/api/settings", headers=own, json={})).status == 200
        for origin in ("http://192.0.2.7:80", "http://192.0.2.8:8188", "http://evil.example", "null"):
            assert (await page.post("/api/settings", headers={**own, "Origin": origin}, json={})).status == 403, origin


async def test_a_studio_that_listens_here_answers_under_no_other_address(page):
    assert (await page.get("/api/prompt", headers={"Host": "192.0.2.7"})).status == 403


async def test_a_request_without_a_host_is_refused(page):
    assert (await page.raw(b"GET /api/prompt HTTP/1.0\r\n\r\n")).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1",
        "http://localhost:3000",
        "http://localhost",
        "https://127.0.0.1.evil.example",
        "null",
        "file://",
        "",
        "http://",
        "http://[",
        "http://[evil]",
        "127.0.0.1",
    ],
)
async def test_foreign_pages_are_refused(page, origin):
    headers = {"Origin": origin}
    for method, path in (
        ("GET", "/api/prompt"),
        ("POST", "/api/settings"),
        ("DELETE", "/api/userdata/x"),
        ("GET", "/"),
    ):
        assert (await page.ask(method, path, headers=headers)).status == 403, (method, path)
    with pytest.raises(WSServerHandshakeError) as refused:
        async with page.listen(headers=headers):
            pass
    assert refused.value.status == 403
    assert not page.studio.clients.waiting


async def test_the_studios_own_page_is_answered(page):
    own = f"http://127.0.0.1:{page.client.port}"
    for origin in (own, own.upper(), own.replace("http", "https")):  # a proxy may speak https to the browser
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert (await page.post("/api/settings", headers=headers, json={})).status == 200
        async with page.listen(headers=headers) as ear:
            assert (await ear.next())[0] == "status"


async def test_an_allowed_name_may_be_host_and_origin(make_page):
    async with make_page(allowed=("Hub.example.org",)) as page:
        for headers in (
            {"Host": "hub.example.org"},
            {"Host": "HUB.example.org:8443", "Origin": "https://hub.example.org"},
            {"Origin": "https://hub.example.org"},
        ):
            assert (await page.post("/api/settings", headers=headers, json={})).status == 200
            async with page.listen(headers=headers) as ear:
                assert (await ear.next())[0] == "status"
        for headers in ({"Host": "example.org"}, {"Origin": "https://hub.example.org.evil.example"}):
            assert (await page.post("/api/settings", headers=headers, json={})).status == 403


async def test_allowing_a_local_name_lets_in_no_page_of_another_port(make_page):
    async with make_page(allowed=("127.0.0.1",)) as page:
        assert (await page.get("/api/prompt", headers={"Origin": "http://127.0.0.1:1"})).status == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("cross-site", "cors", 403),
        ("cross-site", "websocket", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
async def test_what_other_sites_embed_is_refused_but_their_links_work(page, site, mode, status):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    assert (await page.get("/", headers=headers)).status == status


async def test_a_link_elsewhere_cannot_post(page):
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await page.post("/api/interrupt", headers=headers)).status == 403


async def test_answers_keep_to_their_own_page(page):
    for path in ("/", "/api/prompt", "/assets/x.js", "/api/nothing"):
        headers = (await page.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
    assert "frame-ancestors 'self'" in (await page.get("/")).headers["Content-Security-Policy"]


async def test_the_default_session_of_a_script_is_answered(page):
    async with ClientSession() as session, session.get(page.client.make_url("/api/prompt")) as response:
        assert await response.json() == {"exec_info": {"queue_remaining": 0}}


async def test_an_error_of_the_studios_own_is_told_without_its_traceback(page, monkeypatch, capsys):
    monkeypatch.setattr("varifold.studio.server.about.definitions", lambda *arguments: {}["secret"])
    answer = await page.get("/api/object_info")
    assert answer.status == 500 and b"secret" not in answer.body and b"Traceback" not in answer.body
    assert "KeyError: 'secret'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (errno.ENOSPC, 507, "No space left on device"),
        (errno.EROFS, 500, "Read-only file system"),
        (errno.EACCES, 500, "Permission denied"),
    ],
)
async def test_a_disk_that_is_full_or_closed_is_told(page, monkeypatch, capsys, number, status, reason):
    def fail(path, content):
        raise OSError(number, os.strerror(number), "/secret/place")

    monkeypatch.setattr(Path, "write_bytes", fail)
    for path in ("/api/userdata/x.json", "/api/settings"):
        answer = await page.post(path, json={"a": 1})
        assert answer.status == status and reason in answer.json["error"] and b"secret" not in answer.body
        assert f"{reason}: '/secret/place'" in capsys.readouterr().err
