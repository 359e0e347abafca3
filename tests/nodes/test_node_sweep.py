"""Sweep: which pictures its chunks are, and how it is told where it stands."""

from __future__ import annotations

from collections import Counter

import pytest

from varifold.nodes import NODE_CLASS_MAPPINGS
from varifold.nodes.sweep import Sweep, sweep_of
from varifold.nodes.sweep_position import moved_to, position_of

WIDGETS = {"labels": "sword\n\n potion \nsword", "prompts": "{label}\n{label} red", "quota": 7, "chunk": 2, "seed": 3}


def prompt(index=0, **given):
    return {
        "4": {"class_type": "VarifoldSweep", "inputs": {**WIDGETS, "index": index, **given}},
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    }


@pytest.mark.parametrize("quota", [1, 2, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_every_label_has_its_quota_in_equal_parts_by_each_prompt(quota, size):
    sweep = Sweep(("a", "b", "c"), ("{label} x", "y {label}"), quota, size, 0)
    chunks = [sweep[index] for index in range(len(sweep))]
    pictures = Counter()
    for chunk in chunks:
        assert 1 <= chunk.count <= size and chunk.prompt in (f"{chunk.label} x", f"y {chunk.label}")
        pictures[chunk.label, chunk.prompt] += chunk.count
    for label in "abc":
        shares = [pictures[label, f"{label} x"], pictures[label, f"y {label}"]]
        assert sum(shares) == quota and 0 <= shares[0] - shares[1] <= 1


def test_a_sweep_that_is_cut_off_is_balanced():
    sweep = Sweep(("a", "b", "c"), ("{label}",), 20, 4, 0)
    assert [sweep[index].label for index in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_no_two_pictures_have_the_same_number_or_the_same_noise():
    sweep = Sweep(("a", "b"), ("{label}", "{label} 2"), 9, 4, 0)
    chunks = [sweep[index] for index in range(3 * len(sweep))]
    numbers = [chunk.first + number for chunk in chunks for number in range(chunk.count)]
    assert len(set(numbers)) == len(numbers) == 3 * 18
    seeds = {chunk.seed for chunk in chunks}
    assert len(seeds) == len(chunks) and max(seeds) < 2**53
    assert seeds.isdisjoint(Sweep(("a", "b"), ("{label}", "{label} 2"), 9, 4, 1)[index].seed for index in range(99))


def test_after_the_last_chunk_they_begin_again_with_other_seeds():
    sweep = sweep_of(WIDGETS)
    again = sweep[1 + len(sweep)]
    assert again[:3] == sweep[1][:3] and again.first > sweep[len(sweep) - 1].first and again.seed != sweep[1].seed


def test_a_large_sweep_costs_nothing():
    sweep = Sweep(tuple(map(str, range(1000))), ("{label}",), 10_000_000, 1, 0)
    assert len(sweep) == 10**10 and sweep[10**10 - 1].label == "999"


def test_outputs(call):
    text, seed, batch, labels, captions, chunks, label = call("Sweep", **WIDGETS, index=2)
    assert (text, batch, chunks, label) == ("sword", 2, 8, "sword")
    assert labels == ["sword"] * 2 and captions == ["sword"] * 2
    assert seed == sweep_of(WIDGETS)[2].seed
    node = NODE_CLASS_MAPPINGS["VarifoldSweep"]
    assert [name for name, many in zip(node.RETURN_NAMES, node.OUTPUT_IS_LIST, strict=True) if many] == [
        "labels",
        "captions",
    ]


def test_it_says_where_it_is():
    node = NODE_CLASS_MAPPINGS["VarifoldSweep"]()
    assert node.choose(**WIDGETS, index=7)["ui"]["text"] == ["chunk 8 of 8: 1 picture of potion"]
    assert node.choose(**WIDGETS, index=8)["ui"]["text"] == ["chunk 1 of 8, once more: 2 pictures of sword"]


@pytest.mark.parametrize(("given", "told"), [({"labels": " \n"}, "labels is empty"), ({"prompts": ""}, "prompts is")])
def test_nothing_to_sweep(call, given, told):
    with pytest.raises(ValueError, match=told):
        call("Sweep", **given)


def test_braces_other_than_the_labels_stay():
    assert Sweep(("a",), ("{x} {label} {}",), 1, 1, 0)[0].prompt == "{x} a {}"


def test_position():
    position = position_of(prompt(5))
    assert (position.node, position.index, position.chunk) == ("4", 5, sweep_of(WIDGETS)[5])
    assert moved_to(prompt(5), 0) == prompt(0) and position_of(moved_to(prompt(5), 3)).index == 3
    other = {"5": prompt()["5"]}
    assert position_of(other) is None and moved_to(other, 0) == other


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (prompt(labels=["9", 0]), r"Sweep \(id 4\): write labels into the node"),
        (prompt() | {"7": prompt()["4"]}, "2 Sweeps"),
        ({"4": {"class_type": "VarifoldSweep", "inputs": {"labels": "a"}}}, r"Sweep \(id 4\) has no"),
        (prompt(labels=""), "labels is empty"),
    ],
)
def test_positions_that_cannot_be_told(given, told):
    with pytest.raises(ValueError, match=told):
        position_of(given)
