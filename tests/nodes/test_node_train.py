"""The nodes that train: what they give, what they leave behind, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from varifold.models.generating import Generator
from varifold.nodes import NODES
from varifold.studio import folders
from varifold.studio.errors import Cancelled

PICTURES = {"size": 8, "crop": "centre", "scaling": "smooth", "transparency": "on black", "colours": 0, "flip": False}
PICTURES |= {"source": "folder", "folder": "", "words": "auto", "vocabulary": 10, "held_out": 0.2, "seed": 0}
RUN = {"images": 160, "batch": 16, "rate": 0.002, "precision": "auto", "seed": 0}
OWN = {
    "Train Denoiser": {"size": "tiny", "prediction": "edm", "weighting": "none"},
    "Train Autoencoder": {"kind": "vae", "size": "tiny", "latent_side": 1, "latent_channels": 0, "beta": 1.0},
    "Train GAN": {"size": "tiny", "gamma": 1.0},
}
FILES = {"Train Denoiser": "denoiser", "Train Autoencoder": "vae", "Train GAN": "gan"}
each = pytest.mark.parametrize("title", OWN)


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    folders.use(folders.Folders((tmp_path / "input",), tmp_path / "output", tmp_path / "temp"))
    monkeypatch.setenv("VARIFOLD_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "output"
    folders.use(None)


@pytest.fixture(scope="module")
def plain():
    """Forty plain pictures, bright or dark, of 8×8 pixels."""
    generator = torch.Generator().manual_seed(0)
    bright = torch.arange(40) % 2
    level = 0.15 + 0.7 * bright[:, None, None, None] + 0.1 * torch.rand(40, 1, 1, 3, generator=generator)
    return level.expand(40, 8, 8, 3).contiguous(), "\n".join("bright" if each else "dark" for each in bright.tolist())


@pytest.fixture
def pictures(call, plain):
    images, labels = plain
    listed = {name: [value] for name, value in PICTURES.items()}
    return call("Pictures", images=[images], labels=[labels], **listed)[0]


def trained(title: str, pictures, **given):
    node = NODES[title]
    with torch.inference_mode():
        return getattr(node(), node.FUNCTION)(pictures=pictures, **{"name": "small", **OWN[title], **RUN, **given})


@each
def test_it_trains_in_inference_mode_and_gives_a_model_that_draws(title, pictures, output, call):
    made = trained(title, pictures)
    model, report, curve, samples = made["result"]
    assert made["ui"]["text"] == [report]
    assert "160 pictures seen" in report and str(output / "training/small") in report
    assert curve.shape[3] == 3 and curve.std() > 0.01
    assert samples.shape == (16, 8, 8, 3)
    assert (output / f"training/small/{FILES[title]}.safetensors").is_file()
    kind = "generator" if isinstance(model, Generator) else "denoiser"
    image = call("Generate", **{"batch": 3, kind: model})[0]
    assert image.shape == (3, 8, 8, 3) and image.isfinite().all()


@each
def test_run_again_it_goes_on_and_with_other_settings_it_refuses(title, pictures):
    first = trained(title, pictures)["result"]
    again = trained(title, pictures)["result"]
    assert again[1].splitlines()[0] == first[1].splitlines()[0]
    assert torch.equal(again[3], first[3])
    longer = trained(title, pictures, images=320)["result"]
    assert "320 pictures seen" in longer[1]
    assert not torch.equal(longer[3], first[3])
    with pytest.raises(ValueError, match=r"has another training \(.*choose another folder"):
        trained(title, pictures, rate=0.001)


@each
def test_a_cancelled_training_keeps_what_it_learned(title, pictures, output, host, monkeypatch):
    seen = []

    def check():
        seen.append(None)
        if len(seen) == 6:
            raise Cancelled

    monkeypatch.setattr(host, "check_cancelled", check)
    with pytest.raises(Cancelled):
        trained(title, pictures)
    left = {path.name for path in (output / "training/small").iterdir()}
    assert {f"{FILES[title]}.safetensors", "state.safetensors", "loss.csv"} <= left
    monkeypatch.undo()


@each
@pytest.mark.parametrize("name", ["", "../out", "/etc", "a/../../b", "con."])
def test_a_name_that_leads_out_is_refused(title, pictures, name):
    node = NODES[title]
    with pytest.raises(ValueError, match="is no name for a folder"):
        getattr(node(), node.FUNCTION)(pictures=pictures, name=name, **OWN[title], **RUN)


def test_a_denoiser_trained_before_is_what_another_begins_with(pictures, output, call):
    denoiser = trained("Train Denoiser", pictures)["result"][0]
    words = denoiser.net.words.weight
    further = trained("Train Denoiser", pictures, denoiser=denoiser, frozen=0.5, rate=1e-5, name="further")["result"][0]
    assert torch.allclose(further.net.words.weight, words, atol=1e-3)
    changed = [
        name
        for (name, one), other in zip(further.net.named_parameters(), denoiser.net.parameters(), strict=True)
        if not torch.equal(one, other)
    ]
    assert changed and not any(name.startswith(("stem", "down")) for name in changed)


def test_what_was_trained_is_on_the_menu_of_load_denoiser(pictures, call):
    trained("Train Denoiser", pictures)
    loaded, report = call("LoadDenoiser", file="training/small", precision="auto", prediction="auto")
    assert loaded.vocabulary.words == ("<null>", "bright", "dark")
    assert "small" in report


def test_the_embedded_denoiser_learns_other_pictures_only_if_they_fit(pictures, call):
    denoiser = call("LoadDenoiser", file="Varifold pixel art (embedded)", precision="auto", prediction="auto")[0]
    with pytest.raises(ValueError, match="the denoiser draws rgba and the pictures are rgb"):
        trained("Train Denoiser", pictures, denoiser=denoiser)


def test_a_preview_shows_the_losses_while_it_trains(pictures, host, events):
    host.wants_preview = True
    events.clear()
    trained("Train Denoiser", pictures)
    assert [data["value"] for event, data in events if event == "progress"] == list(range(11))
    assert len([event for event, _ in events if event == "preview"]) == 10
