"""A set: what is added, refused, judged, counted, split and read back."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from small_sets import GRAPH, LABELS, NAME, add, contents, key, mask, picture

from varifold.dataset import store
from varifold.dataset.errors import DatasetError
from varifold.dataset.filters import Filters
from varifold.dataset.marks import Mark
from varifold.dataset.metadata import Encoding
from varifold.dataset.provenance import Key
from varifold.dataset.rules import Rules
from varifold.dataset.sample import Sample


@pytest.fixture
def opened(tmp_path):
    with store.open(tmp_path / "set") as opened:
        yield opened


def again(opened, rules=None):
    """The set as another process would find it."""
    opened.close()
    return store.open(opened.folder, rules)


def pixels(opened, path):
    return np.asarray(Image.open(opened.folder / path))


def test_a_sample_comes_back_as_it_was_added(opened):
    told = add(opened, 4, caption="a caption 🐉")
    (sample,) = opened.samples()
    assert told == store.Added(key(4).id, "added")
    assert (sample.id, sample.width, sample.height) == (key(4).id, 24, 24)
    assert (sample.label, sample.caption, sample.split, sample.group) == (LABELS[1], "a caption 🐉", "", "")
    assert np.array_equal(pixels(opened, sample.image), picture(4))
    (instance,) = sample.instances
    assert instance.label == LABELS[1] and instance.box == (3, 4, 10, 10)
    assert np.array_equal(pixels(opened, instance.mask), mask(4) * np.uint8(255))
    assert sample.provenance["graph"] == NAME and sample.provenance["seed"] == 7 and sample.provenance["index"] == 4
    assert opened.sample(sample.id) == sample
    assert Sample.from_json(json.loads(json.dumps(sample.to_json()))) == sample
    with again(opened) as later:
        assert list(later.samples()) == [sample]


def test_the_same_run_adds_nothing_twice(opened):
    for number in range(6):
        add(opened, number)
    before = contents(opened.folder)
    assert [add(opened, number).outcome for number in range(6)] == ["known"] * 6
    with again(opened) as later:
        assert [add(later, number).outcome for number in range(6)] == ["known"] * 6
        assert len(later) == 6 and key(5) in later and key(6) not in later
    assert {**contents(opened.folder), "lock": b""} == {**before, "lock": b""}


@pytest.mark.parametrize("other", [Key("other", 7, 0), Key(NAME, 8, 0), Key(NAME, 7, 1)])
def test_another_graph_seed_or_index_is_another_sample(opened, other):
    assert other.id != key(0).id
    add(opened, 0)
    assert opened.add(picture(1), other).outcome == "added"


def test_a_graph_is_kept_once(opened):
    assert opened.add_graph(GRAPH) == opened.add_graph(json.loads(json.dumps(GRAPH))) == NAME
    assert json.loads((opened.folder / f"graphs/{NAME}.json").read_text()) == GRAPH
    assert (opened.folder / store.LEDGER).read_text().count('"kind":"graph"') == 1


def test_the_same_picture_is_one_file_and_rejected_as_a_duplicate(opened):
    first, second = add(opened, 0), opened.add(picture(0), key(1))
    assert second.outcome == "rejected" and second.reason == f"duplicate: it differs from {first.id} in 0 of 64 bits"
    assert len(opened) == 1
    with again(opened, Rules(duplicate=None)) as later:
        assert later.add(picture(0), key(2)).outcome == "added"
        added, rejected = list(later.samples()), list(later.rejected())
        assert added[1].image == rejected[0][0].image  # without a record of its own it is the very same file


def test_the_same_shape_in_another_colour_is_no_duplicate_but_stays_with_it(opened):
    round = np.hypot(*(np.mgrid[:24, :24] - 11.5)) < 8
    for number, colour in enumerate(([200, 40, 40], [40, 60, 220], [40, 200, 60])):
        ball = np.where(round[..., None], np.array(colour, np.uint8), np.uint8(255))
        assert opened.add(ball, key(number), label="ball").outcome == "added"
    opened.split()
    assert len({sample.group for sample in opened.samples()}) == 1


def test_a_broken_file_is_no_hindrance_to_the_next(opened):
    add(opened, 0)
    for damage in (b"", b"nothing", (opened.folder / next(opened.samples()).image).read_bytes()[:200]):
        (opened.folder / next(opened.samples()).image).write_bytes(damage)
        assert opened.add(picture(0), Key("x", 0, len(damage))).outcome == "added"
        opened.reject(Key("x", 0, len(damage)).id)


def test_a_duplicate_of_what_was_rejected_is_welcome(opened):
    opened.reject(add(opened, 0).id)
    assert opened.add(picture(0), key(1)).outcome == "added"


def test_filters_reject_with_a_reason_that_can_be_overruled(opened):
    grey = np.full((16, 16, 3), 90, np.uint8)
    told = opened.add(grey, key(0), label="fog")
    assert told.outcome == "rejected" and told.reason.startswith("blank: ")
    assert opened.add(grey, key(0)) == store.Added(told.id, "known", told.reason)
    small = opened.add(picture(1), key(1), marks=[Mark("dot", np.eye(24, dtype=bool)[:, ::-1] & (np.arange(24) < 3))])
    assert small.reason == "too small: mask 1 has 3 pixels, fewer than 16"
    assert len(opened) == 0 and not opened.counts
    opened.restore(told.id)
    assert [sample.id for sample in opened.samples()] == [told.id] and opened.counts == {"fog": 1}


def test_reject_restore_and_relabel_last(opened):
    ids = [add(opened, number).id for number in range(3)]
    opened.reject(ids[0], "blurry")
    opened.reject(ids[1])
    opened.restore(ids[1])
    opened.relabel(ids[1], "knight")
    opened.relabel(ids[2], "wyvern", instance=0)
    for each in (opened, again(opened)):
        assert [(sample.id, reason) for sample, reason in each.rejected()] == [(ids[0], "blurry")]
        first, second = each.samples()
        assert (first.label, first.instances[0].label) == ("knight", LABELS[1])
        assert (second.label, second.instances[0].label) == (LABELS[2], "wyvern")
        assert each.counts == {"knight": 1, LABELS[1]: 1, LABELS[2]: 1, "wyvern": 1}
        assert set(each.names) == {*LABELS, "knight", "wyvern"}
    each.close()


def test_what_changes_nothing_is_not_recorded(opened):
    id = add(opened, 0).id
    before = (opened.folder / store.LEDGER).read_bytes()
    opened.restore(id)
    opened.relabel(id, LABELS[0])
    opened.relabel(id, LABELS[0], instance=0)
    assert (opened.folder / store.LEDGER).read_bytes() == before
    opened.reject(id)
    opened.reject(id, "again")
    assert next(opened.rejected())[1] == store.BY_HAND


@pytest.mark.parametrize("change", ["reject", "restore", "sample"])
def test_an_unknown_sample_is_named(opened, change):
    with pytest.raises(DatasetError, match="the set has no sample 'nobody'"):
        getattr(opened, change)("nobody")
    with pytest.raises(DatasetError, match="has 1 instances, numbered from 0: there is no 1"):
        opened.relabel(add(opened, 0).id, "x", instance=1)


def test_quotas_fill_and_refill(tmp_path):
    rules = Rules(quotas={"hero": 2, "slime": 1})
    with store.open(tmp_path, rules) as opened:
        told = [opened.add(picture(number), key(number), label="hero") for number in range(3)]
        assert [each.outcome for each in told] == ["added", "added", "full"]
        assert opened.wanting == {"slime": 1}
        assert opened.add(picture(9), key(9), label="no quota").outcome == "added"
        opened.reject(told[0].id)
        assert opened.wanting == {"hero": 1, "slime": 1}
    with store.open(tmp_path, rules) as opened:
        assert opened.wanting == {"hero": 1, "slime": 1}
        assert opened.add(picture(2), key(2), label="hero").outcome == "added"
        assert opened.add(picture(4), key(4), label="hero").outcome == "full"
        both = [Mark("hero", mask(5)), Mark("slime", mask(6))]
        assert opened.add(picture(5), key(5), marks=both).outcome == "added"  # for the slime in it
        assert opened.wanting == {}
        assert opened.counts == {"hero": 3, "slime": 1, "no quota": 1}


def test_samples_that_share_something_stay_together_and_never_move(opened):
    for number in range(60):
        add(opened, number)
    opened.split()
    before = {sample.id: (sample.split, sample.group) for sample in opened.samples()}
    for first in range(0, 60, 3):
        assert len({before[key(number).id] for number in range(first, first + 3)}) == 1
    sizes = [sum(split == name for split, _ in before.values()) for name in ("train", "val", "test")]
    assert sizes == [48, 6, 6]
    for number in range(60, 90):
        add(opened, number)
        opened.split()
    after = {sample.id: (sample.split, sample.group) for sample in opened.samples()}
    assert {id: after[id] for id in before} == before
    assert all(split for split, _ in after.values())
    assert opened.split().placed == {}
    with again(opened) as later:
        assert {sample.id: (sample.split, sample.group) for sample in later.samples()} == after


def test_near_duplicates_stay_together(tmp_path):
    with store.open(tmp_path, Rules(duplicate=None)) as opened:
        for number in range(40):
            opened.add(picture(number), Key("first", 0, number))
            noisy = picture(number).astype(int) + np.random.default_rng(number).integers(-6, 7, (24, 24, 3))
            opened.add(noisy.clip(0, 255).astype(np.uint8), Key("second", 1, number))
        opened.split({"train": 0.5, "val": 0.25, "test": 0.25})
        groups = {sample.id: sample.group for sample in opened.samples()}
        assert all(groups[Key("first", 0, n).id] == groups[Key("second", 1, n).id] for n in range(40))
        assert len(set(groups.values())) == 40


def test_many_copies_are_no_burden(tmp_path):
    """Links between all pairs of 3,000 copies would be millions."""
    with store.open(tmp_path) as opened:
        add(opened, 0)
        entry = opened.entry(key(0).id)
        for number in range(1, 3000):
            opened._ledger.append({**entry, "id": key(number).id, "links": []})
        opened._ledger.flush()
    with store.open(tmp_path) as opened:
        start = time.process_time()
        assert len(opened.split().placed) == 1
        assert time.process_time() - start < 2


def test_the_same_noise_stays_together(opened):
    for number in range(30):
        opened.add(picture(number), Key("first", 3, number))
        opened.add(picture(100 + number), Key("second", 3, number))
    opened.split()
    groups = {sample.id: sample.group for sample in opened.samples()}
    assert all(groups[Key("first", 3, n).id] == groups[Key("second", 3, n).id] for n in range(30))


def test_a_sample_that_would_leak_from_one_split_into_another_is_rejected(opened):
    for number in range(20):
        opened.add(picture(number), key(number), links=[f"sprite {number}"])
    opened.split({"train": 0.5, "test": 0.5})
    split = {sample.id: sample.split for sample in opened.samples()}
    train = next(number for number in range(20) if split[key(number).id] == "train")
    test = next(number for number in range(20) if split[key(number).id] == "test")
    leak = opened.add(picture(50), key(50), links=[f"sprite {train}", f"sprite {test}"])
    assert leak.outcome == "added"
    decision = opened.split()
    assert list(decision.refused) == [leak.id]
    ((sample, reason),) = opened.rejected()
    assert sample.id == leak.id
    assert reason.startswith("leak: it is linked to the groups ")
    assert f"{key(train).id} (train)" in reason and f"{key(test).id} (test)" in reason
    assert {sample.id: sample.split for sample in opened.samples()} == split


def test_what_was_rejected_still_binds(opened):
    """Its picture was seen in training, so a near copy does not go to the test."""
    for number in range(20):
        opened.add(picture(number), key(number), links=[f"sprite {number}"])
    opened.split({"train": 0.5, "test": 0.5})
    gone = next(opened.samples())
    opened.reject(gone.id)
    (number,) = (number for number in range(20) if key(number).id == gone.id)
    copy = opened.add(picture(number), key(70))
    opened.split({"train": 0.5, "test": 0.5})
    assert copy.outcome == "added" and opened.sample(copy.id).group == gone.group


def test_a_batch_is_written_at_its_end(opened):
    with opened.batch():
        for number in range(5):
            add(opened, number)
        assert not (opened.folder / store.LEDGER).exists() and not (opened.folder / "images").exists()
        with opened.batch():
            add(opened, 5)
        assert len(opened) == 6 and not (opened.folder / store.LEDGER).exists()
    assert len(store.open(opened.folder, write=False)) == 6


def test_a_batch_can_be_read_before_its_end(opened):
    with opened.batch():
        id = add(opened, 0).id
        opened.relabel(id, "knight")
        assert [sample.label for sample in opened.samples()] == ["knight"]


def test_a_batch_that_is_interrupted_keeps_what_was_done(opened):
    with pytest.raises(KeyboardInterrupt), opened.batch():
        add(opened, 0)
        raise KeyboardInterrupt
    assert len(store.open(opened.folder, write=False)) == 1


def test_a_set_that_is_closed_in_a_batch_has_what_was_done(opened):
    with opened.batch():
        add(opened, 0)
        opened.close()
    before = contents(opened.folder)
    with again(opened) as later:
        assert len(later) == 1 and later.broken() == []
    assert contents(opened.folder) == before


def test_samples_are_read_as_they_are_asked_for(opened):
    for number in range(4):
        add(opened, number)
    seen = []
    for sample in opened.samples():
        seen.append(sample.id)
        opened.reject(sample.id)
        if len(seen) == 1:
            add(opened, 9)
    assert seen == [key(number).id for number in range(4)]


def test_broken_files_are_found(opened):
    for number in range(3):
        add(opened, number)
    assert opened.broken() == []
    first, second, _ = opened.samples()
    (opened.folder / first.image).unlink()
    (opened.folder / second.instances[0].mask).write_bytes(b"")
    assert opened.broken() == sorted([first.image, second.instances[0].mask])


def test_sweep_deletes_what_no_entry_names(opened):
    add(opened, 0)
    before = contents(opened.folder)
    stray = opened.folder / "images" / "zz" / "stray.png"
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    assert opened.sweep() == ["images/zz/stray.png"]
    assert contents(opened.folder) == before


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_formats(tmp_path, format):
    with store.open(tmp_path, Rules(encoding=Encoding(format))) as opened:
        add(opened, 0)
        (sample,) = opened.samples()
        assert Image.open(tmp_path / sample.image).format == format.upper()
        assert (opened.folder / sample.image).suffix == opened.rules.encoding.suffix


def test_a_picture_with_transparency_keeps_it(opened):
    sprite = picture(3, channels=4)
    opened.add(sprite, key(3))
    (sample,) = opened.samples()
    assert np.array_equal(pixels(opened, sample.image), sprite)


REFUSED = {
    "floats": ({"picture": np.zeros((4, 4, 3))}, r"uint8, not float64 \(4, 4, 3\)"),
    "one channel": ({"picture": np.zeros((4, 4), np.uint8)}, r"not uint8 \(4, 4\)"),
    "five channels": ({"picture": np.zeros((4, 4, 5), np.uint8)}, r"not uint8 \(4, 4, 5\)"),
    "no pixels": ({"picture": np.zeros((0, 4, 3), np.uint8)}, r"not uint8 \(0, 4, 3\)"),
    "a mask of another size": ({"marks": [Mark("a", mask(0, 16))]}, "the mask of mark 1 must be bool of .* 24x24"),
    "a mask of numbers": ({"marks": [Mark("a", mask(0) * 255)]}, "must be bool"),
    "neither mask nor box": ({"marks": [Mark("a")]}, r"mark 1 \('a'\) has neither a mask nor a box"),
    "a box turned over": ({"marks": [Mark("a", box=(1, 1, -3, 2))]}, "instance 0: box is"),
    "a box of nowhere": ({"marks": [Mark("a", box=(float("nan"), 1, 3, 2))]}, "instance 0: box is"),
    "a score of NaN": ({"marks": [Mark("a", mask(0), score=float("nan"))]}, "instance 0: score is"),
    "a visibility of 2": ({"marks": [Mark("a", mask(0), visibility=2)]}, "instance 0: visibility is"),
    "a label of numbers": ({"label": 3}, "label is 3, not text"),
    "links that are no text": ({"links": ["a", 3]}, r"links are text, not \['a', 3\]"),
    "a record that is no JSON": ({"provenance": {"seed": object()}}, "this provenance is no JSON data"),
    "a record of NaN": ({"provenance": {"seed": float("nan")}}, "this provenance is no JSON data"),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_added_is_told_and_leaves_nothing(opened, given, words):
    given = {"picture": picture(0), **given}
    with pytest.raises(DatasetError, match=words):
        opened.add(given.pop("picture"), key(0), **given)
    assert set(contents(opened.folder)) == {"lock"}


def test_numbers_of_numpy_are_taken(opened):
    found = Mark("a", mask(0), np.array([1, 2, 3, 4], np.float32), np.float32(0.5), np.float64(1))
    opened.add(picture(0), key(0), marks=[found])
    (instance,) = next(opened.samples()).instances
    assert instance.box == (1, 2, 3, 4) and instance.score == 0.5


def test_an_empty_mask_has_a_box_of_nothing(tmp_path):
    with store.open(tmp_path, Rules(filters=Filters(smallest_mask=None))) as opened:
        opened.add(picture(0), key(0), marks=[Mark("ghost", np.zeros((24, 24), bool))])
        assert next(opened.samples()).instances[0].box == (0, 0, 0, 0)


def test_odd_labels_and_captions_come_back(opened):
    odd = ["../../etc", "a.b/c", "x" * 300, "\ud800", "CON", "", "🐉", 'quote " and \\ and ]', "new\nline"]
    for number, label in enumerate(odd):
        opened.add(picture(number), key(number), label=label, caption=label, marks=[Mark(label, mask(number))])
    with again(opened) as later:
        assert [sample.label for sample in later.samples()] == odd
        assert [sample.caption for sample in later.samples()] == odd
        assert later.counts == dict.fromkeys(odd, 1)
        assert len(set(later.names.values())) == len(odd)
    assert {path.parent for path in opened.folder.parent.iterdir()} == {opened.folder.parent}


def test_names_of_labels_stay(opened):
    opened.add(picture(0), key(0), label="Cat")
    names = opened.names
    opened.add(picture(1), key(1), label="cat")
    assert opened.names["Cat"] == names["Cat"] == "Cat" and opened.names["cat"] != "cat"


def test_what_is_no_set_is_told(tmp_path):
    with pytest.raises(DatasetError, match=r"has no ledger.jsonl, so it is no set"):
        store.open(tmp_path, write=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="file cannot be written: Not a directory"):
        store.open(tmp_path / "file")


def test_an_entry_that_is_not_as_it_should_be_names_its_line(opened):
    id = add(opened, 0).id
    opened._ledger.append({"kind": "reject", "id": id})
    opened._ledger.flush()
    opened.close()
    with pytest.raises(DatasetError, match=r"ledger.jsonl, line 4: it is not as Varifold writes them"):
        store.open(opened.folder)


def test_a_record_that_points_elsewhere_is_told(opened):
    id = add(opened, 0).id
    entry = opened.entry(id)
    opened._ledger.append({**entry, "id": "0" * 16, "image": "../outside.png"})
    opened._ledger.append({"kind": "graph", "hash": "elsewhere", "file": "../graph.json"})
    opened._ledger.append({"kind": "relabel", "id": id, "instance": 4, "label": "x", "classes": ["x"]})
    opened._ledger.flush()
    with again(opened) as later:
        with pytest.raises(DatasetError, match=r"sample 0{16}: image is '../outside.png', not a path inside"):
            later.sample("0" * 16)
        with pytest.raises(DatasetError, match=r"'../graph.json' is no path inside"):
            later.graph("elsewhere")
        with pytest.raises(DatasetError, match=f"sample {id} has no instance 4 to give another label"):
            later.sample(id)


def test_an_entry_of_an_unknown_kind_says_update(opened):
    opened._ledger.append({"kind": "dance"})
    opened._ledger.flush()
    opened.close()
    with pytest.raises(DatasetError, match=r"line 2: an entry of the kind 'dance' is unknown"):
        store.open(opened.folder)


def test_a_large_set_opens_in_a_second_and_little_memory(tmp_path):
    """Of the process's own time, for others may be at work; 20,000 samples must take a fifth of what 100,000 may."""
    with store.open(tmp_path) as opened:
        add(opened, 0)
        entry = opened.entry(key(0).id)
    ledger = store.Ledger(tmp_path / store.LEDGER)
    list(ledger.read())
    for number in range(1, 20_000):
        ledger.append({**entry, "id": key(number).id, "key": key(number)})
    ledger.flush()
    ledger.close()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        opened = store.open(tmp_path, write=False)
        seconds.append(time.process_time() - start)
        assert len(opened) == 20_000
    assert min(seconds) < 0.2
    del opened
    tracemalloc.start()
    opened = store.open(tmp_path, write=False)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / len(opened) < 300
