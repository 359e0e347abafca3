"""A small sweep of the embedded denoiser into a set, and what runs of it make and do."""

from __future__ import annotations

import json
from pathlib import Path

from varifold.studio.errors import Cancelled
from varifold.studio.host import StudioHost
from varifold.studio.runner import run_file

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
