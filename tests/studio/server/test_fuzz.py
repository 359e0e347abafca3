"""Whatever is sent, every request is answered, no answer is the Studio's own error, and afterwards it still works."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from random import Random
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image
from server_nodes import sum_of
from small_sets import add, key
from studio_graphs import api
from yarl import URL

from varifold.dataset import store
from varifold.nodes.answers import ANSWERS

ROUNDS = 30  # requests to each route
NUMBERS = [0, -1, 1e308, -0.0, float("nan"), float("inf"), 2**63, 10**400, 1.5, True]
TEXTS = ["", "1", "a", "../x", "x" * 300, "\0", "\ud800", "图.png", "pic.png", "4", "null", "C:\\x", "%2F", "a\r\nb: c"]
KEYS = str.split("""
prompt client_id extra_data extra_pnginfo workflow id number front prompt_id partial_execution_targets clear
delete job_ids unload_models free_memory class_type inputs _meta title 1 2 4 value anything widgets file text
__value__ filename subfolder type steps folder page label was object""")
NAMES = str.split("""
a.json a.safetensors pic.png cut.png text.txt index.json VarifoldPrompt Show varifold input schedule denoiser
prompt toy .%2F . %2E%2E %2E%2E%2Fx ..%5Cx %2Fetc%2Fpasswd C%3A%5Cx %00 %FF%FE %ED%A0%80 %F0%9F%98%80 %7B%7D %25 %2525
%0D%0AX%3A1 a%2Fb a.json%2Fb link loop%2Fx [ ] ? cancel move""")
NAMES += [*ANSWERS, "x" * 300, "%2F" * 50, "a%2F" * 300]
QUERIES = str.split("""
filename subfolder type preview channel dir recurse full_info split overwrite limit offset max_items status
sort_by sort_order workflow_id clientId""")
QUERY_VALUES = str.split("""
true false pic.png cut.png text.txt sub .. . input output temp webp;80 jpeg;0 webp;9999999999 rgb a b
-1 1 99999999999 completed failed,x asc workflows %00 %FF %2Fetc [input] pic.png%20[output] %F0%9F%98%80 NaN""")
TYPES = [
    "application/json",
    "text/plain",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "",
    "x",
    "a/b; charset=x",
]
HEADERS = {
    "Range": ["bytes=0-1", "bytes=9-1", "bytes=-", "bytes=99999-", "lines=1", "bytes=0-1,3-4"],
    "If-None-Match": ["*", '"x"', "x,,", 'W/"'],
    "If-Modified-Since": ["now", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Foo 99999 00:00:00 GMT"],
    "If-Range": ["x", "Thu, 01 Jan 1970 00:00:00 GMT"],
    "Content-Encoding": ["gzip", "identity", "none"],  # aiohttp itself waits for ever for a damaged "deflate"
    "Accept-Encoding": ["gzip", "br;q=x", "*"],
    "Cookie": ["a", "=;;=", "a=" + "b" * 3000],
    "Expect": ["100-continue"],
    "X-Forwarded-Host": ["evil.example"],
    "Comfy-User": ["../x"],
}


def value(random: Random, levels: int = 3) -> Any:
    kind = random.randrange(5 if levels else 3)
    if kind == 0:
        return random.choice(NUMBERS)
    if kind == 1:
        return random.choice(TEXTS)
    if kind == 2:
        return random.choice([None, True, False, {}, [], ["1", 0], ["1", 10**30]])
    inside = [value(random, levels - 1) for _ in range(random.randrange(4))]
    return inside if kind == 3 else {random.choice(KEYS): entry for entry in inside}


def mutated(random: Random, document: Any) -> Any:
    """The same with one thing in it replaced by anything."""
    if not isinstance(document, (dict, list)) or not document or random.random() < 0.15:
        return value(random)
    if isinstance(document, list):
        index = random.randrange(len(document))
        return [mutated(random, entry) if at == index else entry for at, entry in enumerate(document)]
    key = random.choice(list(document))
    if random.random() < 0.1:
        return {**document, random.choice(KEYS): value(random)}
    return {**document, key: mutated(random, document[key])}


def multipart(random: Random) -> bytes:
    parts = []
    for _ in range(random.randrange(4)):
        name = random.choice(["image", "type", "subfolder", "overwrite", "original_ref", "x", ""])
        lines = [f'Content-Disposition: form-data; name="{name}"; filename="{random.choice(TEXTS)}"']
        if random.random() < 0.3:
            lines = [
                random.choice(
                    ["X", "", ": :", "Content-Disposition: form-data", "Content-Length: -1", "Content-Length: 99999"]
                )
            ]
        if random.random() < 0.2:
            lines.append(
                random.choice(
                    [
                        "Content-Type: multipart/mixed; boundary=c",
                        "Content-Transfer-Encoding: base64",
                        "Content-Encoding: gzip",
                        "Content-Transfer-Encoding: x",
                    ]
                )
            )
        content = random.choice(
            [b"input", b"../x", b"{}", b'{"filename": "pic.png", "type": "input"}', b"\xff", PNG, PNG[:40]]
        )
        parts.append("\r\n".join(lines).encode(errors="surrogatepass") + b"\r\n\r\n" + content)
    whole = b"--b\r\n" + b"\r\n--b\r\n".join(parts) + b"\r\n--b--\r\n"
    return whole if random.random() < 0.6 else whole[: random.randrange(len(whole))]


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (4, 3), "red").save(file, "PNG")
    return file.getvalue()


PNG = png()
PROMPT = {
    "prompt": sum_of(1, 2) | api(n5=("LoadImage", {"image": "pic.png"}), n6=("PreviewImage", {"images": ["5", 0]})),
    "client_id": "me",
    "number": 1,
    "extra_data": {"extra_pnginfo": {"workflow": {"id": "w", "nodes": []}}},
    "partial_execution_targets": ["4"],
}
QUESTION = {"widgets": {"steps": 3, "curve": "karras"}, "file": "", "text": "hero robe"}
QUESTION |= {"folder": "set", "page": 0, "id": key(1).id, "label": "tile", "was": "hero", "object": 0}
FITTING = {
    "/api/varifold/{name}": QUESTION,
    "/api/queue": {"clear": False, "delete": ["1"]},
    "/api/history": {"clear": False, "delete": ["1"]},
    "/api/jobs/cancel": {"job_ids": ["1"]},
    "/api/interrupt": {"prompt_id": "1"},
    "/api/free": {"unload_models": True, "free_memory": False},
    "/api/settings": {"a": {"b": [1]}},
}


def nearly_right(random: Random, pattern: str) -> dict[str, Any]:
    """What the route wants, with one thing in it replaced."""
    if "/upload/" in pattern:
        return {"headers": {"Content-Type": "multipart/form-data; boundary=b"}, "data": multipart(random)}
    return {"data": json.dumps(mutated(random, FITTING.get(pattern, PROMPT))).encode()}


def junk(random: Random) -> bytes:
    kind = random.randrange(9)
    if kind == 0:
        return random.choice(
            [
                b"",
                b"{",
                b"[" * 100_000,
                b'{"prompt":' * 100_000,
                b"[" * 990 + b"]" * 990,
                b"9" * 9999,
                b"\xef\xbb\xbf{}",
            ]
        )
    if kind == 1:
        return random.randbytes(random.randrange(200))
    if kind == 2:
        return multipart(random)
    if kind == 3:
        return json.dumps({random.choice(KEYS): value(random) for _ in range(3)}).encode()
    text = json.dumps(mutated(random, random.choice([PROMPT, PROMPT, QUESTION]))).encode()
    if kind == 4:
        at = random.randrange(len(text))
        return text[:at] + random.choice([b"", b"\xff", b"\0", b'"']) + text[at + 1 :]
    return text


def headers(random: Random) -> dict[str, str]:
    chosen = {"Content-Type": random.choice(TYPES)}
    for name in random.sample(list(HEADERS), random.choice([0, 0, 0, 1, 2])):
        chosen[name] = random.choice(HEADERS[name])
    if "Content-Encoding" in chosen:  # after its answer aiohttp drops a connection whose unread body does not unpack
        chosen["Connection"] = "close"
    return chosen


def address(random: Random, pattern: str) -> URL:
    parts = [random.choice(NAMES) if part.startswith("{") else part for part in pattern.split("/")]
    query = "&".join(
        f"{random.choice(QUERIES)}={random.choice(QUERY_VALUES)}" for _ in range(random.choice([0, 1, 2, 3]))
    )
    return URL("/".join(parts) + (f"?{query}" if query else ""), encoded=True)


@pytest.fixture
def furnished(page, tmp_path):
    """Files for the junk to hit, and one beside the Studio's folder that it must not."""
    for name, content in (
        ("input/pic.png", PNG),
        ("input/cut.png", PNG[:50]),
        ("input/text.txt", b"hello"),
        ("output/sub/pic.png", PNG),
        ("user/data/a.json", b"{}"),
        ("../models/a.safetensors", struct.pack("<Q", 9) + b"{}"),
        ("../beside.txt", b"beside"),
    ):
        (page.home / name).parent.mkdir(parents=True, exist_ok=True)
        (page.home / name).write_bytes(content)
    (page.home / "user/data/link").symlink_to(tmp_path)
    with store.open(page.home / "output" / "set") as opened:
        for number in range(3):
            add(opened, number)


