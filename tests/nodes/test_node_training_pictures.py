"""Training Pictures: from a folder, from what is wired, from a set, and the embedded tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import add

from varifold.dataset import store
from varifold.dataset.handle import Handle
from varifold.models.train.chance import Chance
from varifold.nodes.training_pictures import VarifoldPictures
from varifold.studio import folders
from varifold.studio.errors import Cancelled


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VARIFOLD_CACHE", str(tmp_path / "cache"))
    folders.use(folders.Folders((tmp_path / "input", tmp_path / "more"), tmp_path / "output", tmp_path / "temp"))
    yield tmp_path
    folders.use(None)


@pytest.fixture
def read(call):
    """`read(size=8)` gives pictures, sheet and report, as a host gives lists to the node."""
    widgets = VarifoldPictures.INPUT_TYPES()["required"]
    usual = {
        name: kind[0] if isinstance(kind, list) else options["default"] for name, (kind, options) in widgets.items()
    }

    def read(**given):
        lists = {name: value if isinstance(value, list) else [value] for name, value in {**usual, **given}.items()}
        return call("Pictures", **lists)

    return read


def noise(number: int, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (side, side, channels), np.uint8)


def put(folder: Path, count: int, **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(noise(number, **more)).save(folder / f"{number}.png")
    return folder


def test_a_folder_of_labels_becomes_pictures_a_sheet_and_a_report(read, places, events):
    put(places / "input" / "pets" / "cat", 10)
    (put(places / "input" / "pets" / "cat", 0) / "bad.png").write_text("no")
    Image.fromarray(noise(50)).save(put(places / "input" / "pets" / "dog", 0) / "a.png")
    pictures, sheet, report = read(folder="pets", size=8)
    assert len(pictures) == 10 and len(pictures.held) == 1 and pictures.labels == ("cat", "dog")
    assert sheet.dtype == torch.float32 and sheet.shape[0] == 1 and sheet.shape[3] == 3
    lines = report.splitlines()
    assert lines[:2] == ["from folder pets", "10 pictures to train on, 1 held out; 8×8, opaque"]
    assert "labels, 2: cat 10, dog 1" in lines and "seen once, and never held out: dog" in lines
    assert lines[-1] == "left out: cat/bad.png is no picture that can be read"
    assert [data["value"] for event, data in events if event == "progress"][-1] == 12


def test_what_it_gives_can_be_trained_on_though_nodes_run_in_inference_mode(read):
    pictures, _, _ = read(source="embedded tiles", size=32)
    x0, rows = pictures.draw(Chance(0, 0, 4))
    table = torch.nn.Embedding(len(pictures.words), 3)
    (table(rows).sum() * x0.mean()).backward()
    assert not x0.is_inference() and table.weight.grad is not None


def test_wired_pictures_have_lines_for_labels_and_masks_for_transparency(read):
    images = torch.from_numpy(np.stack([noise(number) for number in range(4)])).float() / 255
    masks = torch.zeros(4, 8, 8)
    masks[:, :4] = 1
    with torch.inference_mode():
        images = images.clone()
    pictures, _, report = read(
        images=[images], masks=[masks], labels="red cat\nowl\nowl\nred cat\n", size=8, held_out=0.0
    )
    assert report.startswith("from images\n4 pictures to train on, 0 held out; 8×8, with transparency")
    assert pictures.labels == ("owl", "red cat") and pictures.words == ("<null>", "cat", "owl", "red")
    shown = pictures.rgb(range(4))
    assert not shown[:, :4].any() and shown[:, 4:, :, 3].all()
    number = pictures.names.index("picture 1")
    torch.testing.assert_close(shown[number, 4:, :, :3], images[1, 4:].clone())
    assert pictures.said(number) == "owl"


def test_lists_of_pictures_of_different_sizes_have_a_caption_each(read):
    images = [torch.rand(1, 8, 8, 3), torch.rand(1, 20, 9, 4), torch.rand(2, 8, 8, 3)]
    captions = ["a red cat", "a blue cat", "an owl"]
    pictures, _, _ = read(images=images, labels=captions, words="captions", size=8, held_out=0.0)
    assert sorted(map(pictures.said, range(4))) == ["blue cat", "owl", "owl", "red cat"]
    with pytest.raises(ValueError, match="labels: there are 2 for 4 images"):
        read(images=images, labels=["a", "b"])
    with pytest.raises(ValueError, match="3 images and 2 masks"):
        read(images=images, masks=[torch.zeros(1, 8, 8)] * 2)


def test_a_set_is_read_with_its_splits_by_wire_or_by_folder(read, places):
    with store.open(places / "output" / "set") as opened:
        for number in range(30):
            add(opened, number)
        opened.reject(opened.ids[0], "by hand")
        opened.split({"train": 0.8, "test": 0.2})
        handle, splits = Handle.of(opened), opened.splits
    pictures, _, report = read(dataset=[handle], size=24)
    assert (len(pictures), len(pictures.held)) == (splits["train"], splits["test"])
    assert report.startswith("from the set set\n") and "dragon" in pictures.words
    assert read(folder="set", size=24)[0].identity == pictures.identity
    with pytest.raises(ValueError, match="images and dataset are both wired"):
        read(dataset=[handle], images=[torch.rand(1, 8, 8, 3)])


def test_a_set_that_only_tests_leaves_nothing_to_train_on(read, places):
    with store.open(places / "output" / "set") as opened:
        add(opened, 0)
        opened.split({"test": 1})
    with pytest.raises(ValueError, match="all pictures are held out"):
        read(folder="set")


def test_the_embedded_tiles_need_no_folder(read):
    pictures, sheet, report = read(source="embedded tiles", size=32, folder="nowhere")
    assert len(pictures) == 1747 and "from embedded tiles" in report
    assert sheet.shape[1] > 500 and sheet.std() > 0.05


@pytest.mark.parametrize("folder", ["../out", "", "/etc", "a/../b", "C:\\set", "a. /b"])
def test_no_name_leads_out_of_the_hosts_folders(read, folder):
    with pytest.raises(ValueError, match="is no name for a folder inside"):
        read(folder=folder)


def test_what_is_missing_is_named(read, places):
    with pytest.raises(ValueError, match=r"there is no folder 'pets' in .*input or .*more or .*output"):
        read(folder="pets")
    (places / "more" / "pets").mkdir(parents=True)
    with pytest.raises(ValueError, match="folder pets has no picture"):
        read(folder="pets")
    (places / "input").mkdir()
    (places / "input" / "pets").symlink_to(places)
    with pytest.raises(ValueError, match="leads out of"):
        read(folder="pets")


def test_the_node_runs_again_when_the_folder_changes(places):
    folder = put(places / "input" / "pets", 2)
    before = VarifoldPictures.IS_CHANGED(source=["folder"], folder=["pets"], size=[8])
    assert before == VarifoldPictures.IS_CHANGED(source=["folder"], folder=["pets"], size=[8]) != ""
    (folder / "0.txt").write_text("a caption")
    assert VarifoldPictures.IS_CHANGED(source=["folder"], folder=["pets"]) != before
    for source, name in ((["folder"], ["other"]), (["embedded tiles"], ["pets"]), (None, None), (["folder"], None)):
        assert VarifoldPictures.IS_CHANGED(source=source, folder=name) == ""


def test_reading_can_be_cancelled(read, places, host):
    put(places / "input" / "pets", 3)
    host.cancel.set()
    with pytest.raises(Cancelled):
        read(folder="pets")
