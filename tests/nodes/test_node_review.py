"""The review sheet of Export Dataset: what it shows of a set, and what becomes of what is decided there."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import add, key, mask, picture

from varifold.dataset import store
from varifold.dataset.errors import LockedError
from varifold.dataset.marks import Mark
from varifold.dataset.rules import Rules
from varifold.dataset.settings import Settings, complete, read_settings
from varifold.nodes import sets
from varifold.nodes.answers import answer
from varifold.nodes.marked import marked
from varifold.nodes.review import PAGE, SIDE
from varifold.nodes.sets import open_in_run, reviewing
from varifold.studio import folders
from varifold.studio.errors import Cancelled

FORMATS = ("imagefolder", "coco")


@pytest.fixture(autouse=True)
def output(tmp_path) -> Path:
    folders.use(folders.Folders((tmp_path / "input",), tmp_path / "output", tmp_path / "temp"))
    yield tmp_path / "output"
    folders.use(None)


@pytest.fixture
def made(output) -> Path:
    """A whole set of five samples, "set": key(3) was rejected, and key(4) has three objects."""
    settings = Settings("set", Rules(quotas={"hero": 2}), formats=FORMATS)
    with store.open(output / "set", settings.rules) as opened:
        settings.save(opened.folder)
        for number in range(4):
            add(opened, number)
        marks = [Mark("tile", box=(0, 0, 6, 6)), Mark("tile", mask(1)), Mark("hero", box=(12, 12, 12, 12))]
        add(opened, 4, label=None, marks=marks)
        opened.reject(key(3).id, "blurred: 0.01")
        complete(opened, settings)
    return output / "set"


def ask(name: str, **question) -> dict:
    told = answer(name, {"folder": "set", **question})
    json.dumps(told, allow_nan=False)
    return told


def ledger(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_bytes().splitlines()]


def pixels(url: str) -> np.ndarray:
    head, _, data = url.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_page_shows_what_is_in_the_set(made):
    told = ask("review", page=0)
    assert (told["page"], told["pages"], told["live"], told["rejected"]) == (0, 1, 4, 1)
    assert (told["labels"], told["wanting"], told["outdated"]) == (["hero", "tile", "tile/stone", "🐉 dragon"], [], [])
    assert [each["id"] for each in told["samples"]] == [key(number).id for number in (4, 3, 2, 1, 0)]
    several, rejected, *_, last = told["samples"]
    assert several["label"] is None and [each["label"] for each in several["objects"]] == ["tile", "tile", "hero"]
    assert several["objects"][2]["box"] == [0.5, 0.5, 0.5, 0.5]
    assert (rejected["rejected"], rejected["split"]) == ("blurred: 0.01", "")
    assert last["rejected"] is None and last["split"] in ("train", "val", "test")


def test_pictures_are_squares_with_outlines_to_lay_over_them(made, output):
    with store.open(output / "set") as opened:
        opened.add(np.repeat(picture(9), 2, 1), key(9), label="wide", marks=[Mark("wide", box=(0, 0, 24, 12))])
        opened.add(picture(10), key(10), label="plain")
    plain, wide, *others = ask("review")["samples"]
    assert wide["objects"][0]["box"] == [0, 0.25, 0.5, 0.25]
    shown, lines = pixels(wide["picture"]), pixels(wide["outlines"])
    assert shown.shape[:2] == lines.shape[:2] == (SIDE, SIDE)
    quarter = SIDE // 4
    alpha = (shown if shown.shape[2] == 4 else np.dstack([shown, np.full((SIDE, SIDE), 255)]))[..., 3]
    assert not alpha[: quarter - 1].any() and alpha[quarter + 1 : -quarter - 1].all()
    ys, xs = np.nonzero(lines[..., 3])
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (0, quarter, 2 * quarter - 1, 2 * quarter - 1)
    assert plain["outlines"] is None
    exact = np.asarray(marked(picture(0), [], SIDE))
    assert np.array_equal(pixels(others[-1]["picture"])[..., :3], exact), "pixel art is shown to the pixel"


def test_a_sample_whose_file_is_gone_is_shown_without_it_and_can_be_rejected(made):
    with store.open(made, write=False) as opened:
        (made / opened.sample(key(1).id).image).write_bytes(b"broken")
    shown = {each["id"]: each for each in ask("review")["samples"]}
    assert shown[key(1).id]["picture"] is None and shown[key(2).id]["picture"]
    assert ask("reject", id=key(1).id)["sample"]["rejected"] == "by hand"


def test_a_large_set_is_shown_page_by_page(output):
    with store.open(output / "set", Rules(duplicate=None)) as opened, opened.batch():
        for number in range(2 * PAGE + 1):
            add(opened, number)
    told = [ask("review", page=number) for number in range(3)]
    assert [(each["page"], each["pages"], len(each["samples"])) for each in told] == [
        (0, 3, PAGE),
        (1, 3, PAGE),
        (2, 3, 1),
    ]
    assert ask("review", page=10**9)["page"] == 2 and ask("review", page=-5)["page"] == 0


def test_a_rejection_is_recorded_and_undone(made):
    before = ledger(made)
    told = ask("reject", id=key(0).id)
    assert (told["sample"]["rejected"], told["live"], told["rejected"]) == ("by hand", 3, 2)
    assert (told["wanting"], told["outdated"]) == ([("hero", 1)], list(FORMATS))
    told = ask("restore", id=key(0).id)
    assert (told["sample"]["rejected"], told["live"], told["rejected"]) == (None, 4, 1)
    ask("restore", id=key(3).id)
    entries = [{name: entry[name] for name in ("kind", "id")} for entry in ledger(made)[len(before) :]]
    assert entries == [
        {"kind": "reject", "id": key(0).id},
        {"kind": "restore", "id": key(0).id},
        {"kind": "restore", "id": key(3).id},
    ]
    assert ledger(made)[: len(before)] == before


def test_what_is_rejected_leaves_room_in_its_quota(made):
    ask("restore", id=key(3).id)
    assert ask("reject", id=key(0).id)["wanting"] == []
    assert ask("reject", id=key(3).id)["wanting"] == [("hero", 1)]


def test_a_label_goes_to_all_that_had_the_old_one_or_to_one_object(made):
    told = ask("relabel", id=key(0).id, label="king", was="hero")
    assert told["sample"]["label"] == "king" and told["sample"]["objects"][0]["label"] == "king"
    assert "king" in told["labels"] and told["outdated"] == list(FORMATS)
    told = ask("relabel", id=key(4).id, label="floor", object=1)
    assert [each["label"] for each in told["sample"]["objects"]] == ["tile", "floor", "hero"]
    told = ask("relabel", id=key(4).id, label="a scene")
    assert told["sample"]["label"] == "a scene"
    assert [entry["label"] for entry in ledger(made) if entry["kind"] == "relabel"] == [
        "king",
        "king",
        "floor",
        "a scene",
    ]


def test_rebuilding_shows_the_decisions_in_every_format_and_once(made):
    live = [sample.id for sample in store.open(made, write=False).samples()]
    ask("reject", id=key(0).id)
    ask("relabel", id=key(1).id, label="stone", was="tile/stone")
    told = ask("rebuild")
    assert told["outdated"] == []
    coco = [
        json.loads(path.read_bytes()) for path in (made / "views" / "coco" / "annotations").glob("instances_*.json")
    ]
    assert sum(len(each["images"]) for each in coco) == len(live) - 1
    assert "stone" in {category["name"] for each in coco for category in each["categories"]}
    before = (made / "ledger.jsonl").read_bytes()
    assert "no format is out of date" in ask("rebuild")["error"]
    assert (made / "ledger.jsonl").read_bytes() == before


def test_a_set_of_scripts_has_no_settings_and_can_be_reviewed(output):
    with store.open(output / "set") as opened:
        add(opened, 1)
    assert ask("review")["outdated"] == []
    assert ask("reject", id=key(1).id)["live"] == 0
    assert not (output / "set" / "settings.json").exists()


def test_the_settings_stay_as_they_are(made):
    before = read_settings(made)
    ask("reject", id=key(0).id)
    ask("rebuild")
    assert read_settings(made) == before


@pytest.mark.parametrize(
    ("name", "question", "words"),
    [
        ("review", {"folder": "../set"}, "is no name for a folder inside"),
        ("review", {"folder": "/etc"}, "is no name for a folder inside"),
        ("review", {"folder": "out/set"}, "leads out of"),
        ("review", {"folder": "set/views"}, "lies in the set"),
        ("review", {"folder": "none"}, "there is no set in"),
        ("reject", {"folder": "none", "id": "x"}, "there is no set in"),
        ("reject", {"folder": "borrowed", "id": "x"}, "leads out of"),
        ("review", {"folder": None}, "folder should be a text"),
        ("review", {"page": "1"}, "page should be a whole number"),
        ("review", {"page": True}, "page should be a whole number"),
        ("reject", {"id": []}, "id should be a text"),
        ("reject", {"id": "0" * 16}, "the set has no sample"),
        ("restore", {}, "id should be a text"),
        ("relabel", {"id": key(1).id, "label": " "}, "needs a letter"),
        ("relabel", {"id": key(1).id, "label": "x", "was": "y"}, "nothing in sample"),
        ("relabel", {"id": key(1).id, "label": "x", "was": 1}, "was should be a text"),
        ("relabel", {"id": key(1).id, "label": "x", "object": 9}, "has 1 instances"),
        ("relabel", {"id": key(1).id, "label": "x", "object": "0"}, "object should be a whole number"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(made, output, tmp_path, name, question, words):
    with store.open(tmp_path / "elsewhere" / "set") as opened:
        add(opened, 1)
    (output / "out").symlink_to(tmp_path / "elsewhere")
    (output / "borrowed").mkdir()
    (output / "borrowed" / "ledger.jsonl").symlink_to(tmp_path / "elsewhere" / "set" / "ledger.jsonl")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert words in ask(name, **question)["error"]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_set_that_is_being_written_says_so_and_is_still_shown(made):
    with store.open(made):
        assert "is being written by process" in ask("reject", id=key(0).id)["error"]
        assert ask("review")["live"] == 4
    assert ask("reject", id=key(0).id)["live"] == 3


def test_a_run_waits_for_a_review_to_be_done(made):
    opened = []
    run = threading.Thread(target=lambda: opened.append(open_in_run(made, Rules())))
    with reviewing:
        run.start()
        run.join(0.3)
        assert run.is_alive() and not opened
    run.join(20)
    opened[0].close()


def test_a_run_waits_a_moment_for_another_process(made, monkeypatch):
    opened = []
    run = threading.Thread(target=lambda: opened.append(open_in_run(made, Rules())))
    monkeypatch.setattr(sets, "TRIES", 100)
    with store.open(made):
        run.start()
        run.join(0.3)
        assert run.is_alive() and not opened
    run.join(20)
    opened[0].close()
    monkeypatch.setattr(sets, "TRIES", 2)
    with store.open(made), pytest.raises(LockedError, match="is being written by process"):
        open_in_run(made, Rules())


def test_a_run_that_waits_can_be_cancelled(made, host):
    host.cancel.set()
    with reviewing, pytest.raises(Cancelled):
        open_in_run(made, Rules())