async def still_works(page, capsys, tmp_path) -> None:
    for path in ("/api/interrupt", "/api/queue"):
        await page.post(path, json={"clear": True})
    await page.idle()
    assert (await page.run(sum_of(20, 3)))["outputs"] == {"4": {"text": ["23"]}}
    for path in ("/api/queue", "/api/history", "/api/jobs", "/api/settings", "/api/object_info", "/api/userdata?dir=."):
        answer = await page.get(path)
        assert answer.status == 200 and answer.json is not None, path
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert (tmp_path / "beside.txt").read_bytes() == b"beside"
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("varifold-")} == {
        "home",
        "frontend",
        "models",
        "beside.txt",
    }


@pytest.mark.filterwarnings("ignore::aiohttp.multipart.BadContentDispositionHeader")
async def test_junk_on_every_route(page, furnished, capsys, tmp_path):
    random = Random(1)
    routes = {(route.method, route.resource.canonical) for route in page.app.router.routes()}
    assert len(routes) > 70
    statuses: dict[int, int] = {}
    for round_ in range(ROUNDS):
        for method, pattern in sorted(routes):
            where = address(random, pattern)
            options: dict[str, Any] = {}
            if method in ("POST", "PATCH"):
                options = {"headers": headers(random), "data": junk(random)}
                if random.random() < 0.5:
                    options = nearly_right(random, pattern)
            elif random.random() < 0.3:
                options = {"headers": headers(random), "data": random.choice([b"", b"{}", b"\xff"])}
            context = (round_, method, str(where), options)
            try:
                answer = await page.ask(method, where, **options)
            except aiohttp.ClientError as error:
                raise AssertionError(f"no answer to {context}: {error!r}") from error
            assert answer.status < 500 and b"Traceback" not in answer.body, (context, answer)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
    assert {200, 400, 404} <= set(statuses)
    await still_works(page, capsys, tmp_path)
    print(f"{len(routes)} routes, {sum(statuses.values())} requests, answered with {statuses}")


