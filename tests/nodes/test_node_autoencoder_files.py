"""Load Denoiser's menu of autoencoders: what is on it, and what becomes of a file between menu and run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from small_checkpoints import small_checkpoints

from varifold.nodes.denoiser import EMBEDDED, OWN, VarifoldLoadDenoiser

DENOISER, AUTOENCODER = "dit.safetensors", "tiny.safetensors"


@pytest.fixture
def folder(models_folder) -> Path:
    for name, kind in ((DENOISER, "DiT, original"), (AUTOENCODER, "TAESD, diffusers")):
        (models_folder / name).write_bytes(small_checkpoints()[kind].packed())
    return models_folder


@pytest.fixture
def load(call, folder):
    return lambda autoencoder: call("LoadDenoiser", file=DENOISER, autoencoder=autoencoder)


@pytest.fixture
def is_changed(folder):
    return lambda autoencoder: VarifoldLoadDenoiser.IS_CHANGED(DENOISER, "auto", "auto", autoencoder)


def menu() -> list[str]:
    return VarifoldLoadDenoiser.INPUT_TYPES()["optional"]["autoencoder"][0]


def test_only_files_are_on_the_menu(folder):
    outside = folder.parent / "outside.safetensors"
    outside.write_bytes((folder / AUTOENCODER).read_bytes())
    (folder / "folder.safetensors").mkdir()
    (folder / "nowhere.safetensors").symlink_to(folder / "gone")
    (folder / "itself.safetensors").symlink_to(folder / "itself.safetensors")
    (folder / "out.safetensors").symlink_to(outside)
    (folder / "readme.md").write_text("no model")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.safetensors")
    assert menu() == [OWN, DENOISER, AUTOENCODER]
    assert VarifoldLoadDenoiser.INPUT_TYPES()["required"]["file"][0] == [EMBEDDED, DENOISER, AUTOENCODER]


def test_the_menu_is_there_without_any_host(monkeypatch):
    monkeypatch.setattr("varifold.nodes.denoiser.find", lambda: None)
    assert menu() == [OWN]


@pytest.mark.parametrize(
    "name", ["gone.safetensors", "../outside.safetensors", "../../../etc/passwd", "/etc/passwd", ""]
)
def test_only_what_is_on_the_menu_is_opened(name, load, is_changed, folder):
    (folder.parent / "outside.safetensors").write_bytes((folder / AUTOENCODER).read_bytes())
    for use in (load, is_changed):
        with pytest.raises(ValueError, match="in the model folders: choose another"):
            use(name)


def gone(path: Path) -> str:
    path.unlink()
    return "does not exist"


def a_folder(path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "is a folder"


def a_link_to_nowhere(path: Path) -> str:
    path.unlink()
    path.symlink_to("nowhere")
    return "does not exist"


def a_pipe(path: Path) -> str:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    path.unlink()
    os.mkfifo(path)
    return "not a regular file"


@pytest.mark.parametrize("becomes", [gone, a_folder, a_link_to_nowhere, a_pipe])
@pytest.mark.parametrize("name", [AUTOENCODER, DENOISER])
def test_a_file_that_changes_between_menu_and_run_is_refused_by_name(
    becomes, name, load, is_changed, folder, host, monkeypatch
):
    """A host may list its files less often than it runs workflows."""
    for files in ("denoiser_files", "autoencoder_files"):
        listed = getattr(host, files)()
        monkeypatch.setattr(host, files, lambda listed=listed: listed)
    reason = becomes(folder / name)
    for use in (load, is_changed):
        with pytest.raises(ValueError, match=rf"{name}.*{reason}"):
            use(AUTOENCODER)


def test_is_changed_follows_what_is_in_the_autoencoder(is_changed, folder):
    before = is_changed(AUTOENCODER)
    assert type(before) is str and before == is_changed(AUTOENCODER) != is_changed(OWN)
    (folder / AUTOENCODER).write_bytes(small_checkpoints()["KL, single file"].packed())
    assert is_changed(AUTOENCODER) != before


@pytest.mark.parametrize("kind", ["LoRA of SD 1, kohya", "Varifold's own U-Net", "Flux dev, diffusers"])
def test_a_file_without_an_autoencoder_is_refused_by_name(kind, load, folder):
    (folder / "other.safetensors").write_bytes(small_checkpoints()[kind].packed())
    with pytest.raises(ValueError, match=r"other\.safetensors.*no autoencoder"):
        load("other.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x02pickle", b"<html>please log in</html>", b"\xff" * 40])
def test_a_hostile_autoencoder_is_refused_by_name(content, load, folder):
    (folder / "hostile.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"hostile\.safetensors"):
        load("hostile.safetensors")


def test_half_an_autoencoder_says_which_half_is_missing(load, folder):
    tensors = small_checkpoints()["TAESD, diffusers"].tensors
    encoder = {name: kept for name, kept in tensors.items() if name.startswith("encoder.")}
    (folder / "half.safetensors").write_bytes(
        small_checkpoints()["TAESD, diffusers"]._replace(tensors=encoder).packed()
    )
    denoiser, _ = load("half.safetensors")
    with pytest.raises(ValueError, match="no decoder"):
        denoiser.pictures(torch.zeros(1, 4, 4, 4))
