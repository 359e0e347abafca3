"""One writer at a time, whatever became of the last."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from small_sets import add, contents

from varifold.dataset import lock, store
from varifold.dataset.errors import DatasetError, LockedError

HOLD = """
import sys
from varifold.dataset import lock, store
opened = store.open(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
opened.close()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_is_told_who_the_first_is(tmp_path, holder):
    with pytest.raises(LockedError, match=rf"is being written by process {holder.pid} on .*: wait"):
        store.open(tmp_path)


def test_the_second_writer_may_read_and_write_when_the_first_is_done(tmp_path, holder):
    holder.communicate("")
    with store.open(tmp_path) as opened:
        assert add(opened, 0).outcome == "added"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / store.LOCK).read_bytes()
    with store.open(tmp_path) as opened:
        assert add(opened, 0).outcome == "added"
    assert (tmp_path / store.LOCK).read_bytes() == b""


def test_a_process_that_opens_a_set_twice_is_told_so(tmp_path):
    with store.open(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        store.open(tmp_path)
    store.open(tmp_path).close()


def test_readers_need_no_lock_and_see_whole_samples(tmp_path):
    with store.open(tmp_path) as opened:
        add(opened, 0)
        with store.open(tmp_path, write=False) as reader:
            assert [sample.image for sample in reader.samples()] == [sample.image for sample in opened.samples()]
        before = contents(tmp_path)
        reader = store.open(tmp_path, write=False)
        assert contents(tmp_path) == before
        for change in (lambda: add(reader, 1), lambda: reader.split(), lambda: reader.sweep()):
            with pytest.raises(DatasetError, match="open for reading only"):
                change()
        assert contents(tmp_path) == before


def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", fail)
    with pytest.raises(DatasetError, match="cannot be locked: No locks available"):
        store.open(tmp_path)


def test_a_set_that_failed_to_open_is_not_locked(tmp_path):
    (tmp_path / store.LEDGER).write_bytes(b"something else\n")
    for _ in range(2):
        with pytest.raises(DatasetError, match="line 1 is broken"):
            store.open(tmp_path)


def test_a_closed_set_takes_nothing_more(tmp_path):
    opened = store.open(tmp_path)
    opened.close()
    opened.close()
    with pytest.raises(DatasetError, match="or closed"):
        add(opened, 0)


@pytest.fixture
def open_to_all():
    """A folder that any user may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a user without rights")
def test_a_folder_that_cannot_be_written_says_so_and_can_be_read(open_to_all):
    """Root may write anywhere, so another user tries."""
    folder, told = open_to_all / "set", open_to_all / "told"
    with store.open(folder) as opened:
        add(opened, 0)
    before = contents(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            store.open(folder)
        except DatasetError as error:
            told.write_text(f"{error}\n{len(store.open(folder, write=False))}")
        os._exit(0)
    os.waitpid(child, 0)
    assert told.read_text() == f"{folder} cannot be written: Permission denied\n1"
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    assert contents(folder) == before
