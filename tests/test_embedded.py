"""The embedded denoiser: what its file says, and that it computes what its training did."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from varifold.models.checkpoint import load_denoiser, report
from varifold.models.denoising.space import VE

DATA = np.load(Path(__file__).parent / "data" / "pixel_art_check.npz")


@pytest.fixture(scope="module")
def embedded():
    return load_denoiser()


def check_error(denoiser) -> float:
    """Relative distance to the trainer's own float32 output, at sigma 0.2 with two words and at 20 without."""
    x, sigma, rows = (torch.from_numpy(DATA[name]) for name in ("x", "sigma", "words"))
    x0 = denoiser(x, sigma, {"words": denoiser.net.words(rows)})[:, :, ::2, ::4]
    expected = torch.from_numpy(DATA["x0"])
    return ((x0 - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("dtype", "limit"), [("float32", 5e-4), ("float64", 5e-4), ("float16", 2e-3), ("bfloat16", 2e-2)]
)
def test_output_is_the_trainers(dtype, limit):
    denoiser = load_denoiser(dtype=dtype)
    assert str(denoiser.dtype) == f"torch.{dtype}"
    assert check_error(denoiser) < limit


def test_words_of_the_check_are_found_by_name(embedded):
    assert embedded.vocabulary.indices("hero robe", "error")[0] == DATA["words"][0, :2].tolist()
    assert DATA["words"][1].any() == 0


def test_facts_of_the_file(embedded):
    assert (embedded.shape, embedded.space, embedded.sigma_min, embedded.sigma_max) == ((4, 32, 32), VE, 0.002, 80)
    assert sum(parameter.numel() for parameter in embedded.net.parameters()) == 4_745_968
    assert len(embedded.vocabulary.words) == 296
    assert embedded.spec.channels == "rgba"
    assert not any(parameter.requires_grad for parameter in embedded.net.parameters())


def test_other_sizes_run_and_wrong_ones_are_refused(embedded):
    assert embedded(torch.randn(1, 4, 24, 40), 2.0).shape == (1, 4, 24, 40)
    with pytest.raises(ValueError, match="multiples of 8"):
        embedded(torch.randn(1, 4, 30, 32), 2.0)


def test_words_change_the_picture(embedded):
    x = 20 * torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    wall, potion = (embedded(x, 20.0, embedded.prompt(text)) for text in ("wall brick", "potion"))
    # Walls fill their tile and potions do not: the mean of the alpha channel tells them apart.
    assert wall[:, 3].mean() > 0.5 > potion[:, 3].mean()


def test_every_word_of_the_card_is_known_and_every_word_is_on_the_card(embedded):
    weights = Path(__file__).parent.parent / "models" / "weights"
    listed = (weights / "card.md").read_text(encoding="utf-8").split("## Vocabulary")[1].replace("`", "").split()
    assert listed == list(embedded.vocabulary.words[1:])


def test_report_tells_what_a_user_asks():
    text = report()
    for part in ("Varifold pixel art", "4,745,968 parameters", "edm", "0.002 to 80", "32×32", "295 words", "CC0-1.0"):
        assert part in text
    assert "unused tensors: 0" in text and "varifold.spec" in text


def test_loading_does_not_import_the_compiler():
    # On the meta device some operations import torch._dynamo, two seconds of a user's first run.
    code = "import sys; from varifold.models.checkpoint import load_denoiser; load_denoiser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "varifold.models.checkpoint.load" in loaded and "torch._dynamo" not in loaded