async def test_junk_prompts(page, furnished, capsys, tmp_path):
    random = Random(2)
    answers = [await page.post("/api/prompt", data=json.dumps(mutated(random, PROMPT)).encode()) for _ in range(600)]
    assert {answer.status for answer in answers} == {200, 400}
    for answer in answers:
        if answer.status == 400:
            assert answer.json["error"]
    await still_works(page, capsys, tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
async def test_damaged_pictures(page, furnished, capsys, tmp_path):
    random = Random(3)
    pixels = np.random.default_rng(3).integers(0, 256, (16, 16, 3), np.uint8)
    originals = []
    for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA", "ICO", "PCX"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form)
        originals.append(file.getvalue())
    reference = json.dumps({"filename": "pic.png", "type": "input"})
    for number in range(150):
        content = bytearray(random.choice(originals))
        for _ in range(random.choice([1, 3, 30])):
            content[random.randrange(len(content) if random.random() < 0.5 else 60)] = random.randrange(256)
        content = bytes(content[: random.choice([len(content), random.randrange(len(content))])])
        (page.home / "input" / "damaged.png").write_bytes(content)
        answers = [
            await page.upload(content, "new.png", overwrite="true"),
            await page.upload(content, "mask.png", "mask", original_ref=reference, overwrite="true"),
            await page.get("/api/view?filename=damaged.png&type=input&preview=webp;80"),
            await page.get("/api/view?filename=damaged.png&type=input&channel=a"),
        ]
        assert {answer.status for answer in answers} <= {200, 400}, (number, answers)
    await still_works(page, capsys, tmp_path)


RAW = [
    b"\r\n\r\n",
    b"\0" * 100 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\0: x\r\n\r\n",
    b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET http://[/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //x:y@[z/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET ? HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"G\xff\xff / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/view?filename=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 1000 + b"\r\n",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n{}",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n{}",
    b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 99\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: !\r\n\r\n",
]
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def answer_to(page, request: bytes) -> bytes:
    """All that comes back until the connection is quiet or closed; the other side has no more to say."""
    reader, writer = await asyncio.open_connection(page.client.host, page.client.port)
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 5)
    return b""


