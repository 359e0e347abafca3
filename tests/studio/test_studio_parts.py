"""Parts of a run: which one a process does, and whether all were there when the set was finalized."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sweep_graphs import CHUNKS, SWEEP, Run, contents, graph, saved

from varifold.__main__ import main
from varifold.dataset import store
from varifold.dataset.parts import lacks, parts_of
from varifold.dataset.settings import read_settings
from varifold.studio.part import part_of

ARRAY = {"MIN": "0", "MAX": "7", "STEP": "1"}
GAPS = {"ID": "7", "MIN": "1", "MAX": "7", "COUNT": "3"}  # sbatch --array=1,3,7
ALONE = {"ID": "5", "MIN": "5", "MAX": "5", "COUNT": "1"}  # sbatch --array=5
SOME = {"ID": "4", "MIN": "3", "MAX": "5", "COUNT": "3"}  # sbatch --array=3-5


def slurm(**variables: str) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in {**ARRAY, **variables}.items()}


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("0/4", {}, (0, 4)),
        ("3/4", {"RANK": "0", "WORLD_SIZE": "2"}, (3, 4)),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ("auto", {**slurm(ID="3"), "RANK": "0", "WORLD_SIZE": "1"}, (3, 8)),
        ("auto", slurm(ID="0", COUNT="8"), (0, 8)),
        ("auto", slurm(ID="1", MIN="1", MAX="32"), (0, 32)),
        ("auto", slurm(ID="32", MIN="1", MAX="32", COUNT="32"), (31, 32)),
        ("auto", slurm(ID="5", MIN="1", STEP="2"), (2, 4)),
        ("auto", slurm(ID="6", MAX="6", STEP="3"), (2, 3)),
        ("auto/32", {"SLURM_ARRAY_TASK_ID": "5"}, (5, 32)),
        ("auto/32", slurm(**ALONE), (5, 32)),
        ("auto/32", slurm(**SOME), (4, 32)),
        ("auto/32", slurm(**GAPS), (7, 32)),
        ("auto/4", {"RANK": "3", "WORLD_SIZE": "8"}, (3, 4)),
    ],
)
def test_which_part_a_process_does(text, environment, part):
    assert part_of(text, environment) == part


@pytest.mark.parametrize(
    ("text", "environment", "told"),
    [
        ("4/4", {}, "0 <= i < N"),
        ("-1/4", {}, "0 <= i < N"),
        ("x", {}, "nor auto"),
        ("auto/x", {}, "nor auto"),
        ("auto/", {}, "nor auto"),
        ("auto", {}, "none is set"),
        ("auto/4", {}, "none is set"),
        ("auto", {"RANK": "2", "WORLD_SIZE": "2"}, "part 2 of 2"),
        ("auto", {"RANK": "2"}, "WORLD_SIZE should be a number, and is not set: write --shard i/N or auto/N"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "5"}, "SLURM_ARRAY_TASK_MIN should be a number, and is not set"),
        ("auto", slurm(ID="x"), "SLURM_ARRAY_TASK_ID should be a number, not 'x'"),
        ("auto", slurm(ID="3", STEP="0"), "should not be 0"),
        ("auto", slurm(ID="2", STEP="4"), "there is no task 2"),
        ("auto", slurm(ID="9"), "there is no task 9"),
        ("auto", slurm(**ALONE), "has task 5 alone.*write --shard auto/N"),
        ("auto", slurm(**SOME), "has tasks 3 to 5.*write --shard auto/N"),
        ("auto", slurm(**GAPS), "skips some of 1 to 7: write --shard auto/N"),
        ("auto/32", slurm(ID="32"), "the parts of auto/32 are 0 to 31"),
        ("auto/0", slurm(ID="0"), "the parts of auto/0"),
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
    assert os.listdir(here / "output/items/shards") == ["1-of-2"]


@pytest.fixture
def items(here) -> Path:
    return here / "output/items"


@pytest.fixture
def make(here):
    """make(i, N, ...) makes part i of N, of another graph if its inputs are told; which nodes worked."""

    def make(number: int, count: int, stop: int | None = None, sweep: dict = SWEEP, **export: object) -> list[str]:
        return Run(saved(here, graph(sweep, **export)), here / "output", (number, count), stop).worked

    return make


@pytest.fixture
def finalize(items, capsys):
    """finalize(...) -> exit code, and what was written."""

    def finalize(*arguments: str) -> tuple[int, str]:
        code = main(["finalize", str(items), *arguments])
        written = capsys.readouterr()
        return code, written.out + written.err

    return finalize


def test_a_part_that_is_missing_is_told_until_it_is_there(items, make, finalize, whole):
    for number in (0, 2):
        make(number, 4)
    code, told = finalize()
    assert code == 1 and "parts 1, 3 of 4 are missing. Run these parts, as `varifold run GRAPH --shard i/N`" in told
    assert not (items / "ledger.jsonl").exists()
    make(1, 4)
    assert "part 3 of 4 is missing" in finalize()[1]
    make(3, 4)
    assert finalize()[0] == 0 and contents(items) == whole


def test_a_part_that_was_cut_off_is_told(items, make, finalize, whole):
    make(0, 2, stop=2)
    make(1, 2)
    code, told = finalize()
    assert code == 1 and "part 0 of 2 is not finished" in told
    make(0, 2)
    assert finalize()[0] == 0 and contents(items) == whole


def test_what_is_there_can_be_taken(items, make, finalize, whole):
    make(1, 2)
    code, told = finalize("--partial")
    assert code == 0 and "3 samples" in told
    assert "part 0 of 2 is missing" in finalize()[1]
    make(0, 2, stop=2)
    assert "5 samples" in finalize("--partial")[1]
    make(0, 2)
    code, told = finalize()
    assert code == 0 and "6 samples" in told
    with store.open(items, write=False) as made:
        assert {sample.sha256 for sample in made.samples()} == {
            Path(name).stem for name in whole if name.startswith("images/")
        }


def test_a_part_without_any_chunk_is_a_part(make, finalize):
    for number in range(CHUNKS):
        make(number, CHUNKS + 1)
    assert f"part {CHUNKS} of {CHUNKS + 1} is missing" in finalize()[1]
    assert make(CHUNKS, CHUNKS + 1) == []
    assert finalize()[0] == 0


def test_divided_anew_a_run_goes_on_with_what_other_parts_have(items, make, finalize, whole):
    """What the former division left unfinished is no lack, once another has made the same sweep."""
    make(0, 2)
    make(1, 3)
    assert finalize()[0] == 1
    worked = [make(number, 3).count("Sampler") for number in (0, 1, 2)]
    assert worked == [1, 0, 0]
    assert [part.folder.name for part in parts_of(items)] == ["0-of-2", "0-of-3", "1-of-3", "2-of-3"]
    assert finalize()[0] == 0 and contents(items) == whole


def test_a_division_of_another_sweep_that_was_left_is_told(make, finalize):
    make(0, 3, sweep=SWEEP | {"quota": 1})
    for number in range(2):
        make(number, 2)
    code, told = finalize()
    assert code == 1 and "parts 1-2 of 3 are missing" in told and "of 2" not in told
    assert finalize("--partial")[0] == 0


def test_parts_of_different_sweeps_make_no_whole(make, finalize):
    make(0, 2)
    make(1, 2, sweep=SWEEP | {"quota": 4})
    code, told = finalize()
    assert code == 1 and "part 1 of 2 is of another sweep or graph than part 0" in told
    make(0, 2, sweep=SWEEP | {"quota": 4})
    assert finalize()[0] == 0


def test_a_part_goes_on_from_a_run_that_was_not_divided(here, items, make, finalize, whole):
    Run(saved(here, graph()), here / "output", stop=3)
    assert [make(number, 2).count("Sampler") for number in range(2)] == [1, 1]
    assert finalize()[0] == 0 and contents(items) == whole


def test_a_run_that_is_not_divided_goes_on_from_parts_that_were_never_finished(here, items, make, finalize, whole):
    make(0, 3)
    make(1, 3, stop=1)
    assert Run(saved(here, graph()), here / "output").worked.count("Sampler") == CHUNKS - 2
    assert lacks(parts_of(items)) == [] and finalize()[0] == 0
    with store.open(items, write=False) as made:
        assert made.counts == {"sword": 3, "shield": 3} and all(sample.split for sample in made.samples())
    assert {name for name in contents(items) if name.startswith("images/")} == {
        name for name in whole if name.startswith("images/")
    }


def test_a_part_that_is_being_written_is_waited_for(here, items, make, finalize, capsys):
    make(0, 2)
    make(1, 2)
    with store.open(items / "shards/0-of-2"):
        assert main(["run", saved(here, graph())]) == 1
        assert "0-of-2 is being written by process" in capsys.readouterr().err
        assert finalize()[0] == 1
    assert finalize()[0] == 0


def test_the_last_settings_hold_whoever_gave_them(here, items, make, finalize):
    """Parts and runs that are not divided take turns, each with another format."""
    for number in range(2):
        make(number, 2, formats="coco")
    assert finalize()[0] == 0
    Run(saved(here, graph(formats="voc")), here / "output")
    for code, _ in (finalize(), finalize("--partial")):
        assert code == 0
        assert os.listdir(items / "views") == ["voc"] and read_settings(items).formats == ("voc",)
    for number in range(2):
        assert make(number, 2, formats="yolo_detect") == []
    assert finalize()[0] == 0 and os.listdir(items / "views") == ["yolo_detect"]


def test_without_its_parts_a_finalized_set_is_whole(items, make, finalize, whole):
    for number in range(2):
        make(number, 2)
    assert finalize()[0] == 0
    shutil.rmtree(items / "shards")
    assert finalize()[0] == 0 and contents(items) == whole
    assert [make(number, 2) for number in range(2)] == [[], []]
    assert finalize()[0] == 0 and contents(items) == whole


def test_what_was_judged_in_the_set_holds_when_it_is_finalized_again(items, make, finalize):
    for number in range(2):
        make(number, 2)
    finalize()
    with store.open(items) as opened:
        opened.reject(next(opened.samples()).id)
    assert "5 samples and 1 rejected" in finalize()[1]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sweep": 1}'])
def test_a_record_that_is_broken_is_of_a_part_that_has_not_finished(items, make, finalize, content):
    for number in range(2):
        make(number, 2)
    (items / "shards/1-of-2/part.json").write_text(content)
    code, told = finalize()
    assert code == 1 and "part 1 of 2 is not finished" in told
    make(1, 2)
    assert finalize()[0] == 0
