"""`varifold run labelled_data.json`, killed at random moments and run again, ends with the bytes of one that was not.

The denoiser is the embedded one, in fewer steps than the example's. $VARIFOLD_KILLS says how often it is killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_sets import contents

from varifold.dataset import store
from varifold.dataset.store import LEDGER, LOCK

KILLS = int(os.environ.get("VARIFOLD_KILLS", 200))
GRAPH = Path(__file__).parents[2] / "example_workflows/labelled_data.json"
COMMAND = [sys.executable, "-m", "varifold", "run", str(GRAPH), "--set", "VarifoldSchedule.steps=4"]
SET = Path("output/varifold/labelled")
WANTED = 60
VIEWS = {"imagefolder", "coco", "yolo_detect", "card"}

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL"),
]


def begin(here: Path) -> subprocess.Popen:
    here.mkdir(exist_ok=True)
    return subprocess.Popen(COMMAND, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_until_it_writes(process: subprocess.Popen, here: Path) -> None:
    """Until the process holds the lock of the set, or has ended."""
    lock, told = here / SET / LOCK, f'"process": {process.pid},'
    while process.poll() is None and not (lock.is_file() and told in lock.read_text()):
        time.sleep(0.002)


def end(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def kill(process: subprocess.Popen) -> bool:
    """Whether it was still alive."""
    process.kill()
    _, errors = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode != 0


def made(here: Path) -> dict[str, bytes]:
    files = contents(here / SET)
    files.pop(LOCK, None)
    return files


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, bytes], float, float]:
    """Its files, and the seconds that it took until it wrote and in all."""
    here = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    process = begin(here)
    wait_until_it_writes(process, here)
    first = time.monotonic() - start
    end(process)
    seconds = time.monotonic() - start
    with store.open(here / SET, write=False) as opened:
        assert len(opened) + opened.reasons.total() == WANTED and opened.broken() == []
        assert all(sample.split for sample in opened.samples())
    assert {path.name for path in (here / SET / "views").iterdir()} == VIEWS
    return made(here), first, seconds


def check_what_is_left(here: Path, expected: dict[str, bytes]) -> None:
    """After a kill: the ledger is the beginning of the undisturbed one, and what it names is whole."""
    ledger = here / SET / LEDGER
    if ledger.exists():
        assert expected[LEDGER].startswith(ledger.read_bytes())
        with store.open(here / SET, write=False) as opened:
            assert opened.broken() == []


def test_killed_at_random_moments(undisturbed, tmp_path):
    """Half the kills come at any moment, half while the set is written; up to three before a run may end."""
    expected, first, seconds = undisturbed
    chance, killed, finished = random.Random(0), 0, 0
    while killed < KILLS:
        here = tmp_path / "here"
        for _ in range(chance.randint(1, 3)):
            process = begin(here)
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0, seconds))
            else:
                wait_until_it_writes(process, here)
                time.sleep(chance.uniform(0, seconds - first))
            killed += kill(process)
            check_what_is_left(here, expected)
        end(begin(here))
        assert made(here) == expected
        shutil.rmtree(here)
        finished += 1
    print(f"{killed} kills, {finished} sets: all the same bytes")
