"""What the user keeps: settings and files, on disk between one Studio and the next."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from server_page import meeting_twice
from yarl import URL

from varifold.studio.server import user
from varifold.studio.server.user import DEFAULTS, FIXED


@pytest.fixture
def data(page):
    folder = page.home / "user" / "data"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def settings_file(page):
    (page.home / "user").mkdir(parents=True)
    return page.home / "user" / "settings.json"


def at(name: str, query: str = "") -> URL:
    """Where a file of that name, as the browser encodes it, is asked for."""
    return URL(f"/api/userdata/{name}{query}", encoded=True)


FRESH = {**DEFAULTS, **FIXED}


def everything(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_settings_begin_with_the_defaults(page):
    assert (await page.get("/api/settings")).json == FRESH
    assert (await page.get("/api/settings/never.set")).json is None


VALUES = [True, None, 0, 1.5, "grün 図 \ud800", [1, [2]], {"a": {"b": None}}, ""]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_a_setting_is_kept(page, value):
    assert (await page.post("/api/settings/My.Setting", data=json.dumps(value).encode())).status == 200
    assert (await page.get("/api/settings/My.Setting")).json == value
    assert (await page.get("/api/settings")).json == {**FRESH, "My.Setting": value}


async def test_several_settings_at_once_leave_the_others(page):
    await page.post("/api/settings/a", json=1)
    assert (await page.post("/api/settings", json={"b": 2})).status == 200
    assert (await page.get("/api/settings")).json == {**FRESH, "a": 1, "b": 2}


async def test_the_page_never_begins_with_the_graph_of_comfyui(page):
    """The front end notes that its tutorial is over, and would then open a graph whose models are not here."""
    assert (await page.post("/api/settings/Comfy.TutorialCompleted", json=True)).status == 200
    assert (await page.get("/api/settings/Comfy.TutorialCompleted")).json is False


async def test_settings_outlive_the_studio(make_page):
    async with make_page() as page:
        await page.post("/api/settings", json={"theme": "dark"})
        await page.post(at("workflows%2Fa.json"), data=b"{}")
    async with make_page() as page:
        assert (await page.get("/api/settings/theme")).json == "dark"
        assert (await page.get(at("workflows%2Fa.json"))).body == b"{}"


DAMAGED = [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"a": 1']


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:6]))
async def test_damaged_settings_are_put_aside(page, settings_file, content):
    settings_file.write_bytes(content)
    assert (await page.get("/api/settings")).json == FRESH
    assert settings_file.with_suffix(".damaged").read_bytes() == content
    await page.post("/api/settings/a", json=1)
    assert (await page.get("/api/settings")).json == {**FRESH, "a": 1}


BAD = [b"", b"{", b"\xff", b"NaN", b"-Infinity", b"[1e999]", b"[" * 100_000, b"[" * 500 + b"]" * 500]


@pytest.mark.parametrize("body", BAD, ids=lambda body: repr(body[:9]))
async def test_what_could_not_be_told_again_is_no_setting(page, body):
    assert (await page.post("/api/settings/a", data=body)).status == 400
    assert (await page.post("/api/settings", data=b'{"a": ' + body + b"}")).status == 400
    assert (await page.get("/api/settings")).json == FRESH


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b'"a"'])
async def test_settings_are_an_object(page, body):
    assert (await page.post("/api/settings", data=body)).status == 400


async def test_settings_have_a_largest_size(page, monkeypatch):
    monkeypatch.setattr(user, "MOST_SETTINGS", 1000)
    await page.post("/api/settings/a", json="x" * 500)
    answer = await page.post("/api/settings/b", json="x" * 500)
    assert answer.status == 400 and "too large" in answer.json["error"]
    assert (await page.get("/api/settings/a")).json == "x" * 500


async def test_there_is_one_user(page):
    assert (await page.get("/api/users")).json == {"storage": "server", "migrated": True}


NAMES = [
    ("a.json", "a.json"),
    ("workflows%2Fa.json", "workflows/a.json"),
    ("workflows%2Fdeep%2F%C3%BC%20%E5%9B%B3.json", "workflows/deep/ü 図.json"),
    ("100%25.json", "100%.json"),
    ("a%5Cb.json", "a/b.json"),
    ("%7Ba%7D.json", "{a}.json"),
    ("a%3Fb%23c.json", "a?b#c.json"),
    (".index.json", ".index.json"),
]


@pytest.mark.parametrize(("name", "path"), NAMES, ids=[path for _, path in NAMES])
async def test_a_file_goes_there_and_back(page, name, path):
    content = bytes(range(256))
    answer = await page.post(at(name), data=content)
    assert (answer.status, answer.json) == (200, path)
    assert everything(page.home / "user" / "data") == {path: content}
    back = await page.get(at(name))
    assert (back.status, back.body) == (200, content)
    assert (await page.ask("DELETE", at(name))).status == 204
    assert (await page.get(at(name))).status == 404
    assert (await page.ask("DELETE", at(name))).status == 404


async def test_a_file_is_told_of_in_full(page):
    answer = await page.post(at("workflows%2Fa.json", "?full_info=true"), data=b"12345")
    info = answer.json
    assert (info["path"], info["size"]) == ("workflows/a.json", 5)
    assert info["modified"] > 1.7e12 and info["created"] > 1.7e12


async def test_a_kept_file_is_never_a_page_of_the_studios_own(page):
    for name, kind in (
        ("a.json", "application/json"),
        ("a.html", "application/octet-stream"),
        ("a.svg", "application/octet-stream"),
        ("a.js", "application/octet-stream"),
    ):
        await page.post(at(name), data=b"<script>alert(1)</script>")
        headers = (await page.get(at(name))).headers
        assert (headers["Content-Type"], headers["Content-Disposition"]) == (kind, "attachment")
        assert headers["X-Content-Type-Options"] == "nosniff"


async def test_overwriting_can_be_forbidden(page):
    await page.post(at("a.json"), data=b"1")
    answer = await page.post(at("a.json", "?overwrite=false"), data=b"2")
    assert answer.status == 409 and "a.json" in answer.json["error"]
    assert (await page.get(at("a.json"))).body == b"1"
    assert (await page.post(at("b.json", "?overwrite=false"), data=b"2")).status == 200
    for query in ("", "?overwrite=true"):
        assert (await page.post(at("a.json", query), data=b"3")).status == 200
        assert (await page.get(at("a.json"))).body == b"3"


OUTSIDE = [
    "..%2Fsettings.json",
    "workflows%2F..%2F..%2Fsettings.json",
    "..%5Csettings.json",
    "%2Fetc%2Fpasswd",
    "C%3A%5Cx.json",
    "a%00b.json",
    "out%2Fsettings.json",
    "link.json",
    ".%2F",
    ".%2F.",
    "a%2F..",
    "%ED%A0%80%2F..",
    "x" * 300,
    "there.json%2Fx.json",
]


@pytest.mark.parametrize("name", OUTSIDE, ids=lambda name: name[:20])
async def test_names_that_lead_out_or_are_none_are_refused(page, data, settings_file_there, name):
    (data / "out").symlink_to(page.home / "user")
    (data / "link.json").symlink_to(settings_file_there)
    (data / "there.json").write_text("{}")
    before = everything(page.home)
    for method, path in (
        ("GET", at(name)),
        ("POST", at(name)),
        ("DELETE", at(name)),
        ("POST", at(f"there.json/move/{name}")),
        ("POST", at(f"{name}/move/new.json")),
    ):
        answer = await page.ask(method, path, data=b"{}" if method == "POST" else None)
        expected = (400, 404) if method in ("GET", "DELETE") or path.name == "new.json" else (400,)
        assert answer.status in expected, (method, path, answer)
        assert answer.json["error"]
    assert everything(page.home) == before


@pytest.fixture
def settings_file_there(page):
    path = page.home / "user" / "settings.json"
    path.write_text("{}")
    return path


@pytest.mark.parametrize("name", [".%2F", ".", "%2E"])
async def test_the_folder_itself_is_no_file(page, name):
    """Written before there is a folder, such a file would stand in its place for ever."""
    assert (await page.post(at(name), data=b"{}")).status in (400, 404, 405)
    assert not (page.home / "user" / "data").is_file()
    assert (await page.post(at("a.json"), data=b"{}")).status == 200


async def test_a_folder_is_neither_read_nor_written_nor_deleted(page, data):
    (data / "sub").mkdir()
    assert (await page.get(at("sub"))).status == 404
    assert (await page.post(at("sub"), data=b"{}")).status == 409
    assert (await page.ask("DELETE", at("sub"))).status == 404
    assert (data / "sub").is_dir()


async def test_files_are_listed(page, data):
    for name in ("b.json", "a.json", "sub/c.json", "sub/deep/d.json", ".part-written.part"):
        (data / "workflows" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / "workflows" / name).write_text("{}")
    (data / "workflows" / "out.json").symlink_to(page.home / "user" / "settings.json")
    (data / "workflows" / "gone.json").symlink_to("nowhere")
    (page.home / "user" / "settings.json").write_text("{}")
    listing = {
        "?dir=workflows": ["a.json", "b.json"],
        "?dir=workflows/": ["a.json", "b.json"],
        "?dir=workflows&recurse=true": ["a.json", "b.json", "sub/c.json", "sub/deep/d.json"],
        "?dir=workflows/sub&recurse=true": ["c.json", "deep/d.json"],
        "?dir=workflows%2Fsub&split=true": [["c.json", "c.json"]],
        "?dir=workflows/sub&recurse=true&split=true": [["c.json", "c.json"], ["deep/d.json", "deep", "d.json"]],
        "?dir=.": [],
    }
    for query, expected in listing.items():
        assert (await page.get(f"/api/userdata{query}")).json == expected, query
    full = (await page.get("/api/userdata?dir=workflows&recurse=true&full_info=true")).json
    assert [entry["path"] for entry in full] == listing["?dir=workflows&recurse=true"]
    assert all(set(entry) == {"path", "size", "modified", "created"} and entry["size"] == 2 for entry in full)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?dir=", 400),
        ("?dir=none", 404),
        ("?dir=..", 400),
        ("?dir=/etc", 400),
        ("?dir=out", 400),
        ("?dir=a%00", 400),
        ("?dir=file", 404),
    ],
)
async def test_what_cannot_be_listed(page, data, query, status):
    (data / "out").symlink_to(page.home)
    (data / "file").write_text("")
    answer = await page.get(URL(f"/api/userdata{query}", encoded=True))
    assert answer.status == status and answer.json["error"]


@pytest.mark.parametrize("folder", ["workflows", "subgraphs"])
async def test_a_new_user_has_empty_folders(page, folder):
    answer = await page.get(f"/api/userdata?dir={folder}&recurse=true&split=false&full_info=true")
    assert (answer.status, answer.json) == (200, [])
    assert (await page.get("/api/userdata?dir=elsewhere")).status == 404


async def test_a_file_is_moved(page, data):
    (data / "a.json").write_text("1")
    answer = await page.post(at("a.json/move/workflows%2Fb.json"))
    assert (answer.status, answer.json) == (200, "workflows/b.json")
    answer = await page.post(at("workflows%2Fb.json/move/c.json", "?full_info=true"))
    assert answer.json["path"] == "c.json" and answer.json["size"] == 1
    assert everything(data) == {"c.json": b"1"}


async def test_a_file_is_moved_over_another_only_if_that_is_asked_for(page, data):
    (data / "a.json").write_text("1")
    (data / "b.json").write_text("2")
    (data / "sub").mkdir()
    for query in ("", "?overwrite=false"):
        assert (await page.post(at("a.json/move/b.json", query))).status == 409
    assert (await page.post(at("a.json/move/sub", "?overwrite=true"))).status == 409
    assert (await page.post(at("gone.json/move/c.json"))).status == 404
    assert (await page.post(at("sub/move/c.json"))).status == 404
    assert everything(data) == {"a.json": b"1", "b.json": b"2"}
    assert (await page.post(at("a.json/move/b.json", "?overwrite=true"))).status == 200
    assert everything(data) == {"b.json": b"1"}


async def test_of_two_new_files_of_one_name_that_come_at_once_one_is_kept(page, data, monkeypatch):
    monkeypatch.setattr(user, "write_whole", meeting_twice(user.write_whole))
    where, contents = at("a.json", "?overwrite=false"), [b"1", b"2"]
    statuses = [a.status for a in await asyncio.gather(*(page.post(where, data=content) for content in contents))]
    assert sorted(statuses) == [200, 409]
    assert everything(data) == {"a.json": contents[statuses.index(200)]}


async def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(page, data, monkeypatch):
    (data / "a.json").write_text("old")

    def fail(*arguments):
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "replace", fail)
    assert (await page.post(at("a.json"), data=b"new")).status == 500
    assert everything(data) == {"a.json": b"old"}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
async def test_a_link_to_itself_is_no_file(page, data):
    (data / "loop").symlink_to("loop")
    assert (await page.get(at("loop"))).status in (400, 404)
    assert (await page.get("/api/userdata?dir=.&recurse=true")).json == []
