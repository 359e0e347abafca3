"""How a prompt says one of a denoiser's classes."""

import pytest

from varifold.models.denoising.labels import NO_CLASS, Labels, UnknownLabel

NAMES = ("tench, Tinca tinca", "golden retriever", "crane, bird", "crane, machine", "jack-o'-lantern", "knife")
named, numbered = Labels(len(NAMES), NAMES), Labels(1000)


@pytest.mark.parametrize(
    ("text", "row"),
    [("0", 0), ("207", 207), (" 999\n", 999), ("007", 7), ("-0", 0), ("000000000012", 12), ("207,", 207)],
)
def test_a_number_is_a_class(text, row):
    assert numbered.index(text) == (row, [])


@pytest.mark.parametrize("text", ["", "  \n", ",", "?!"])
@pytest.mark.parametrize("unknown", ["nearest", "skip", "error"])
def test_an_empty_prompt_is_no_class(text, unknown):
    assert numbered.index(text, unknown) == named.index(text, unknown) == (NO_CLASS, [])


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("golden retriever", 1),
        (" Golden-Retriever! ", 1),
        ("a golden retriever", 1),
        ("The golden retrievers", 1),
        ("tench", 0),
        ("tinca tinca", 0),
        ("Tench, Tinca tinca", 0),
        ("bird", 2),
        ("crane, machine", 3),
        ("jack o lantern", 4),
        ("knives", 5),
        ("3", 3),
    ],
)
@pytest.mark.parametrize("unknown", ["nearest", "skip", "error"])
def test_a_name_is_a_class_in_any_case_and_number(text, row, unknown):
    assert named.index(text, unknown) == (row, [])


def test_a_name_of_two_classes_is_the_first_and_says_so():
    row, (note,) = named.index("crane")
    assert row == 2 and "class 2" in note and "number for 3" in note


def test_a_name_of_digits_goes_before_a_number():
    assert Labels(3, ("7", "1", "2")).index("1") == (1, [])
    assert Labels(3, ("7", "1", "2")).index("7") == (0, [])


def test_an_unknown_name_is_the_nearest_one_and_reported():
    row, (note,) = named.index("golden retreiver")
    assert row == 1 and "'golden retreiver'" in note and "'golden retriever'" in note


def test_a_name_like_no_other_is_left_out_and_reported():
    row, (note,) = named.index("xyzzy quux")
    assert row == NO_CLASS and "'xyzzy quux'" in note


def test_an_unknown_name_can_be_skipped_or_an_error():
    for labels in (named, numbered):
        row, (note,) = labels.index("golden retreiver", "skip")
        assert row == NO_CLASS and "'golden retreiver'" in note
    with pytest.raises(UnknownLabel, match="try golden retriever or"):
        named.index("golden retreiver", "error")


@pytest.mark.parametrize("text", ["1000", "-1", "99999999999999999999", "9" * 5000, "-" + "9" * 5000])
@pytest.mark.parametrize("unknown", ["nearest", "skip", "error"])
def test_a_number_that_is_no_class_is_an_error_that_says_which_are(text, unknown):
    with pytest.raises(UnknownLabel, match="classes 0 to 999"):
        numbered.index(text, unknown)
    with pytest.raises(UnknownLabel, match="classes 0 to 5"):
        named.index(text, unknown)


def test_half_a_class_is_an_error():
    with pytest.raises(UnknownLabel, match="whole number"):
        numbered.index("3.5")


@pytest.mark.parametrize("text", ["1 2", "1, 2", "1 and 2", "1;2", "207 207", "1 or 2000"])
def test_several_numbers_are_an_error(text):
    with pytest.raises(ValueError, match="one class, and this one 2"):
        numbered.index(text)


@pytest.mark.parametrize("unknown", ["nearest", "error"])
def test_words_for_classes_without_names_are_an_error(unknown):
    with pytest.raises(UnknownLabel, match="by number alone, 0 to 999: 'hero robe'"):
        numbered.index("hero robe", unknown)


def test_unknown_names_are_handled_in_three_ways_only():
    with pytest.raises(ValueError, match="skip, nearest, error"):
        numbered.index("1", "guess")


def test_there_is_a_name_for_each_class_or_none():
    with pytest.raises(ValueError, match="3 names for them or none, not 2"):
        Labels(3, ("a", "b"))


def test_a_class_is_told_to_people():
    assert (named.name(1), numbered.name(207)) == ("1 (golden retriever)", "207")
    assert named.name(NO_CLASS) == numbered.name(1000) == "no class"


def test_the_hash_tells_classes_apart():
    assert named.hash == Labels(len(NAMES), NAMES).hash
    assert len({named.hash, numbered.hash, Labels(6).hash, Labels(6, NAMES[::-1]).hash}) == 4
