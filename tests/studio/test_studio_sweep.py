"""`varifold run` of a sweep: chunk by chunk, in parts, cut off and gone on with; and `varifold finalize`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from varifold.__main__ import main
from varifold.dataset import store
from varifold.dataset.settings import read_settings
from varifold.studio.errors import Cancelled
from varifold.studio.host import StudioHost
from varifold.studio.part import part_of
from varifold.studio.runner import run_file

torch.set_num_threads(1)
SWEEP = {"labels": "sword\nshield", "prompts": "{label}\n{label} red", "quota": 3, "chunk": 2, "index": 0, "seed": 5}
EXPORT = {
    "folder": "items",
    "masks_are": "transparency",
    "formats": "imagefolder, coco",
    "splits": "train: 80, test: 20",
    "quotas": "",
    "filters": "blank: 2, duplicate: 2",
    "picture_files": "png",
    "with_workflow": True,
    "licence": "CC0-1.0",
    "author": "",
}
CHUNKS = 4
GAPS = {"ID": "7", "MIN": "1", "MAX": "7", "STEP": "1", "COUNT": "3"}  # sbatch --array=1,3,7


def graph(sweep=SWEEP, **export) -> dict[str, dict]:
    """Swords and shields of the embedded denoiser, in three steps, into output/items."""
    file = {"file": "Varifold pixel art (embedded)", "precision": "auto", "prediction": "auto"}
    curve = {"curve": "karras", "steps": 3, "denoise": 1.0, "sigma_max": 0.0, "sigma_min": 0.0, "rho": 7.0}
    curve |= {"shift": 1.0, "betas": "scaled_linear", "zero_terminal_snr": False, "points": "", "denoiser": ["1", 0]}
    drawn = {"denoiser": ["1", 0], "sigmas": ["2", 0], "solver": "euler", "guidance": 1.0, "width": 0, "height": 0}
    drawn |= {"seed": ["3", 1], "batch": ["3", 2], "positive": ["4", 0]}
    wired = {"images": ["5", 0], "masks": ["5", 1], "labels": ["3", 3], "captions": ["3", 4]}
    nodes = {
        "1": ("LoadDenoiser", file),
        "2": ("Schedule", curve),
        "3": ("Sweep", sweep),
        "4": ("Prompt", {"denoiser": ["1", 0], "text": ["3", 0], "unknown": "nearest"}),
        "5": ("Sampler", drawn),
        "6": ("ExportDataset", {**wired, **EXPORT, **export}),
    }
    return {name: {"class_type": f"Varifold{kind}", "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def saved(folder: Path, document: dict) -> str:
    (folder / "graph.json").write_text(json.dumps(document))
    return str(folder / "graph.json")


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a set but for its parts and its lock."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name.split("/")[0] not in ("shards", "lock")}


class Run:
    """Runs a graph in this process, and hears how often each node worked; cancels at the export of chunk `stop`."""

    def __init__(self, path: str, output: Path, part: tuple[int, int] = (0, 1), stop: int | None = None):
        self.worked: list[str] = []
        self.stop = stop
        self.host = StudioHost(self.hear)
        self.report = None
        try:
            self.report = run_file(path, output=output, part=part, host=self.host)
        except Cancelled:
            assert stop is not None

    def hear(self, event: str, data: dict) -> None:
        if event == "executing":
            self.worked.append(data["class_type"].removeprefix("Varifold"))
            if self.stop is not None and self.worked.count("ExportDataset") == self.stop:
                self.host.cancel.set()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The set as one process makes it undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(saved(folder, graph()), folder / "output")
    assert run.worked.count("Sampler") == CHUNKS and run.worked.count("LoadDenoiser") == 1
    with store.open(folder / "output/items", write=False) as made:
        assert made.counts == {"sword": 3, "shield": 3}
        assert sorted(sample.caption for sample in made.samples()) == sorted(
            [*["sword", "shield"] * 2, "sword red", "shield red"]
        )
    return contents(folder / "output/items")


@pytest.mark.parametrize("workers", [2, 5])
def test_the_set_is_the_same_however_many_workers_made_it(here, whole, capsys, workers):
    for worker in reversed(range(workers)):
        assert main(["run", saved(here, graph()), "--shard", f"{worker}/{workers}"]) == 0
    items = here / "output/items"
    made = [number for number in range(workers) if number < CHUNKS]
    assert sorted(path.name for path in (items / "shards").iterdir()) == [str(number) for number in made]
    assert not (items / "views").exists()
    for _ in range(2):
        assert main(["finalize", str(items)]) == 0
        assert f"6 samples and 0 rejected, of {len(made)} parts" in capsys.readouterr().out
        assert contents(items) == whole


@pytest.mark.parametrize("stop", [1, 2, CHUNKS])
def test_a_run_that_was_cut_off_goes_on(here, whole, stop):
    path = saved(here, graph())
    Run(path, here / "output", stop=stop)
    again = Run(path, here / "output")
    assert again.worked.count("Sampler") == CHUNKS - (stop - 1)
    assert contents(here / "output/items") == whole


def test_a_run_that_is_done_only_builds_the_views_again(here, whole):
    path = saved(here, graph())
    Run(path, here / "output")
    shutil.rmtree(here / "output/items/views")
    assert Run(path, here / "output").worked == []
    assert contents(here / "output/items") == whole


def test_other_formats_need_no_new_pictures(here, capsys):
    output = here / "output"
    for formats, parts in (("coco", [(0, 2), (1, 2)]), ("voc", [(0, 2), (1, 2)])):
        worked = [Run(saved(here, graph(formats=formats)), output, part).worked for part in parts]
        assert main(["finalize", str(output / "items")]) == 0
        assert (output / "items/views" / formats).is_dir()
    assert worked == [[], []]
    Run(saved(here, graph(formats="yolo_detect")), output)
    assert (output / "items/views/yolo_detect").is_dir()
    assert read_settings(output / "items").formats == ("yolo_detect",)


def test_a_part_that_was_cut_off_goes_on(here, whole):
    path, output = saved(here, graph()), here / "output"
    Run(path, output, (0, 2), stop=2)
    assert Run(path, output, (0, 2)).worked.count("Sampler") == 1
    Run(path, output, (1, 2))
    assert main(["finalize", str(output / "items")]) == 0
    assert contents(output / "items") == whole


def test_killed_at_any_moment(here, whole):
    """Killed once its first samples are in the ledger, and gone on with."""
    command = [sys.executable, "-m", "varifold", "run", saved(here, graph())]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    ledger = here / "output/items/ledger.jsonl"
    process = subprocess.Popen(command, cwd=here, **quiet)
    deadline = time.monotonic() + 60
    while not (ledger.is_file() and b'"sample"' in ledger.read_bytes()) and time.monotonic() < deadline:
        assert process.poll() in (None, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, cwd=here, check=True, **quiet)
    assert contents(here / "output/items") == whole


def test_for_a_quota_that_is_not_filled_the_sweep_begins_again(here):
    """With other seeds, and for that label alone."""
    path = saved(here, graph(quotas="sword: 5, shield: 2"))
    run = Run(path, here / "output")
    with store.open(here / "output/items", read_settings(here / "output/items").rules, write=False) as made:
        assert made.counts == {"sword": 5, "shield": 2} and not made.wanting
        assert len({sample.sha256 for sample in made.samples()}) == 7
        assert all(sample.split for sample in made.samples())
    assert run.worked.count("Sampler") == CHUNKS + 1
    done = contents(here / "output/items")
    Run(path, here / "output")
    assert contents(here / "output/items") == done


def test_when_all_quotas_are_filled_no_more_is_drawn(here):
    path = saved(here, graph(quotas="sword: 2, shield: 1"))
    assert Run(path, here / "output").worked.count("Sampler") == 2
    assert Run(path, here / "output").worked == []


def test_a_quota_that_cannot_be_filled_is_given_up(here, capsys):
    path = saved(here, graph(SWEEP | {"labels": "sword", "quota": 1}, quotas="sword: 2", filters="blank: 255"))
    run = Run(path, here / "output")
    assert run.worked.count("Sampler") == 2
    assert main(["finalize", str(here / "output/items")]) == 0
    out = capsys.readouterr().out
    assert "0 samples and 2 rejected" in out and "the quotas still want 2 of sword" in out


def test_a_sweep_without_a_set_runs_all_its_chunks(here, capsys):
    document = graph() | {"6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}}}
    assert main(["run", saved(here, document), "--shard", "1/3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 files in ")
    assert main(["run", saved(here, document)]) == 0
    assert len(list((here / "output").glob("x_*.png"))) == 2 + 6


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (graph(SWEEP | {"labels": ["7", 0]}) | {"7": graph()["3"]}, "2 Sweeps"),
        (graph(SWEEP | {"labels": ""}), "labels is empty"),
        (graph(folder="../items"), "folder: '../items'"),
        (graph(formats="cocoa"), "there is no format cocoa"),
        (graph(licence=["3", 0]), "Export Dataset: write licence into the node"),
    ],
)
def test_what_cannot_be_swept_is_told_at_once(here, capsys, document, told):
    assert main(["run", saved(here, document)]) == 1
    assert told in capsys.readouterr().err
    assert not (here / "output").exists()


def test_parts_with_different_settings_are_not_merged(here, capsys):
    for worker, author in enumerate(("me", "you")):
        assert main(["run", saved(here, graph(author=author)), "--shard", f"{worker}/2"]) == 0
    assert main(["finalize", "output/items"]) == 1
    assert "were made with different settings" in capsys.readouterr().err
    assert not (here / "output/items/ledger.jsonl").exists()


@pytest.mark.parametrize("content", [None, "", "{}", '{"rules": 3}', '{"name": "a", "rules": {"filters": {"x": 1}}}'])
def test_a_folder_that_is_no_set_is_not_finalized(here, capsys, content):
    folder = here / "set"
    if content is None:
        told = "is no set"
    else:
        folder.mkdir()
        (folder / "ledger.jsonl").touch()
        (folder / "settings.json").write_text(content)
        told = "settings.json"
    assert main(["finalize", str(folder)]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("0/4", {}, (0, 4)),
        ("3/4", {"RANK": "0", "WORLD_SIZE": "2"}, (3, 4)),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3", "RANK": "0", "WORLD_SIZE": "1"}, (3, 8)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}, (2, 4)),
    ],
)
def test_which_part_a_process_does(text, environment, part):
    slurm = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "7", "SLURM_ARRAY_TASK_STEP": "1"}
    assert part_of(text, slurm | environment) == part


@pytest.mark.parametrize(
    ("text", "environment", "told"),
    [
        ("4/4", {}, "0 <= i < N"),
        ("-1/4", {}, "0 <= i < N"),
        ("x", {}, "nor auto"),
        ("auto", {}, "none is set"),
        ("auto", {"RANK": "2", "WORLD_SIZE": "2"}, "part 2 of 2"),
        ("auto", {"RANK": "2"}, "WORLD_SIZE"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_MIN"),
        ("auto", {f"SLURM_ARRAY_TASK_{name}": value for name, value in GAPS.items()}, "skips some of 1 to 7"),
    ],
)
def test_parts_that_there_are_not(text, environment, told):
    with pytest.raises(ValueError, match=told):
        part_of(text, environment)


def test_the_variables_are_read(here, monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    assert main(["run", saved(here, graph()), "--shard", "auto"]) == 0
    assert os.listdir(here / "output/items/shards") == ["1"]
