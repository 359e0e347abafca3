"""`varifold train`: the training nodes of a workflow or a config, alone or shared by processes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from varifold.studio import terminal
from varifold.studio.document import read
from varifold.studio.errors import WorkflowError
from varifold.studio.terminal import Terminal

CONFIG = {"train": "denoiser", "name": "plain", "size": "tiny", "images": 128, "batch": 16}
CONFIG |= {"pictures": {"folder": "plain", "size": 8, "transparency": "on black", "held_out": 0.2}}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working directory with twenty plain pictures, bright or dark, and a config."""
    for number in range(20):
        label = ("dark", "bright")[number % 2]
        place = tmp_path / "input/plain" / label
        place.mkdir(parents=True, exist_ok=True)
        levels = np.full((8, 8, 3), 40 + 170 * (number % 2) + number, np.uint8)
        Image.fromarray(levels).save(place / f"{number}.png")
    (tmp_path / "plain.json").write_text(json.dumps(CONFIG))
    return tmp_path


def varifold(folder: Path, *arguments: str, processes: int = 1) -> subprocess.CompletedProcess:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VARIFOLD_CACHE": str(folder / "cache")}
    command = [*start, "-m", "varifold", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)


def losses(folder: Path, output: str) -> list[float]:
    text = (folder / output / "training/plain/loss.csv").read_text()
    return [float(row["loss"]) for row in csv.DictReader(io.StringIO(text))]


def test_a_config_is_trained_and_two_processes_learn_what_one_does(folder):
    alone = varifold(folder, "train", "plain.json")
    assert alone.returncode == 0, alone.stderr
    assert "128 pictures seen" in alone.stdout and "denoiser.safetensors" in alone.stdout
    shared = varifold(folder, "train", "plain.json", "--output", "shared", processes=2)
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("128 pictures seen") == 1
    assert losses(folder, "shared") == pytest.approx(losses(folder, "output"), rel=1e-3)
    assert len(losses(folder, "output")) == 8


def test_a_workflow_that_trains_nothing_is_told_so(folder):
    graph = {"a": {"class_type": "VarifoldSamplePicture", "inputs": {"which": "cat"}}}
    graph["b"] = {"class_type": "PreviewImage", "inputs": {"images": ["a", 0]}}
    (folder / "graph.json").write_text(json.dumps(graph))
    done = varifold(folder, "train", "graph.json")
    assert done.returncode == 1 and "no node of this workflow trains" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": "transformer"}, "train is 'transformer': choose denoiser, autoencoder, gan"),
        ({"speed": 3}, "there is no 'speed'; known are pictures, name"),
        ({"pictures": "cats"}, "pictures should be a table"),
        ({"pictures": {"colour": 1}}, "there is no 'colour'; known are source, folder"),
    ],
)
def test_a_config_that_asks_for_the_impossible_is_told_what_there_is(folder, change, message):
    path = folder / "plain.json"
    path.write_text(json.dumps(CONFIG | change))
    with pytest.raises(WorkflowError, match=message):
        read(path)


def test_a_log_gets_a_note_now_and_then(monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    listen = Terminal(stream)
    listen("execution_start", {"nodes": 1})
    listen("executing", {"node": "1", "class_type": "VarifoldTrainGAN", "title": ""})
    for step in range(12):
        listen("progress", {"node": "1", "value": step, "max": 12, "note": f"loss {step}"})
    lines = stream.getvalue().splitlines()
    assert 1 < len(lines) < 8 and all("/12  loss " in line for line in lines)
