"""`varifold run` of a sweep: chunk by chunk, in parts, cut off and gone on with; and `varifold finalize`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sweep_graphs import CHUNKS, SWEEP, Run, contents, graph, saved

from varifold.__main__ import main
from varifold.dataset import store
from varifold.dataset.settings import read_settings
from varifold.dataset.views import upkeep
from varifold.nodes import NODE_CLASS_MAPPINGS

torch.set_num_threads(1)


@pytest.mark.parametrize("workers", [2, 5])
def test_the_set_is_the_same_however_many_workers_made_it(here, whole, capsys, workers):
    for worker in reversed(range(workers)):
        assert main(["run", saved(here, graph()), "--shard", f"{worker}/{workers}"]) == 0
    items = here / "output/items"
    made = sorted(path.name for path in (items / "shards").iterdir())
    assert made == [f"{number}-of-{workers}" for number in range(workers)]
    assert not (items / "views").exists()
    for told in (f"6 samples and 0 rejected; {workers} parts merged\n", "6 samples and 0 rejected\n"):
        assert main(["finalize", str(items)]) == 0
        assert told in capsys.readouterr().out
        assert contents(items) == whole


def test_the_views_are_built_once(here, monkeypatch):
    built = []
    formats = {name: lambda *given, name=name: built.append(name) or {} for name in ("imagefolder", "coco")}
    monkeypatch.setattr(upkeep, "FORMATS", formats)
    for _ in range(2):
        Run(saved(here, graph()), here / "output")
        assert built == ["imagefolder", "coco"]


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
    assert run.worked.count("Sampler") == CHUNKS  # one more of swords, and one less of shields
    done = contents(here / "output/items")
    Run(path, here / "output")
    assert contents(here / "output/items") == done


def test_when_all_quotas_are_filled_no_more_is_drawn(here):
    path = saved(here, graph(quotas="sword: 2, shield: 1"))
    assert Run(path, here / "output").worked.count("Sampler") == 2
    assert Run(path, here / "output").worked == []


def drawn(document: dict, output: Path) -> list[str]:
    """The prompts of the chunks that a run draws."""
    run = Run(saved(output.parent, document), output)
    with store.open(output / "items", write=False) as made:
        told = [sample.caption for sample in made.samples()]
    return [run.worked.count("Sampler"), *dict.fromkeys(told)]


def test_a_label_that_is_full_is_drawn_no_more_while_another_wants(here):
    document = graph(quotas="sword: 1, shield: 3")
    assert drawn(document, here / "output") == [3, "sword", "shield", "shield red"]
    done = contents(here / "output/items")
    assert drawn(document, here / "output")[0] == 0
    for worker in range(2):
        assert main(["run", saved(here, document), "--shard", f"{worker}/2", "--output", "parts"]) == 0
    assert main(["finalize", "parts/items"]) == 0
    assert contents(here / "parts/items") == contents(here / "output/items") == done


def test_what_may_count_as_another_class_is_drawn_whatever_its_prompt(here):
    """By a label in the node, and by the labels of boxes."""
    document = graph(quotas="sword: 0, shield: 3")
    document["6"]["inputs"]["labels"] = "shield"
    assert drawn(document, here / "typed") == [2, "sword", "shield"]
    document = graph(quotas="sword: 0, shield: 3", masks_are="objects")
    required = NODE_CLASS_MAPPINGS["VarifoldCompose"].INPUT_TYPES()["required"]
    widgets = {name: options["default"] for name, (kind, options) in required.items() if "default" in options}
    wired = {
        "sprites": ["5", 0],
        "backgrounds": ["5", 0],
        "sprite_mask": ["5", 1],
        "labels": ["3", 6],
        "count": ["3", 2],
    }
    document["7"] = {"class_type": "VarifoldCompose", "inputs": widgets | wired}
    document["6"]["inputs"] |= {"images": ["7", 0], "masks": ["7", 1], "boxes": ["7", 2]}
    assert drawn(document, here / "boxed")[0] == CHUNKS


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
