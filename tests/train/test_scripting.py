"""Training from a script: the page's loop as it stands, all four models, and what they refuse."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from varifold.dataset import load_data
from varifold.models import (
    GAN,
    Autoencoder,
    DiffusionModel,
    VariationalAutoencoder,
    data_parallel,
    evaluate,
    load_denoiser,
    load_generator,
    train_epoch,
)
from varifold.models.train.energy import energy_distance

from .two_processes import together

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
MODELS = (DiffusionModel, VariationalAutoencoder, Autoencoder, GAN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Plain pictures, bright and dark."""
    root, random = tmp_path_factory.mktemp("script") / "pictures", np.random.default_rng(0)
    for name, low in (("bright", 170), ("dark", 20)):
        (root / name).mkdir(parents=True)
        for number in range(30):
            colour = low + random.integers(0, 60, 3)
            Image.new("RGB", (40, 40), tuple(colour.tolist())).save(root / name / f"{number}.png")
    return root


def small(model: type, pictures, **training) -> object:
    usual = {"words": pictures.words, "batch": 16, "warmup": 2, "rate": 3e-3, "device": "cpu"}
    return model(8, 16, 1, **{**usual, **training})


def test_the_pages_thirty_lines_run_and_learn(folder, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code.count("\n") <= 30
    monkeypatch.chdir(tmp_path)
    Path("pictures").symlink_to(folder)
    script = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), script)
    printed = capsys.readouterr().out.splitlines()
    held = [float(line.rsplit(" ", 1)[1]) for line in printed[:-1]]
    assert len(held) == 20 and min(held) < 0.75 * held[0]
    assert math.isfinite(script["bits"].mean) and printed[-1].startswith("test loss")
    assert load_denoiser("best.safetensors").shape == (3, 16, 16)
    assert [Image.open(f"picture_{number}.png").size for number in range(4)] == [(16, 16)] * 4


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_draws_and_is_saved(folder, tmp_path, model):
    pictures = load_data(folder, 8)
    learning = small(model, pictures)
    before = evaluate(learning, pictures.held)
    losses = [train_epoch(learning, pictures) for _ in range(12)]
    assert all(map(math.isfinite, losses)) and list(learning.losses) == list(learning.learner.players)
    assert learning.loop.step == 12 * -(-len(pictures) // 16)
    assert evaluate(learning, pictures.held) < before
    drawn = learning.generate(3, words="bright", seed=5)
    assert drawn.shape == (3, 8, 8, 3) and drawn.min() >= 0 and drawn.max() <= 1
    torch.testing.assert_close(learning.generate(1, words="bright", seed=5), drawn[:1], rtol=0, atol=1e-3)
    assert not torch.equal(learning.generate(3, words="bright", seed=6), drawn)
    learning.save(tmp_path / "model.safetensors")
    load = load_denoiser if model is DiffusionModel else load_generator
    assert load(tmp_path / "model.safetensors").vocabulary is not None


@pytest.mark.parametrize("model", MODELS)
def test_a_model_without_words_learns_pictures_that_have_some(folder, model):
    pictures = load_data(folder, 8)
    learning = small(model, pictures, words=())
    assert math.isfinite(train_epoch(learning, pictures))
    assert learning.generate(2).shape == (2, 8, 8, 3)
    with pytest.raises(ValueError, match="knows no words"):
        learning.generate(1, words="bright")


def test_the_rate_stays_unless_the_training_has_an_end(folder):
    pictures = load_data(folder, 8)
    assert small(DiffusionModel, pictures).settings.rate_at(10**9) == 3e-3
    ending = small(DiffusionModel, pictures, images=100)
    assert ending.settings.rate_at(6) < 3e-3
    train_epoch(ending, pictures)
    train_epoch(ending, pictures)
    assert ending.loop.step == 7
    with pytest.raises(ValueError, match="all 100 images"):
        train_epoch(ending, pictures)


def test_what_does_not_fit_is_told(folder):
    pictures = load_data(folder, 8)
    with pytest.raises(ValueError, match=r"8×8 with 3 channels.*16×16"):
        train_epoch(small(DiffusionModel, pictures), load_data(folder, 16))
    with pytest.raises(ValueError, match=r"words=pictures\.words"):
        train_epoch(small(DiffusionModel, pictures, words=("<null>", "cat")), pictures)
    with pytest.raises(ValueError, match="depth should be 1 to"):
        DiffusionModel(8, 16, 9)
    with pytest.raises(ValueError, match="no pictures are held out"):
        evaluate(small(DiffusionModel, pictures), load_data(folder, 8, held_out=0).held)
    with pytest.raises(ValueError, match="seen no pictures"):
        small(Autoencoder, pictures).generate(1)


def test_the_energy_distance_is_that_of_two_points_apart_and_none_of_alike():
    near, far = torch.zeros(4, 3, 2, 2), torch.ones(5, 3, 2, 2)
    assert energy_distance(near, far) == pytest.approx(2.0)
    torch.manual_seed(0)
    one, other = torch.randn(2, 2000, 1)
    assert abs(energy_distance(one, other)) < 0.01 < energy_distance(one, other + 1)


def two_epochs(folder: str | Path) -> tuple[list[float], dict]:
    """Its losses, and the weights after them; the first epoch alone."""
    pictures = load_data(folder, 8)
    model = small(DiffusionModel, pictures)
    losses = [train_epoch(model, pictures)]
    data_parallel(model)
    losses += [train_epoch(model, pictures), evaluate(model, pictures.held)]
    return losses, model.learner.kept.state_dict()


def test_two_processes_learn_what_one_does(folder, tmp_path):
    losses, weights = two_epochs(folder)
    for shared_losses, shared in together("train.test_scripting:two_epochs", tmp_path, str(folder)):
        assert shared_losses == pytest.approx(losses, rel=1e-3)
        for name, weight in weights.items():
            torch.testing.assert_close(shared[name], weight, rtol=0, atol=1e-3)
