"""Makes the parts of a sweep on workers of Ray, each as `varifold run --shard i/N` would, and completes the sets."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..dataset.finalize import Finalized, finalize
from .errors import NodeError, WorkflowError
from .host import StudioHost
from .runner import run_file, sets_of

RETRIES = 3
PAUSE = 0.5  # seconds between two looks at what the workers tell


class PartFailed(RuntimeError):
    """A node raised in a worker. Another try may do better, and goes on where this one was."""


def scale(
    graph: str | Path,
    set_values: Sequence[str],
    output: str | Path,
    workers: int,
    address: str | None,
    tell: Callable[[str], None],
    check_cancelled: Callable[[], None],
) -> dict[Path, Finalized]:
    """Make all parts of the Sweep in `graph`, and complete the sets that it fills; by their folders.

    `workers`: how many parts. Each takes one GPU where the cluster at `address` has any, else one core; those for which
    there is no room wait. Without an address, Ray is started on this machine. `tell` hears a line for each chunk.
    `check_cancelled`, asked every PAUSE seconds, raises to stop all workers: an exception that a signal raises inside
    Ray may come out as any other. A part whose process is killed, or in which a node raises, is tried RETRIES times
    more.

    Raises WorkflowError if the graph cannot be run, Ray is missing or a part has failed, and DatasetError.
    """
    sets = sets_of(graph, set_values, output)
    ray = _start(address)
    run = (str(Path(graph).absolute()), list(set_values), str(Path(output).absolute()))
    try:
        _make_parts(ray, run, workers, tell, check_cancelled)
    finally:
        ray.shutdown()
    return {folder: finalize(folder) for folder in sets}


def _start(address: str | None) -> Any:
    """Ray, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise WorkflowError(f"{error}: varifold scale needs Ray, pip install 'varifold[scale]'") from error
    local = {} if address else {"include_dashboard": False}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **local)
    except (OSError, RuntimeError, ValueError) as error:
        raise WorkflowError(f"cannot start Ray at {address or 'this machine'}: {error}") from error
    return ray


def _make_parts(
    ray: Any,
    run: tuple[str, list[str], str],
    workers: int,
    tell: Callable[[str], None],
    check_cancelled: Callable[[], None],
) -> None:
    from ray.util.queue import Queue

    gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=[PartFailed])(make_part)
    told = Queue(actor_options={"num_cpus": 0})
    parts = {make.remote(*run, os.getcwd(), (number, workers), told): number for number in range(workers)}
    waiting, failed = list(parts), []
    try:
        while waiting:
            check_cancelled()
            done, waiting = ray.wait(waiting, timeout=PAUSE)
            for line in told.get_nowait_batch(told.qsize()):
                tell(line)
            for part in done:
                name = f"part {parts[part]} of {workers}"
                try:
                    ray.get(part)
                    tell(f"{name}: done")
                except ray.exceptions.RayError as error:
                    failed.append(f"{name}: {getattr(error, 'cause', None) or error}")
                    tell(failed[-1])
    except BaseException:
        for part in waiting:
            ray.cancel(part, force=True)
        raise
    if failed:
        raise WorkflowError("\n".join([*failed, "run the same command again: it goes on where these parts were"]))


def make_part(graph: str, set_values: list[str], output: str, here: str, part: tuple[int, int], told: Any) -> None:
    """What a worker of Ray does: run part (i, N), in the folder `here`; the queue `told` gets its lines."""
    name, host = f"part {part[0]} of {part[1]}", platform.node()
    for path in (graph, here):
        if not os.path.exists(path):
            raise WorkflowError(f"{path} is not there on {host}: all machines of the cluster must share it")
    os.chdir(here)
    told.put(f"{name}: begins on {host}, process {os.getpid()}")

    def hear(event: str, data: dict) -> None:
        if event == "chunk":
            told.put(f"{name}: chunk {data['index'] + 1} of {data['chunks']}")

    try:
        run_file(graph, set_values, output, part, StudioHost(hear))
    except NodeError as error:
        raise PartFailed(str(error)) from error
    except WorkflowError as error:
        raise WorkflowError(str(error)) from error
