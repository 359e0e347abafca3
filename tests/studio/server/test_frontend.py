"""The page itself: its files, the script that it starts with, a path to lie under, and the program around it."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from urllib.parse import urlsplit

import pytest
from server_nodes import sum_of
from yarl import URL

from varifold.studio.registry import node_classes
from varifold.studio.server import frontend as frontend_module
from varifold.studio.server.app import PortTaken, make_studio, serve, shown_address
from varifold.studio.server.frontend import NoFrontend, find_frontend

START = '<head><script src="varifold-start.js"></script><title>wire</title></head>'


async def test_the_page_begins_with_our_script(page):
    answer = await page.get("/")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert START in answer.body.decode()
    assert answer.headers["Cache-Control"] == "no-cache"
    script = await page.get("/varifold-start.js")
    assert script.headers["Content-Type"] == "text/javascript" and b"first_picture" in script.body


async def test_the_template_that_the_script_opens_is_there(page):
    script = (await page.get("/varifold-start.js")).body.decode()
    query = URL(script.partition('"", "')[2].partition('"')[0]).query
    (group,) = (await page.get("/templates/index.json")).json
    assert query["source"] == group["moduleName"]
    assert query["template"] in [entry["name"] for entry in group["templates"]]


async def test_what_lies_in_assets_never_changes_and_all_else_is_asked_for_anew(page):
    for path, kind, caching in (
        ("/assets/x.js", "text/javascript", "public, max-age=31536000, immutable"),
        ("/assets/x.css", "text/css", "public, max-age=31536000, immutable"),
        ("/logo.svg", "image/svg+xml", "no-cache"),
        ("/index.html", "text/html", "no-cache"),
        ("/extensions/varifold/docs/VarifoldPrompt.md", None, "no-cache"),
    ):
        answer = await page.get(path)
        assert answer.status == 200
        assert kind is None or answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == caching


async def test_an_asset_that_has_not_changed_is_not_sent_again(page):
    first = await page.get("/logo.svg")
    again = await page.get("/logo.svg", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/nothing", "/api/", "/api/manager/queue", "/internal/nothing"])
async def test_an_unknown_route_of_the_api_is_answered_in_json(page, method, path):
    answer = await page.ask(method, path)
    assert answer.status in ((404,) if method == "GET" else (404, 405))
    assert answer.headers["Content-Type"].startswith("application/json") and answer.json["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing.js", 404),
        ("/assets", 404),
        ("/assets/", 404),
        ("/..%2Fsecret.txt", 400),
        ("/assets/..%2F..%2Fsecret.txt", 400),
        ("/assets/..%5C..%5Csecret.txt", 400),
        ("/%2Fetc%2Fpasswd", 400),
        ("//etc/passwd", 400),
        ("/link.txt", 400),
        ("/a%00", 400),
        ("/" + "x" * 300, 400),
        ("/extensions/varifold/..%2F__init__.py", 400),
        ("/extensions/varifold/nothing.js", 404),
        ("/extensions/other/x.js", 404),
        ("/api/workflow_templates/varifold/..%2F__init__.py", 400),
        ("/api/workflow_templates/varifold/nothing.json", 404),
        ("/api/workflow_templates/other/first_picture.json", 404),
        ("/templates/flux.json", 404),
    ],
)
async def test_files_that_are_not_the_pages(page, tmp_path, frontend, path, status):
    (tmp_path / "secret.txt").write_text("secret")
    (frontend / "link.txt").symlink_to(tmp_path / "secret.txt")
    answer = await page.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == status and answer.json["error"]
    assert b"secret" not in answer.body.replace(b"secret.txt", b"")


async def test_dots_that_are_not_resolved_by_the_browser_lead_nowhere(page, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    answer = await page.raw(b"GET /assets/../../secret.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.status in (400, 404)


async def test_every_template_is_a_workflow_with_a_picture(page):
    (group,) = (await page.get("/templates/index.json")).json
    assert (await page.get("/templates/index.zh-TW.json")).json == [group]
    assert group["isEssential"] and group["title"] == "Getting Started"  # where the window opens for a new user
    assert "First picture" in [entry["title"] for entry in group["templates"]]
    for entry in group["templates"]:
        where = f"/api/workflow_templates/{group['moduleName']}/{entry['name']}"
        workflow = await page.get(f"{where}.json")
        assert workflow.headers["Content-Type"] == "application/json" and workflow.json["nodes"]
        notes = {"MarkdownNote"}  # the front end's own
        assert {node["type"] for node in workflow.json["nodes"]} <= node_classes().keys() | notes
        picture = await page.get(f"{where}.{entry['mediaSubtype']}")
        assert (picture.status, picture.headers["Content-Type"]) == (200, "image/jpeg")


async def test_no_template_is_listed_twice(page):
    assert (await page.get("/api/workflow_templates")).json == {}


async def test_comfyuis_own_templates_are_none(page):
    assert (await page.get("/templates/default.json")).status == 404
    for name in ("index_logo.json", "fuse_options.json"):  # the front end has defaults of its own
        assert (await page.get(f"/templates/{name}")).json is None


async def test_the_users_own_style_sheet(page):
    for path in ("/user.css", "/api/userdata/user.css"):
        answer = await page.get(path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Type"].startswith("text/css")
    assert (await page.post("/api/userdata/user.css", data=b"body { color: red }")).status == 200
    for path in ("/user.css", "/api/userdata/user.css"):
        answer = await page.get(path)
        assert answer.body == b"body { color: red }" and answer.headers["Content-Type"].startswith("text/css")


async def test_head_is_answered_like_get_without_a_body(page):
    for path in ("/", "/assets/x.js", "/api/prompt"):
        answer = await page.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


BASE = "/proxy/8188"


async def test_everything_lies_under_the_base_path(make_page):
    async with make_page(base=BASE) as page:
        assert START in (await page.get("/")).body.decode()
        for path in (
            "/varifold-start.js",
            "/assets/x.js",
            "/user.css",
            "/api/object_info/LoadImage",
            "/api/userdata/user.css",
        ):
            assert (await page.get(path)).status == 200, path
        assert (await page.get("/internal/logs/raw")).status == 200
        assert (await page.get("/extensions/varifold/docs/VarifoldPrompt.md")).status == 200
        async with page.listen() as ear:
            await page.submit(sum_of(1, 2), client_id="me")
            heard = await ear.whole_run()
        assert [data["output"] for event, data in heard if event == "executed"] == [{"text": ["3"]}]
        for outside in ("/", "/api/prompt", "/ws", "/proxy", "/proxy/81880/", "/assets/x.js"):
            assert (await page.get(URL(outside))).status == 404, outside
        assert (await page.get("/api/nothing")).status == 404


async def test_the_base_path_without_its_slash_leads_to_the_page(make_page):
    async with make_page(base=BASE) as page:
        answer = await page.get("")
        assert (answer.status, answer.headers["Location"]) == (302, f"{BASE}/")
        answer = await page.get("?template=first_picture&source=varifold")
        assert answer.headers["Location"] == f"{BASE}/?template=first_picture&source=varifold"


async def test_the_base_path_is_guarded_like_the_rest(make_page):
    async with make_page(base=BASE) as page:
        for path in ("", "/", "/api/prompt", "/ws"):
            assert (await page.get(path, headers={"Host": "evil.example"})).status == 403
            assert (await page.get(path, headers={"Origin": "http://evil.example"})).status == 403


def test_a_front_end_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NoFrontend, match=r"pip install 'varifold\[studio\]'"):
        find_frontend()


def test_the_installed_front_end_is_found(tmp_path, monkeypatch):
    package = tmp_path / "some_frontend"
    (package / "static").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(frontend_module, "FRONTEND", "some_frontend")
    with pytest.raises(NoFrontend):
        find_frontend()
    (package / "static" / "index.html").write_text("<html>")
    assert find_frontend() == package / "static"


def test_a_folder_that_is_no_front_end_is_named(tmp_path):
    with pytest.raises(NoFrontend, match=f"{tmp_path} has no index.html: --frontend is the folder `static`"):
        find_frontend(tmp_path)
    (tmp_path / "index.html").write_text("<html>")
    assert find_frontend(tmp_path) == tmp_path


def test_a_studio_that_cannot_make_its_folders_leaves_nothing_behind(tmp_path, frontend, capsys, monkeypatch):
    from varifold.__main__ import main

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "home").write_text("a file")
    folders = ["--folder", str(tmp_path / "home"), "--frontend", str(frontend)]
    assert main(["studio", "--no-browser", "--port", "0", *folders]) == 1
    assert str(tmp_path / "home") in capsys.readouterr().err
    assert not list(tmp_path.glob("varifold-*"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("hub", "hub")],
)
def test_the_address_that_is_shown_can_be_opened(address, shown):
    assert shown_address(address) == shown


@pytest.mark.parametrize("port", [-1, 65536])
async def test_a_port_that_there_cannot_be_is_told(make_page, tmp_path, frontend, port):
    studio = make_studio(tmp_path / "home", frontend)
    with pytest.raises(PortTaken, match="try another --port or --listen"):
        await serve(studio, "127.0.0.1", port, browser=False)


async def test_a_port_that_is_taken_is_told(make_page, tmp_path, frontend):
    async with make_page() as page:
        studio = make_studio(tmp_path / "second", frontend)
        with pytest.raises(PortTaken, match=f"127.0.0.1:{page.client.port} .*--port"):
            await serve(studio, "127.0.0.1", page.client.port, browser=False)
        assert not studio.queue._thread.is_alive()


def test_the_program_says_where_it_listens_and_stops_when_asked(tmp_path, frontend):
    command = [sys.executable, "-m", "varifold", "studio", "--no-browser", "--port", "0", "--base-path", "wire"]
    folders = ["--folder", str(tmp_path / "home"), "--frontend", str(frontend)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command + folders, stdout=subprocess.PIPE, text=True, env=environment) as program:
        killer = threading.Timer(30, program.kill)
        killer.start()
        url = program.stdout.readline().split()[2]
        assert url.startswith("http://127.0.0.1:") and url.endswith("/wire/")
        assert str(tmp_path / "home") in program.stdout.readline()
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert START in answer.read().decode()
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as half:  # an upload that hangs
            half.sendall(b"POST /wire/api/settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            time.sleep(0.1)
            program.send_signal(signal.SIGINT)
            assert program.wait(10) == 0
        killer.cancel()
    assert not list(tmp_path.glob("varifold-*"))


def test_the_program_without_a_free_port_fails_with_a_reason(tmp_path, frontend, capsys):
    from varifold.__main__ import main

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        folders = ["--folder", str(tmp_path / "home"), "--frontend", str(frontend)]
        assert main(["studio", "--no-browser", "--port", port, *folders]) == 1
    assert "try another --port" in capsys.readouterr().err
