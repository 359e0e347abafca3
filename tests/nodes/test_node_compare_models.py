"""Compare Models: what is measured of models whose answers are known, and what is refused."""

from __future__ import annotations

import re
from functools import partial

import pytest
import torch
from small_lab import denoiser, generator, pictures

from varifold.nodes.draw_table import BEST, Line, draw_table, table_text
from varifold.studio.errors import Cancelled


@pytest.fixture
def compare(call):
    return partial(call, "CompareModels", steps=3, count=20, likelihood="none")


BITS = ("bits, bound", "bits, exact")


def column(report: str, name: str) -> dict[str, str]:
    """Of each measure, what the table says of one model."""
    head, *rows = report.split("\n\n")[0].splitlines()
    names = re.split(r"  +", head)
    cells = [re.split(r"  +", row) for row in rows]
    return {row[0]: row[names.index(name)] for row in cells if len(row) > names.index(name)}


def value(text: str) -> float:
    return float(re.match(r"-?[\d.e+-]+", text)[0])


def test_a_model_that_copies_held_out_pictures_is_at_the_floor_and_another_is_not(compare):
    set_, copying, other = pictures(60, 60), generator(), generator("gan")
    copies = set_.held.x0(range(20))
    copying.net.draw = lambda noise, emb: copies[: len(noise)]
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    other.net.draw = lambda noise, emb: board.expand(len(noise), 3, 8, 8)
    sheet, table, report = compare(pictures=set_, names="copies", generator_1=copying, generator_2=other)
    good, bad, floor = (column(report, name) for name in ("copies", "gan 2", "real beside real"))
    assert value(good["coverage"]) > 0.6 > 0.2 > value(bad["coverage"])
    assert value(good["KD-layout-edges"]) < value(bad["KD-layout-edges"]) / 3
    assert abs(value(good["recall"]) - value(floor["recall"])) < 0.25 and good["coverage"].endswith("*")
    assert float(good["nearer to training"].split("%")[0]) < 30
    assert "no FD-layout-edges: real: 20 samples, and 102 features need 103" in report
    assert "60 held-out pictures, 60 trained on; 20 drawn" in report and "of 20 at a time" in report
    assert sheet.shape[0] == table.shape[0] == 1 and sheet.isfinite().all()


def test_a_model_that_gives_back_what_it_was_trained_on_is_found_out(compare):
    set_, model = pictures(40, 40), generator()
    copies = set_.x0(range(20))
    model.net.draw = lambda noise, emb: copies[: len(noise)]
    report = compare(pictures=set_, generator_3=model)[2]
    told = column(report, "vae 3")
    assert told["nearer to training"].startswith("100% (") and told["copies"] == "100%"


def test_what_has_a_likelihood_is_told_in_bits(compare, monkeypatch):
    monkeypatch.setattr("varifold.nodes.compare_models.STEPS", 6)
    given = {"denoiser_1": denoiser(), "generator_1": generator(), "generator_2": generator("gan")}
    report = compare(pictures=pictures(), likelihood="bound and exact", **given)[2]
    bound, exact = ([column(report, name)[row] for name in ("denoiser 1", "vae 1", "gan 2")] for row in BITS)
    assert all(value(text) > 0 for text in bound[:2]) and value(exact[0]) > 0
    assert bound[2] == exact[1] == exact[2] == "none"
    assert "bits, bound: per number of 32 held-out pictures" in report and "bits, exact: per number of 32" in report
    only = compare(pictures=pictures(), likelihood="bound", **given)[2]
    assert "bits, bound" in only and "bits, exact" not in only
    assert column(only, "vae 1")["bits, bound"].rstrip(" *") == bound[1].rstrip(" *")


