"""What may happen to who reads a hostile file.

A reader may work, or raise a CheckpointError that names the file and what is wrong. It may not raise anything else,
take long, allocate more than the file justifies, build a net that the file cannot fill, or write to the disk.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from hostile_files import Mutation
from small_checkpoints import LORA_TARGETS, small_checkpoints
from torch.utils._python_dispatch import TorchDispatchMode

from varifold.models.checkpoint import CheckpointError, load_autoencoder, load_denoiser, read_header, report
from varifold.models.checkpoint.lora import with_lora
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.generating import load_generator

SECONDS = 2.0  # of the processor's time, for one reader
BYTES = 16  # allocated in all, in bytes of the file: fp8 becomes float64, is joined, and laid out anew
META = 10  # elements and tensors of nets without weights, in those of the file
SLACK = 100_000
LONGEST = 1500  # characters of a message

Reader = Callable[[Path, str, random.Random], object]
"""What reads a file: its path, what it was before it was changed, and a source of choices."""

READERS: dict[str, Reader] = {
    "report": lambda path, kind, rng: report(path),  # which inspects
    "load_denoiser": lambda path, kind, rng: load_denoiser(
        path,
        dtype=rng.choice(["float32", "float32", "bfloat16", "float16"]),
        prediction=rng.choice(["auto", "auto", "auto", "eps", "v", "flow"]),
    ),
    "load_autoencoder": lambda path, kind, rng: load_autoencoder(
        path, dtype=rng.choice(["float32", "bfloat16", "float64"])
    ),
    "load_generator": lambda path, kind, rng: load_generator(path, dtype=rng.choice(["float32", "bfloat16"])),
    "with_lora": lambda path, kind, rng: with_lora(target(kind), path, rng.choice([1.0, 1.0, 0.5, 0.0])),
}


@cache
def target(kind: str) -> Denoiser:
    """The denoiser that a LoRA is put on: the one it is for, or that of Stable Diffusion 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "target.safetensors"
        path.write_bytes(small_checkpoints()[LORA_TARGETS.get(kind, "SD 1, checkpoint")].packed())
        return load_denoiser(path)


class Allocations(TorchDispatchMode):
    """Bytes of new tensors, and elements and number of those on the meta device."""

    def __init__(self):
        super().__init__()
        self.bytes = self.elements = self.tensors = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not func.is_view and not func._schema.is_mutable:
            if result.device.type == "meta":
                self.elements += result.numel()
                self.tensors += 1
            else:
                self.bytes += result.untyped_storage().nbytes()
        return result


class Writes:
    """What this process opened for writing, made, moved or deleted, while it is `watched`."""

    EVENTS = (
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "subprocess.Popen",
        "os.system",
    )

    def __init__(self):
        self.seen: list[str] = []
        self.watching = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.watching:
            return
        flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
        if event in self.EVENTS or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.seen.append(f"{event} {arguments[0]!a:.100}")

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        self.seen, self.watching = [], True
        try:
            yield self.seen
        finally:
            self.watching = False


WRITES = Writes()


class Given(NamedTuple):
    """What justifies memory: the size of a file, and of the net that a LoRA changes."""

    bytes: int
    elements: int
    tensors: int


class Outcome(NamedTuple):
    """Of one reader with one file: what it said of it, if it did not read it, and what it took.

    `allocated` and `justified` are bytes. `faults` say in words what should not have happened.
    """

    reader: str
    read: bool
    said: str
    seconds: float
    allocated: int
    justified: int
    faults: tuple[str, ...]


def warm_up(path: Path) -> None:
    """Imports what readers import at their first use, and makes what they need, so that none of it counts as theirs."""
    for number, (kind, file) in enumerate(small_checkpoints().items()):
        target(kind)
        outcomes(path, Mutation(number, kind, "none", file.packed()))


def outcomes(path: Path, hostile: Mutation) -> list[Outcome]:
    """Writes a file and lets each reader have it."""
    path.write_bytes(hostile.data)
    try:
        infos = read_header(path).tensors.values()
        elements, count = sum(math.prod(info.shape) for info in infos), len(infos)
    except CheckpointError:
        elements = count = 0
    given = Given(len(hostile.data), elements, count)
    state = target(hostile.kind).net.state_dict().values()
    changed = Given(given.bytes + sum(t.nbytes for t in state), sum(t.numel() for t in state), len(state))
    return [_outcome(reader, path, hostile, changed if reader == "with_lora" else given) for reader in READERS]


def _outcome(reader: str, path: Path, hostile: Mutation, given: Given) -> Outcome:
    rng, message, read, faults = random.Random(hostile.number), "", False, []
    begin = time.process_time()
    with WRITES.watched() as writes, Allocations() as allocations:
        try:
            READERS[reader](path, hostile.kind, rng)
            read = True
        except CheckpointError as error:
            message = str(error)
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error!s:.300}")
    seconds = time.process_time() - begin
    if message:
        if path.name not in message:
            faults.append(f"does not name the file: {message!a:.300}")
        if len(message.replace(str(path), "")) < 15:
            faults.append(f"says nothing: {message!a:.300}")
        if len(message) > LONGEST:
            faults.append(f"a message of {len(message)} characters: {message!a:.300}")
        if not all(c.isprintable() or c == "\n" for c in message):
            faults.append(f"a message that is not printable: {message!a:.300}")
    if seconds > SECONDS:
        faults.append(f"took {seconds:.2f} s")
    if allocations.bytes > BYTES * given.bytes + SLACK:
        faults.append(f"allocated {allocations.bytes} bytes for {given.bytes}")
    if read and allocations.elements > META * given.elements + SLACK:
        faults.append(f"built nets of {allocations.elements} elements for {given.elements}")
    if allocations.tensors > META * given.tensors + SLACK / 100:
        faults.append(f"built nets of {allocations.tensors} tensors for {given.tensors}")
    faults += [f"wrote: {write}" for write in writes]
    return Outcome(reader, read, message, seconds, allocations.bytes, given.bytes, tuple(faults))
