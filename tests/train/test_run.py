"""A training in a folder: what it leaves there, and how it is left and taken up."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from varifold.models import load_denoiser
from varifold.models.train import loop, run
from varifold.models.train.denoiser import usual_schedule
from varifold.models.train.loop import Diverged, Loop, StateError
from varifold.models.train.ranks import Ranks

from .small_training import draw, go, learner, settings

FILES = {"denoiser.safetensors", "state.safetensors", "loss.csv", "loss.png", "samples.png"}


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def saved_at_every_report(monkeypatch):
    monkeypatch.setattr(run, "SAVE_AFTER", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SAVE_AFTER", 0.0)
        go(folder)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    """What is told of the losses, less how fast it went."""
    with open(folder / "loss.csv", encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one / "denoiser.safetensors"), load_file(other / "denoiser.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_training_leaves_a_denoiser_its_losses_and_pictures(whole):
    assert set(os.listdir(whole)) == FILES
    told = rows(whole)
    assert [int(row["images"]) for row in told] == [16 * step for step in range(1, 21)]
    first, last = float(told[0]["loss"]), float(told[-1]["loss"])
    assert last < 0.8 * first
    assert sum(bool(row["held out"]) for row in told) == 10
    for name in ("loss.png", "samples.png"):
        with Image.open(whole / name) as picture:
            assert picture.width >= 256 and len(picture.getcolors(1 << 20)) > 3


def test_what_was_trained_draws_what_its_words_say(tmp_path):
    from varifold.models import sample

    go(tmp_path, images=2400)
    denoiser = load_denoiser(tmp_path / "denoiser.safetensors")
    sigmas = usual_schedule(denoiser, 12)
    bright, dark = (sample(denoiser, sigmas, batch=4, cond=denoiser.prompt(word)).mean() for word in ("bright", "dark"))
    assert bright > 0.3 and dark < -0.3


def left_at(monkeypatch, folder: Path, step: int) -> None:
    """As a kill leaves it: nothing is written on the way out."""

    def kill(live):
        if live.done == step:
            monkeypatch.setattr(run._Run, "_save", lambda self: None)
            monkeypatch.setattr(run._Run, "_look", lambda self: None)
            raise Killed

    with pytest.raises(Killed):
        go(folder, watch=kill)
    monkeypatch.undo()
    monkeypatch.setattr(run, "SAVE_AFTER", 0.0)


@pytest.mark.parametrize("step", [1, 7, 19])
def test_a_killed_training_goes_on_as_if_undisturbed(tmp_path, monkeypatch, whole, step):
    left_at(monkeypatch, tmp_path, step)
    go(tmp_path)
    assert rows(tmp_path) == rows(whole)
    assert same_weights(tmp_path, whole)


def test_a_cancelled_training_keeps_what_it_learned_and_goes_on(tmp_path, whole):
    def cancel(live):
        if live.done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, watch=cancel)
    assert set(os.listdir(tmp_path)) == FILES
    load_denoiser(tmp_path / "denoiser.safetensors")
    steps = []
    go(tmp_path, watch=lambda live: steps.append(live.done))
    assert steps == list(range(10, 21))
    assert same_weights(tmp_path, whole)


def test_a_training_that_is_done_says_so_at_once_and_more_pictures_go_on(tmp_path):
    go(tmp_path)
    steps = []
    done = go(tmp_path, watch=lambda live: steps.append(live.done))
    assert steps == [] and done.held is not None and done.samples.shape == (4, 8, 8, 3)
    go(tmp_path, images=400, watch=lambda live: steps.append(live.done))
    assert steps == [21, 22, 23, 24, 25]


def test_a_folder_of_another_training_is_refused_in_words(tmp_path):
    go(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    with pytest.raises(StateError, match=r"has another training \(rate 0\.003 -> 0\.001\): choose another folder"):
        go(tmp_path, rate=1e-3)
    assert before == {name: (tmp_path / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("content", [b"", b"half of it" * 100])
def test_a_broken_state_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "state.safetensors").write_bytes(content)
    with pytest.raises(StateError, match=r"state\.safetensors"):
        go(tmp_path)


def test_losses_that_cannot_be_read_are_begun_anew(tmp_path, whole):
    go(tmp_path)
    (tmp_path / "loss.csv").write_text("images,loss\nmany,little\n")
    go(tmp_path, images=400)
    assert int(rows(tmp_path)[-1]["images"]) == 400


def test_a_full_disk_is_an_error_and_the_last_state_stays_whole(tmp_path, monkeypatch):
    go(tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        go(tmp_path, images=400)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def poisoned(steps: set[int], always: bool = False):
    """Draws that are no numbers at some steps, the first time."""

    def batch(chance):
        x0, rows = draw(chance)
        if chance.step in steps:
            if not always:
                steps.discard(chance.step)
            x0 = x0 * float("nan")
        return x0, rows

    return batch


def test_a_loss_that_is_no_number_takes_it_back_and_halves_the_rate(monkeypatch):
    monkeypatch.setattr(loop, "LOOK_BACK", 5)
    learning = learner()
    training = Loop(learning.players, learning.kept, poisoned({12}), settings(480), precision="float32")
    losses = list(training.steps())
    assert training.step == 30 and training.rolled_back == 1 and training.calm == 0.5
    assert len(losses) == 35 and losses[-1].isfinite()
    assert all(average.isfinite().all() for average in training.averages[0].state_dict().values())


def test_a_loss_that_never_is_a_number_ends_in_words(monkeypatch):
    monkeypatch.setattr(loop, "LOOK_BACK", 2)
    learning = learner()
    training = Loop(learning.players, learning.kept, poisoned({3}, always=True), settings(160), precision="float32")
    with pytest.raises(Diverged, match=r"no number at step 4.*lower the rate"):
        list(training.steps())


def test_the_rows_of_a_batch_are_shared_evenly():
    parts = [Ranks(rank, 4).rows(32) for rank in range(4)]
    assert [(part.start, part.stop) for part in parts] == [(0, 8), (8, 16), (16, 24), (24, 32)]
    with pytest.raises(ValueError, match="33 cannot be shared by 4"):
        Ranks(0, 4).rows(33)


SHARED = """
import sys, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from pathlib import Path
from train import small_training as small
from varifold.models.train import ranks
from varifold.models.train.run import train
here = ranks.join(torch.device("cpu"))
train(small.learner(), small.draw, small.settings(), Path(sys.argv[1]), held=small.draw, ranks=here)
"""


def test_two_processes_learn_what_one_does_of_twice_the_batch(tmp_path, whole):
    script = tmp_path / "shared.py"
    script.write_text(SHARED.format(tests=str(Path(__file__).parents[1])))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(script)]
    subprocess.run([*command, str(tmp_path / "out")], check=True, timeout=300, capture_output=True)
    for mine, alone in zip(rows(tmp_path / "out"), rows(whole), strict=True):
        assert float(mine["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-4)
    first, second = load_file(tmp_path / "out/denoiser.safetensors"), load_file(whole / "denoiser.safetensors")
    assert all(torch.allclose(first[key], second[key], rtol=1e-2, atol=1e-3) for key in first)


@pytest.mark.heavy
def test_killed_at_twenty_moments_it_ends_with_the_same_weights(tmp_path, whole):
    """SIGKILL of the program, each time at a moment by chance, until it is through: to the bit, on the CPU."""
    chance, folder, kills = random.Random(0), tmp_path / "killed", 0
    undisturbed = tmp_path / "undisturbed"
    command = [sys.executable, str(Path(__file__).parent / "small_training.py")]
    subprocess.run([*command, str(undisturbed), "6400"], check=True, capture_output=True)
    while True:
        with subprocess.Popen([*command, str(folder), "6400"], stdout=subprocess.PIPE, text=True) as process:
            patience = chance.randint(1, 40)
            for _ in process.stdout:
                patience -= 1
                if patience == 0 and kills < 20:
                    os.kill(process.pid, signal.SIGKILL)
                    kills += 1
        if process.returncode == 0:
            break
    assert kills == 20
    assert same_weights(folder, undisturbed)
    assert rows(folder) == rows(undisturbed)