def test_models_are_told_the_words_of_the_pictures(compare, monkeypatch):
    monkeypatch.setattr("varifold.nodes.compare_models.STEPS", 2)
    given = {"denoiser_1": denoiser(), "generator_1": generator(), "likelihood": "bound and exact"}
    with torch.no_grad():
        given["denoiser_1"].net.words.weight[1:] *= 20
        given["generator_1"].net.words.weight[1:] *= 20
    told, silent = pictures(), pictures()
    silent.held.rows[:] = 0
    reports = [compare(pictures=each, **given)[2] for each in (told, silent)]
    for name in ("denoiser 1", "vae 1"):
        first, second = (column(report, name) for report in reports)
        rows = ("KD-layout-edges", *BITS) if name == "denoiser 1" else ("KD-layout-edges", BITS[0])
        assert all(first[row].rstrip(" *") != second[row].rstrip(" *") for row in rows), name


def test_a_better_denoiser_costs_fewer_bits(compare):
    """One that answers the pictures' mean beside one that answers white noise of the net's beginning."""
    set_, good, bad = pictures(), denoiser(), denoiser(1)
    with torch.no_grad():
        good.net.out.weight.zero_()  # of EDM: x0 is then x, shrunk towards 0 as the noise asks
        bad.net.out.weight.mul_(20)
    report = compare(pictures=set_, likelihood="bound", denoiser_1=good, denoiser_2=bad)[2]
    first, second = (column(report, f"denoiser {number}")["bits, bound"] for number in (1, 2))
    assert first.endswith("*") and value(first) < value(second) - 0.1


def test_the_same_models_are_measured_the_same_again(compare):
    given = {"pictures": pictures(), "denoiser_1": denoiser(), "denoiser_2": denoiser(), "likelihood": "bound"}
    report, again = (re.sub(r"seconds.*\n", "", compare(**given, seed=3)[2]) for _ in range(2))
    assert report == again != re.sub(r"seconds.*\n", "", compare(**given, seed=4)[2])
    twins = [column(report, f"denoiser {number}") for number in (1, 2)]
    assert twins[0] == twins[1] and "*" not in report.split("\n\n")[0]


def test_a_table_marks_the_best():
    lines = [Line("precision", ("0.5", "0.75"), 1, "0.9"), Line("copies", ("1%", "2%"), None, "1%")]
    assert table_text(["a", "模型"], lines, "measure", "real") == [
        "measure    a    模型      real",
        "precision  0.5  0.75 *  0.9",
        "copies     1%   2%      1%",
    ]
    picture = draw_table(["a", "模型"], lines, "measure", "real")
    marked = [picture.getpixel((x, y)) == BEST for x in range(picture.width) for y in range(picture.height)]
    assert 5 < sum(marked) < 500


def test_what_cannot_be_compared_is_told(compare):
    for given, message in [
        ({"pictures": pictures(held=0), "denoiser_1": denoiser()}, "0 are held out, and 4 are the least"),
        ({"pictures": pictures(held=3), "denoiser_1": denoiser()}, "3 are held out"),
        ({"pictures": pictures()}, "wire the denoisers and generators to compare"),
        ({"pictures": pictures(channels="rgba"), "denoiser_1": denoiser()}, "opaque, and those wired 8×8, with trans"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(**given)
    few = compare(pictures=pictures(count=9, held=12), denoiser_1=denoiser())[2]
    assert "memorisation: with 10 pictures" in few and "nearer" not in few


def test_progress_goes_to_the_end_and_stops_when_cancelled(compare, events, host, monkeypatch):
    monkeypatch.setattr("varifold.nodes.compare_models.STEPS", 2)
    given = {"pictures": pictures(), "denoiser_2": denoiser(), "generator_4": generator()}
    compare(**given, likelihood="bound and exact")
    shown = [data for event, data in events if event == "progress"]
    assert [data["value"] for data in shown] == list(range(shown[0]["max"] + 1))
    host.listener = lambda event, data: host.cancel.set() if data.get("value") == 4 else None
    with pytest.raises(Cancelled):
        compare(**given)
