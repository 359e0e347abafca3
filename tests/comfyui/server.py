"""Run a real ComfyUI for a test and talk to it as its front end does."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from PIL import Image

from .install import Install

BOOT_SECONDS = 240
PREVIEW_WITH_METADATA = 4


class PromptRefused(Exception):
    """ComfyUI did not accept a prompt; `error` and `node_errors` are its answer."""

    def __init__(self, answer: dict):
        self.error: dict = answer["error"]
        self.node_errors: dict = answer["node_errors"]
        super().__init__(json.dumps(answer))


@dataclass(frozen=True)
class Event:
    """One websocket message: its type and data, and the decoded picture if it is a preview."""

    kind: str
    data: dict
    picture: Image.Image | None = None


@dataclass
class Run:
    """What one prompt did: everything that the websocket said, in order, and the files it saved."""

    prompt_id: str
    events: list[Event] = field(default_factory=list)
    seconds: float = 0.0
    files: list[bytes] = field(default_factory=list)

    def of(self, kind: str) -> list[dict]:
        """The data of the events of one kind: progress, progress_state, executing, executed, ..."""
        return [event.data for event in self.events if event.kind == kind]

    @property
    def images(self) -> list[Image.Image]:
        """The pictures of all output nodes, by node id and then in order."""
        return [Image.open(io.BytesIO(content)) for content in self.files]

    @property
    def previews(self) -> list[Image.Image]:
        """Pictures seen while it ran."""
        return [event.picture for event in self.events if event.picture is not None]

    @property
    def progress(self) -> list[tuple[str, float, float]]:
        """(node id, done, total), a triple for each report."""
        return [(data["node"], data["value"], data["max"]) for data in self.of("progress")]

    @property
    def executed(self) -> list[str]:
        """Ids of the nodes that ran, in order; not those answered from the cache."""
        return [data["node"] for data in self.of("executing") if data["node"] is not None]

    @property
    def cached(self) -> set[str]:
        """Ids of the nodes whose outputs were still known."""
        return {node for data in self.of("execution_cached") for node in data["nodes"]}

    @property
    def outputs(self) -> dict[str, dict]:
        """Node id -> what the node showed: {"images": [...], "text": [...], ...}."""
        return {data["node"]: data["output"] or {} for data in self.of("executed")}

    @property
    def error(self) -> dict | None:
        """ComfyUI's report of the node that failed: node_id, exception_type, exception_message, traceback."""
        return next(iter(self.of("execution_error")), None)

    @property
    def interrupted(self) -> bool:
        return bool(self.of("execution_interrupted"))


