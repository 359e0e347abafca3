"""Nodes that wait, draw, hold on to things and fail, and the graphs that the tests of the server send."""

from __future__ import annotations

import threading
import time
import weakref

import torch
from PIL import Image
from studio_graphs import NODES, api

from varifold.nodes import host as node_host

OPEN = threading.Event()
PICTURES = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
RAN: list[object] = []
HELD: list[weakref.ref] = []
ERRORS = {
    cls.__name__: cls for cls in (RuntimeError, MemoryError, RecursionError, SystemExit, KeyboardInterrupt, ValueError)
}


def fill_memory(message: str) -> None:
    torch.empty(2**55)


ERRORS["no memory on the CPU"] = fill_memory


class Wait:
    """Runs until OPEN is set or somebody cancels."""

    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 0})}}

    def run(self, value):
        while not OPEN.is_set():
            node_host.current().check_cancelled()
            time.sleep(0.001)
        RAN.append(value)
        return (value,)


class Draw:
    """A bar of three steps, each with a picture."""

    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 0})}}

    def run(self, value):
        bar = node_host.current().progress(len(PICTURES))
        for step, picture in enumerate(PICTURES, 1):
            bar.update(step, picture)
        return (value,)


class Fail:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"error": (list(ERRORS),)}, "optional": {"after": ("*",)}}

    def run(self, error, after=None):
        raise ERRORS[error]("the wheel fell off")


class Hold:
    """Its result can be watched through HELD."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        result = torch.zeros(1, 2, 2, 3)
        HELD.append(weakref.ref(result))
        return (result,)


class Infinite:
    RETURN_TYPES = ("FLOAT",)
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        return {"ui": {"numbers": [float("nan"), torch.Size([2])]}, "result": (float("inf"),)}


ALL_NODES = {**NODES, **{cls.__name__: cls for cls in (Wait, Draw, Fail, Hold, Infinite)}}


def shown(kind: str, **inputs: object) -> dict[str, dict]:
    """Node 1 of that kind, and node 2 that shows what it gives."""
    return api(n1=(kind, inputs), n2=("Show", {"anything": ["1", 0]}))


def sum_of(a: int, b: int) -> dict[str, dict]:
    """Nodes 1 and 2 are numbers, 3 adds them, 4 shows the sum."""
    return api(
        n1=("Number", {"value": a}),
        n2=("Number", {"value": b}),
        n3=("Add", {"a": ["1", 0], "b": ["2", 0]}),
        n4=("Show", {"anything": ["3", 0]}),
    )
