"""A run that several processes made in parts gives the bytes of a run that one made."""

from __future__ import annotations

import pytest
from small_sets import GRAPH, LABELS, NAME, add, contents, key, picture

from varifold.dataset import store
from varifold.dataset.errors import DatasetError, LockedError
from varifold.dataset.filters import Filters
from varifold.dataset.merge import merge
from varifold.dataset.provenance import Key
from varifold.dataset.rules import Rules

RULES = Rules(Filters(smallest_mask=20), quotas={LABELS[0]: 3})
SAMPLES = 20


def make(opened, numbers):
    """Some with the pictures of others, so that of two shards and of five each has some that others have too."""
    opened.add_graph(GRAPH)
    for number in numbers:
        same_as = {7: 2, 8: 2, 13: 4, 16: 4}.get(number, number)
        opened.add(picture(same_as), key(number), label=LABELS[number % 3], links=[f"sprite {number // 3}"])


def in_shards(folder, count):
    shards = [folder / f"shard {shard}" for shard in range(count)]
    for number, shard in enumerate(shards):
        with store.open(shard, RULES.of_a_shard) as opened:
            make(opened, range(number, SAMPLES, count))
    return shards


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with store.open(folder, RULES) as opened:
        make(opened, range(SAMPLES))
        opened.split()
        assert [reason.split(":")[0] for _, reason in opened.rejected()] == ["duplicate"] * 4
    return contents(folder)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_shards_gives_the_same_bytes(tmp_path, expected, count):
    shards = in_shards(tmp_path, count)
    with store.open(tmp_path / "whole", RULES) as opened:
        assert merge(opened, shards[::-1]).total() == SAMPLES
        opened.split()
    assert contents(tmp_path / "whole") == expected


def test_merging_again_adds_nothing(tmp_path, expected):
    shards = in_shards(tmp_path, 2)
    for _ in range(2):
        with store.open(tmp_path / "whole", RULES) as opened:
            outcomes = merge(opened, shards)
            opened.split()
        assert contents(tmp_path / "whole") == expected
    assert set(outcomes) == {"known", "full"}


def test_a_merge_that_was_cut_off_goes_on(tmp_path, expected):
    shards = in_shards(tmp_path, 2)
    with store.open(tmp_path / "whole", RULES) as opened:
        merge(opened, shards)
    ledger = tmp_path / "whole" / store.LEDGER
    ledger.write_bytes(ledger.read_bytes()[: ledger.stat().st_size // 2])
    with store.open(tmp_path / "whole", RULES) as opened:
        merge(opened, shards)
        opened.split()
    assert contents(tmp_path / "whole") == expected


def test_what_was_judged_in_a_shard_holds(tmp_path):
    with store.open(tmp_path / "shard") as opened:
        ids = [add(opened, number).id for number in range(3)]
        opened.reject(ids[0], "ugly")
        opened.relabel(ids[1], "knight", instance=0)
        opened.split()
    with store.open(tmp_path / "whole") as opened:
        assert merge(opened, [tmp_path / "shard"]) == {"rejected": 1, "added": 2}
        ((first, reason),) = opened.rejected()
        assert (first.id, reason) == (ids[0], "ugly")
        assert [sample.instances[0].label for sample in opened.samples()] == ["knight", LABELS[2]]
        assert {sample.split for sample in opened.samples()} == {""}
        assert opened.counts == {"knight": 1, LABELS[1]: 1, LABELS[2]: 1}


def test_a_sample_of_two_shards_is_one(tmp_path):
    for name in ("a", "b"):
        with store.open(tmp_path / name) as opened:
            add(opened, 0)
    with store.open(tmp_path / "whole") as opened:
        assert merge(opened, [tmp_path / "a", tmp_path / "b"]) == {"added": 1, "known": 1}


def test_samples_come_in_the_order_of_their_keys(tmp_path):
    keys = [Key(NAME, 1, 2), Key("a", 0, 2), Key(NAME, 0, 10), Key(NAME, 5, 1)]
    with store.open(tmp_path / "shard") as opened:
        for number, each in enumerate(keys):
            opened.add(picture(number), each)
    with store.open(tmp_path / "whole") as opened:
        merge(opened, [tmp_path / "shard"])
        assert list(opened.all_keys()) == [keys[3], keys[1], keys[0], keys[2]]


def test_a_shard_that_is_missing_being_written_or_broken_is_told(tmp_path):
    with store.open(tmp_path / "whole") as whole:
        with pytest.raises(DatasetError, match=r"has no ledger.jsonl, so it is no shard"):
            merge(whole, [tmp_path / "none"])
        with store.open(tmp_path / "shard") as shard:
            add(shard, 0)
            with pytest.raises(LockedError, match="is being written by process"):
                merge(whole, [tmp_path / "shard"])
            image = shard.folder / next(shard.samples()).image
        image.write_bytes(b"damage")
        with pytest.raises(DatasetError, match="is not what was written"):
            merge(whole, [tmp_path / "shard"])
        assert len(whole) == 0 and whole.sweep() == []
