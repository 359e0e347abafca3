"""A run that is killed at any moment and run again ends with the very bytes of one that was not."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sets import GRAPH, add, contents, key

from varifold.dataset import files, ledger, store
from varifold.dataset.errors import DatasetError
from varifold.dataset.rules import Rules
from varifold.dataset.settings import SETTINGS, Settings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

SAMPLES = 8
RULES = Rules(quotas={"hero": 2})


def run(folder: Path, batch: int = 1) -> None:
    """What a graph does when it is queued again and again: samples, a duplicate, one that is full, splits."""
    with store.open(folder, RULES) as opened:
        opened.add_graph(GRAPH)
        for first in range(0, SAMPLES, batch):
            with opened.batch():
                for number in range(first, first + batch):
                    add(opened, number)
        if key(SAMPLES) not in opened:
            add(opened, SAMPLES, label="tile/stone", marks=(), caption="drawn by the same sprite as the first")
        opened.reject(key(1).id)
        opened.relabel(key(2).id, "slime", instance=0)
        opened.split()


def in_a_child(work: Callable[[], None]) -> int:
    """Do it in a process of its own; its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module", params=[1, 4], ids=["one by one", "in batches"])
def undisturbed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.perf_counter()
    assert status(in_a_child(lambda: run(folder, request.param))) == 0
    return request.param, contents(folder), time.perf_counter() - start


def check_what_is_left(folder: Path, expected: dict[str, bytes]) -> None:
    """After a kill: the ledger is the beginning of the undisturbed one, and each sample in it has its files."""
    path = folder / store.LEDGER
    if path.exists():
        assert expected[store.LEDGER].startswith(path.read_bytes())
        with store.open(folder, write=False) as opened:
            assert opened.broken() == []
    for name, content in contents(folder).items():
        if name.startswith(("images", "masks", "graphs")):
            assert content == expected[name]


def check_finished(folder: Path, batch: int, expected: dict[str, bytes]) -> None:
    run(folder, batch)
    assert contents(folder) == expected
    with store.open(folder) as opened:
        assert opened.broken() == [] and opened.sweep() == []
    assert contents(folder) == expected


class Mortal:
    """Kills the process before, halfway through or after the n-th thing that it does to the disk."""

    def __init__(self, patched: pytest.MonkeyPatch, moment: int):
        self.passed, self.moment = 0, moment
        for module, name in ((files, "sync_file"), (files, "sync_folder"), (files, "make_folder")):
            patched.setattr(module, name, self.around(getattr(module, name)))
        patched.setattr(files.os, "replace", self.around(os.replace))
        patched.setattr(files.os, "fsync", self.around(os.fsync))
        for module in (files, ledger):
            patched.setattr(module, "write_all", self.halfway(files.write_all))
        patched.setattr(files, "SYNCS_AT_ONCE", 1)

    def passes(self) -> None:
        if self.passed == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def around(self, work: Callable) -> Callable:
        def mortal(*arguments, **named):
            self.passes()
            result = work(*arguments, **named)
            self.passes()
            return result

        return mortal

    def halfway(self, write: Callable) -> Callable:
        def mortal(file, content):
            self.passes()
            write(file, content[: len(content) // 2])
            self.passes()
            write(file, content[len(content) // 2 :])
            self.passes()

        return mortal


def dies_at(folder: Path, batch: int, moment: int) -> bool:
    """Whether a run dies that may do `moment` things to the disk."""

    def work():
        with pytest.MonkeyPatch.context() as patched:
            Mortal(patched, moment)
            run(folder, batch)

    code = status(in_a_child(work))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def count_moments(tmp_path: Path, batch: int) -> int:
    """How many things an undisturbed run does to the disk, each with its before, after and halfway."""
    with pytest.MonkeyPatch.context() as patched:
        mortal = Mortal(patched, -1)
        run(tmp_path / "counted", batch)
    return mortal.passed


def test_killed_at_any_operation_on_the_disk(undisturbed, tmp_path):
    batch, expected, _ = undisturbed
    for moment in random.Random(batch).sample(range(count_moments(tmp_path, batch)), 20):
        folder = tmp_path / f"killed {moment}"
        assert dies_at(folder, batch, moment)
        check_what_is_left(folder, expected)
        check_finished(folder, batch, expected)


def kill_at_random(undisturbed, tmp_path, times):
    batch, expected, seconds = undisturbed
    chance, killed = random.Random(0), 0
    while killed < times:
        folder = tmp_path / f"{killed}"
        child = in_a_child(lambda folder=folder: run(folder, batch))
        time.sleep(chance.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        if status(child) == 0:
            seconds *= 0.9  # it was faster than the one that was timed
            shutil.rmtree(folder)
            continue
        killed += 1
        check_what_is_left(folder, expected)
        check_finished(folder, batch, expected)


def test_killed_at_random_moments(undisturbed, tmp_path):
    kill_at_random(undisturbed, tmp_path, 15)


@pytest.mark.heavy
def test_killed_at_two_hundred_random_moments(undisturbed, tmp_path):
    kill_at_random(undisturbed, tmp_path, 200)


@pytest.mark.heavy
def test_killed_at_every_operation_on_the_disk(undisturbed, tmp_path):
    batch, expected, _ = undisturbed
    for moment in range(count_moments(tmp_path, batch)):
        folder = tmp_path / f"killed {moment}"
        assert dies_at(folder, batch, moment)
        check_what_is_left(folder, expected)
        check_finished(folder, batch, expected)


def test_killed_again_and_again(undisturbed, tmp_path):
    batch, expected, _ = undisturbed
    folder, moment = tmp_path / "set", 3
    while dies_at(folder, batch, moment):
        check_what_is_left(folder, expected)
        moment += 19
    check_finished(folder, batch, expected)


def test_killed_before_the_settings_are_in_place(tmp_path):
    def work():
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            Settings("a set").save(tmp_path)

    assert status(in_a_child(work)) == -signal.SIGKILL
    Settings("a set").save(tmp_path)
    assert os.listdir(tmp_path) == [SETTINGS]


@pytest.mark.parametrize("limit", [0, 30, 100, 600, 900, 1500, 4000])
def test_a_disk_that_takes_no_more(undisturbed, tmp_path, limit):
    """The system's limit on the size of files stands for a full disk: what is written is cut off in the middle."""
    batch, expected, _ = undisturbed
    folder = tmp_path / "set"
    told = tmp_path / "told"

    def work():
        with told.open("w") as file:
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            try:
                run(folder, batch)
            except DatasetError as error:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                file.write(str(error))

    assert status(in_a_child(work)) == 0
    assert "File too large" in told.read_text()
    check_what_is_left(folder, expected)
    assert not (folder / files.UNFINISHED).exists()
    check_finished(folder, batch, expected)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 20])
def test_a_disk_that_was_full_for_a_while(tmp_path, monkeypatch, after):
    """The same Store goes on when there is room again."""
    expected = tmp_path / "expected"
    run(expected)
    left = [after]

    def write(file, content):
        left[0] -= 1
        if left[0] == -1:
            file.write(content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        files_write(file, content)

    files_write = files.write_all
    monkeypatch.setattr(files, "write_all", write)
    monkeypatch.setattr(ledger, "write_all", write)
    folder, failed = tmp_path / "set", 0
    with store.open(folder, RULES) as opened:
        for number in range(-1, SAMPLES):
            for _ in range(2):
                try:
                    opened.add_graph(GRAPH) if number < 0 else add(opened, number)
                except DatasetError as error:
                    assert "No space left on device" in str(error)
                    failed += 1
    assert failed == 1
    check_finished(folder, 1, contents(expected))
