"""`varifold scale`: the parts of a sweep on workers of Ray."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweep_graphs import SWEEP, contents, graph, saved

from varifold.__main__ import main
from varifold.dataset.parts import parts_of
from varifold.studio.errors import WorkflowError
from varifold.studio.scale import RETRIES, make_part

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}}
LIMIT = 150  # seconds after which a run that hangs is ended, so that its lines are seen
BEGINS = re.compile(r"part (\d) of 2: begins on \S+, process (\d+)\n")


class Scale:
    """`varifold scale` in a process of its own."""

    def __init__(self, folder: Path, document: dict):
        command = [sys.executable, "-m", "varifold", "scale", saved(folder, document), "--workers", "2"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        home = {**os.environ, "HOME": str(folder)}  # where a local Ray leaves the token that guards it
        self.process = subprocess.Popen(command, cwd=folder, env=home, **pipes)
        self.told: list[str] = []
        self.limit = threading.Timer(LIMIT, self.process.terminate)
        self.limit.start()

    def until(self, pattern: str) -> re.Match:
        """The next line that is like `pattern`; all until then are in `told`."""
        for line in self.process.stdout:
            self.told.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("".join(self.told))

    def end(self) -> int:
        self.told += self.process.stdout
        return self.process.wait()

    @property
    def begun(self) -> list[tuple[str, str]]:
        """Part and process, in the order in which they began."""
        return BEGINS.findall("".join(self.told))


@pytest.fixture
def scale(tmp_path, require) -> Iterator:
    require("ray", importlib.util.find_spec("ray"), "run `pip install ray`")
    runs = []

    def begin(document: dict) -> Scale:
        runs.append(Scale(tmp_path, document))
        return runs[-1]

    yield begin
    for run in runs:
        run.limit.cancel()
        run.process.terminate()
        run.process.wait()


def is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_set_is_that_of_one_process_though_a_worker_is_killed(scale, tmp_path, whole):
    run = scale(graph())
    found = run.until(BEGINS.pattern)
    os.kill(int(found[2]), signal.SIGKILL)
    assert run.end() == 0, run.told
    parts = [part for part, _ in run.begun]
    assert sorted(parts) == sorted(["0", "1", found[1]])
    assert {f"part {part} of 2: done\n" for part in "01"} <= set(run.told)
    assert run.told[-1] == "6 samples and 0 rejected; 2 parts merged\n"
    assert contents(tmp_path / "output/items") == whole


def test_an_interrupt_stops_all_workers(scale, tmp_path):
    run = scale(graph(SWEEP | {"quota": 10_000}))
    run.until("part 0 of 2: chunk")
    while len(run.begun) < 2:
        run.until(BEGINS.pattern)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.told
    assert run.told[-1] == "cancelled\n"
    deadline = time.monotonic() + 30
    while any(is_alive(process) for _, process in run.begun):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "output/items/ledger.jsonl").exists()
    assert main(["finalize", str(tmp_path / "output/items")]) == 1


@pytest.mark.heavy
def test_a_part_that_fails_again_and_again_is_told(scale, tmp_path):
    """Its prompt has a word that the denoiser does not know."""
    document = graph(SWEEP | {"labels": "sword\nxyzzy", "prompts": "{label}", "quota": 1})
    document["4"]["inputs"]["unknown"] = "error"
    run = scale(document)
    assert run.end() == 1
    assert sorted(part for part, _ in run.begun) == ["0"] + ["1"] * (1 + RETRIES)
    told = "".join(run.told)
    assert "part 0 of 2: done" in told and "error: part 1 of 2: node VarifoldPrompt (id 4)" in told and "xyzzy" in told
    assert "Traceback" not in told
    assert not (tmp_path / "output/items/ledger.jsonl").exists()


class Told(list):
    put = list.append


def test_a_part_tells_of_its_chunks(here):
    told = Told()
    make_part(saved(here, graph()), ["VarifoldSweep.quota=4"], "output", str(here), (1, 2), told)
    assert told[0].startswith("part 1 of 2: begins on ") and told[0].endswith(f", process {os.getpid()}")
    assert told[1:] == ["part 1 of 2: chunk 2 of 4", "part 1 of 2: chunk 4 of 4"]
    assert [part.finished for part in parts_of(here / "output/items")] == [True]


def test_a_machine_that_does_not_share_the_folders_says_so(here):
    path = saved(here, graph())
    for given in ((str(here / "none.json"), str(here)), (path, str(here / "none"))):
        with pytest.raises(
            WorkflowError, match=r"none.* is not there on .*: all machines of the cluster must share it"
        ):
            make_part(given[0], [], "output", given[1], (0, 2), Told())


def without_sweep() -> dict[str, dict]:
    document = graph()
    del document["3"]
    document["4"]["inputs"]["text"] = "sword"
    document["5"]["inputs"] |= {"seed": 1, "batch": 1}
    document["6"]["inputs"] |= {"labels": "sword", "captions": ""}
    return document


def test_without_ray_it_says_what_to_install(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["scale", saved(here, graph()), "--workers", "2"]) == 1
    assert "varifold scale needs Ray, pip install 'varifold[scale]'" in capsys.readouterr().err
    assert not (here / "output").exists()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (graph(SWEEP | {"labels": ""}), "labels is empty"),
        (graph(formats="cocoa"), "there is no format cocoa"),
        (graph(folder="../items"), "folder: '../items'"),
        (without_sweep(), "no Sweep divides the work"),
        (graph() | {"6": SAVE}, "no Export Dataset keeps the pictures"),
        (graph() | {"6": {"class_type": "VarifoldExportDataset", "inputs": {}}}, "Required input is missing"),
        (graph() | {"7": {"class_type": "VarifoldExportDataset", "inputs": {}}}, "Required input is missing"),
    ],
)
def test_what_cannot_be_divided_is_told_before_ray_starts(here, monkeypatch, capsys, document, told):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["scale", saved(here, document), "--workers", "2"]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_workers_are_a_number(here, capsys, workers):
    with pytest.raises(SystemExit, match="2"):
        main(["scale", saved(here, graph()), "--workers", workers])
    assert "is not a number from 1" in capsys.readouterr().err