@pytest.mark.parametrize("request_", RAW, ids=lambda request_: repr(request_[:60]))
async def test_what_is_no_request_gets_no_error_of_the_studios_own(page, furnished, capsys, tmp_path, request_):
    answer = await answer_to(page, request_)
    first = answer.partition(b"\r\n")[0]
    assert answer == b"" or (first.startswith(b"HTTP/1.") and int(first.split()[1]) < 500), answer
    assert b"Traceback" not in answer
    assert (await page.get("/api/prompt")).status == 200
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_random_bytes_as_requests(page, furnished, capsys, tmp_path):
    random = Random(4)
    good = b"POST /api/prompt?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n{}"
    for _ in range(200):
        request = bytearray(good)
        for _ in range(random.choice([1, 2, 10])):
            request[random.randrange(len(request))] = random.randrange(256)
        answer = await answer_to(page, bytes(request[: random.choice([len(request), random.randrange(len(request))])]))
        assert b"HTTP/1.1 5" not in answer and b"Traceback" not in answer, (request, answer)
    await still_works(page, capsys, tmp_path)


async def test_junk_frames_on_websockets(page, furnished, capsys, tmp_path):
    random = Random(5)
    for _ in range(60):
        frames = random.choice(
            [
                random.randbytes(random.randrange(1, 60)),
                b"\x81\xfe\xff\xff",
                b"\x88\x81\0\0\0\0x",
                b"\x81\x81\0\0\0\0\xff",
            ]
        )
        reader, writer = await asyncio.open_connection(page.client.host, page.client.port)
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(frames)
        await writer.drain()
        writer.close()
    async with page.listen() as ear:
        for _ in range(200):
            text = json.dumps({"type": random.choice(["feature_flags", "x", None]), "data": value(random)})
            await ear.socket.send_str(random.choice([text, text[1:], "\0", ""]))
            await ear.socket.send_bytes(random.randbytes(9))
        await page.submit(sum_of(6, 7), client_id="me")
        await ear.until("executed")
    await page.until(lambda: not page.studio.clients.waiting)
    await still_works(page, capsys, tmp_path)


async def test_connections_that_stop_in_the_middle_of_a_request_hold_up_nobody(page, furnished, capsys, tmp_path):
    halves = [
        b"",
        b"GET /api/pro",
        b"GET /api/prompt HTTP/1.1\r\nHost: loc",
        b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"POST /api/upload/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b'Content-Length: 9999\r\n\r\n--b\r\nContent-Disposition: form-data; name="image"; filename="half.png"\r\n\r\n',
        b"POST /api/userdata/half.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{",
        UPGRADE[:-2],
        UPGRADE,
        UPGRADE + b"\x81\xfe\x10\0",
    ]
    writers = []
    for half in halves * 6:
        _, writer = await asyncio.open_connection(page.client.host, page.client.port)
        writer.write(half)
        writers.append(writer)
    async with page.listen() as ear:
        await page.submit(sum_of(8, 9), client_id="me")
        await ear.until("executed")
    await still_works(page, capsys, tmp_path)
    for writer in writers:
        writer.transport.abort()
    await page.until(lambda: not page.studio.clients.waiting)
    assert (await page.get("/api/userdata/half.json")).status == 404
    assert not (page.home / "input" / "half.png").exists()
    assert not list(page.home.rglob("*.part"))
