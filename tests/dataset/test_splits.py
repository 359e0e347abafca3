"""Groups and splits: together, in their shares, whatever the order, and never moved."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest

from varifold.dataset.errors import DatasetError
from varifold.dataset.groups import Groups
from varifold.dataset.provenance import Key
from varifold.dataset.splits import Member, check_shares, decide


def member(number, classes=(), links=(), **more):
    return Member(Key("graph", 0, number).id, tuple(classes), tuple(links), **more)


def settled(members, decision):
    """The members with what was decided."""
    places = {id: (split, name) for name, (split, ids) in decision.placed.items() for id in ids}
    found = [
        replace(each, split=places[each.id][0], group=places[each.id][1]) if each.id in places else each
        for each in members
    ]
    return [each for each in found if each.id not in decision.refused]


def counts(members, name=None):
    return Counter(each.split for each in members if name is None or name in each.classes)


def check_no_leak(members):
    homes = {}
    for each in members:
        assert each.split and each.group
        for link in (*each.links, ("group", each.group)):
            assert homes.setdefault(link, each.split) == each.split


def test_groups_are_the_connected_parts():
    """Beside a search through all links, on random graphs."""
    for seed in range(30):
        chance, groups = random.Random(seed), Groups()
        links = [chance.sample(range(40), 2) for _ in range(chance.randint(0, 40))]
        for link in links:
            groups.join(link)
        for first, second in itertools.combinations(range(40), 2):
            reached, new = set(), {first}
            while new:
                reached |= new
                new = {b for link in links for a, b in (link, link[::-1]) if a in reached} - reached
            assert (groups.of(first) == groups.of(second)) == (second in reached)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 59, 60, 1000])
def test_shares_are_met_to_a_sample(count):
    members = [member(number) for number in range(count)]
    placed = counts(settled(members, decide(members)))
    assert sum(placed.values()) == count
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(placed[split] - share * count) <= 1


def test_each_class_is_met_to_a_few_samples():
    sizes = {"common": 300, "usual": 80, "rare": 10}
    members, number = [], itertools.count()
    for name, size in sizes.items():
        members += [member(next(number), [name]) for _ in range(size)]
    members = settled(members, decide(members))
    for name, size in sizes.items():
        for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert abs(counts(members, name)[split] - share * size) <= 2


def test_classes_of_one_sample_each_do_not_all_train():
    members = [member(number, [f"class {number}"]) for number in range(100)]
    placed = counts(settled(members, decide(members)))
    assert abs(placed["train"] - 80) <= 2 and abs(placed["val"] - 10) <= 2


def test_pictures_of_several_classes_are_met_in_each():
    chance = random.Random(0)
    names = ["a", "b", "c", "d", "e"]
    members = [member(number, chance.sample(names, chance.randint(1, 3))) for number in range(400)]
    members = settled(members, decide(members))
    for name in names:
        size = sum(counts(members, name).values())
        for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert abs(counts(members, name)[split] - share * size) <= 0.03 * size + 2


def test_order_does_not_matter():
    members = [member(number, [f"class {number % 3}"], [f"link {number // 2}"]) for number in range(80)]
    expected = decide(members)
    for seed in range(10):
        assert decide(random.Random(seed).sample(members, len(members))) == expected


def test_another_seed_places_others_in_the_test():
    members = [member(number) for number in range(100)]
    assert decide(members, seed=0) == decide(members) != decide(members, seed=1)
    chosen = Counter()
    for seed in range(200):
        chosen.update(id for split, ids in decide(members, seed=seed).placed.values() if split == "test" for id in ids)
    assert len(chosen) == 100 and max(chosen.values()) < 45


def test_linked_samples_stay_together_through_others():
    chain = [member(number, links=[f"{number}", f"{number + 1}"]) for number in range(30)]
    others = [member(number) for number in range(30, 60)]
    decision = decide(chain + others)
    assert {frozenset(ids) for _, ids in decision.placed.values() if len(ids) > 1} == {
        frozenset(each.id for each in chain)
    }
    assert min(each.id for each in chain) in decision.placed


def test_appending_never_moves_a_sample_and_never_leaks():
    """A hundred times: random samples come in parts of random size; each part is decided when it comes."""
    for seed in range(100):
        chance, members, refused = random.Random(seed), [], {}
        numbers = itertools.count()
        for _ in range(chance.randint(1, 8)):
            new = [
                member(
                    next(numbers), [f"class {chance.randrange(3)}"], {f"link {chance.randrange(40)}" for _ in range(2)}
                )
                for _ in range(chance.randint(1, 8))
            ]
            before = {each.id: (each.split, each.group) for each in members}
            decision = decide(members + new, {"train": 0.5, "val": 0.25, "test": 0.25})
            members = settled(members + new, decision)
            refused |= decision.refused
            assert {each.id: (each.split, each.group) for each in members if each.id in before} == before
            assert {each.id for each in new} <= {each.id for each in members} | set(refused)
        check_no_leak(members)


def test_a_sample_that_links_two_splits_is_refused_and_names_both():
    train = member(0, links=["a"], split="train", group="g0")
    test = member(1, links=["b"], split="test", group="g1")
    between = member(2, links=["a", "b"])
    decision = decide([train, test, between])
    assert decision.placed == {}
    assert decision.refused == {
        between.id: "leak: it is linked to the groups g1 (test) and g0 (train), which are in different splits"
    }


def test_of_a_chain_between_two_splits_one_sample_is_refused():
    train = member(0, links=["a"], split="train", group="g0")
    test = member(1, links=["c"], split="test", group="g1")
    chain = [member(2, links=["a", "b"]), member(3, links=["b", "c"])]
    decision = decide([train, test, *chain])
    assert len(decision.refused) == 1
    check_no_leak(settled([train, test, *chain], decision))


def test_a_sample_that_links_two_groups_of_one_split_joins_one():
    first = member(0, links=["a"], split="val", group="g0")
    second = member(1, links=["b"], split="val", group="g1")
    between = member(2, links=["a", "b"])
    decision = decide([first, second, between])
    group = first.group if first.id < second.id else second.group
    assert decision.placed == {group: ("val", (between.id,))} and not decision.refused


def test_a_group_that_was_torn_before_takes_nobody():
    """As where near-duplicates of samples with a place are looked for only later."""
    torn = [member(0, links=["a"], split="train", group="g0"), member(1, links=["a"], split="test", group="g1")]
    late = member(2, links=["a"])
    assert list(decide([*torn, late]).refused) == [late.id]


def test_a_rejected_sample_binds_but_does_not_count():
    gone = [member(number, links=[f"{number}"], split="test", group=f"g{number}", live=False) for number in range(50)]
    late = member(99, links=["3"])
    new = [member(number) for number in range(100, 200)]
    decision = decide([*gone, late, *new])
    assert decision.placed["g3"] == ("test", (late.id,))
    assert abs(counts(settled(new, decision))["test"] - 10) <= 1


def test_shares_may_leave_a_split_out():
    members = [member(number) for number in range(20)]
    assert counts(settled(members, decide(members, {"train": 1}))) == {"train": 20}
    assert counts(settled(members, decide(members, {"train": 3, "test": 1}))) == {"train": 15, "test": 5}
    assert check_shares({"train": 3, "test": 1}) == {"train": 0.75, "val": 0, "test": 0.25}


@pytest.mark.parametrize(
    "shares", [{}, {"train": 0}, {"train": -1, "val": 2}, {"train": float("nan")}, {"train": float("inf")}, {"dev": 1}]
)
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(DatasetError, match="shares are numbers, at least 0, of train, val, test"):
        decide([], shares)