class ComfyServer:
    """A ComfyUI on a loopback port whose folders all lie in `base`; a context manager.

    `packs` (folder name in custom_nodes -> repository) are copied as git would ship them; other packs are not
    loaded. `options` are further words of ComfyUI's command line.
    """

    def __init__(self, install: Install, base: Path, packs: dict[str, Path], options: tuple[str, ...] = ()):
        self.install, self.base, self.packs = install, base, packs
        self.custom_nodes, self.input, self.output, self.models = (
            base / name for name in ("custom_nodes", "input", "output", "models")
        )
        self.client_id = uuid.uuid4().hex
        self._options = options
        self._log = base / "comfyui.log"

    def __enter__(self) -> ComfyServer:
        for folder in (self.custom_nodes, self.input, self.output, self.models):
            folder.mkdir(parents=True)
        for name, repository in self.packs.items():
            copy_pack(repository, self.custom_nodes / name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [self.install.python, "main.py", "--cpu", "--port", port, "--base-directory", self.base]
        command += [
            "--disable-all-custom-nodes",
            "--disable-api-nodes",
            "--database-url",
            "sqlite:///:memory:",
        ]
        command += ["--whitelist-custom-nodes", *self.packs] if self.packs else []
        self._process = subprocess.Popen(
            [str(word) for word in (*command, *self._options)],
            cwd=self.install.source,
            env={**self.install.environment(), "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.2)
            else:
                self.boot_log = self.log
                return
        raise RuntimeError(f"ComfyUI did not start:\n{self.log[-4000:]}")

    @property
    def log(self) -> str:
        """All that ComfyUI has printed so far."""
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> bytes:
        """The body of a GET answer."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, body: dict) -> bytes:
        """The body of the answer to a POST of JSON."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def object_info(self) -> dict[str, dict]:
        """Node id -> what the front end learns of the node."""
        return json.loads(self.get("/object_info"))

    def history(self, prompt_id: str) -> dict:
        """ComfyUI's record of a prompt that has ended."""
        return json.loads(self.get(f"/history/{prompt_id}"))[prompt_id]

    def view(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:
        """A file that a node saved, as it lies on the disk."""
        query = urllib.parse.urlencode({"filename": filename, "subfolder": subfolder, "type": type})
        return self.get(f"/view?{query}")

    def interrupt(self) -> None:
        """Cancel the prompt that runs."""
        self.post("/interrupt", {})

    def free(self) -> None:
        """Evict all models and forget all outputs before the next prompt."""
        self.post("/free", {"unload_models": True, "free_memory": True})
        # ComfyUI frees when it next has nothing to run, or after the next prompt: this one.
        self.run({"nothing": {"class_type": "ProbeKeep", "inputs": {}}})

    def queue(self, prompt: dict, extra_data: dict | None = None) -> str:
        """Queue a prompt in API form and return its id; PromptRefused if it is not valid."""
        body = {"prompt": prompt, "client_id": self.client_id, "extra_data": extra_data or {}}
        try:
            return json.loads(self.post("/prompt", body))["prompt_id"]
        except urllib.error.HTTPError as refusal:
            raise PromptRefused(json.load(refusal)) from None

    def run(
        self,
        prompt: dict,
        extra_data: dict | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
        timeout: float = 120,
    ) -> Run:
        """Queue a prompt in API form, watch it to its end and fetch its pictures.

        `extra_data` is what the front end sends along, such as {"preview_method": "auto"}. `on_event` sees
        each event as it comes and may act on it, such as to interrupt. TimeoutError after `timeout` seconds.
        """
        run = asyncio.run(asyncio.wait_for(self._watch(prompt, extra_data, on_event), timeout))
        for _node, shown in sorted(run.outputs.items()):
            run.files += [self.view(**file) for file in shown.get("images", ())]
        return run

    async def _watch(self, prompt: dict, extra_data: dict | None, on_event: Callable[[Event], None]) -> Run:
        address = f"{self.url}/ws?clientId={self.client_id}"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            wishes = {"supports_preview_metadata": True}
            await socket.send_json({"type": "feature_flags", "data": wishes})
            while decode(await socket.receive()).kind != "feature_flags":
                pass
            start = time.monotonic()
            run = Run(self.queue(prompt, extra_data))
            async for message in socket:
                event = decode(message)
                if event.data.get("prompt_id", run.prompt_id) != run.prompt_id:
                    continue
                run.events.append(event)
                on_event(event)
                if event.kind == "executing" and event.data["node"] is None:
                    run.seconds = time.monotonic() - start
                    return run
        raise RuntimeError(f"ComfyUI closed the connection:\n{self.log[-4000:]}")


def decode(message: aiohttp.WSMessage) -> Event:
    """A websocket message as an Event; previews are of kind "preview"."""
    if message.type is aiohttp.WSMsgType.TEXT:
        content = json.loads(message.data)
        return Event(content["type"], content["data"])
    if message.type is not aiohttp.WSMsgType.BINARY:
        raise RuntimeError(f"ComfyUI closed the connection ({message.type.name})")
    kind, length = struct.unpack_from(">II", message.data)
    if kind == PREVIEW_WITH_METADATA:
        data, picture = json.loads(message.data[8 : 8 + length]), message.data[8 + length :]
        return Event("preview", data, Image.open(io.BytesIO(picture)))
    return Event(f"binary {kind}", {})


def copy_pack(repository: Path, target: Path) -> None:
    """Copy the files that git tracks, or would track, as a stranger's clone would have them."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    )
    target.mkdir()
    for name in filter(None, listing.stdout.split("\0")):
        if (repository / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, target / name)
