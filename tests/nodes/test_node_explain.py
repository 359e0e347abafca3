"""Explain: each answer, on models with random weights, and what it refuses."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from small_lab import SIDE, denoiser, generator, pictures

from varifold.models.sampling.noise import Noise
from varifold.nodes.draw_levels import OWN
from varifold.nodes.explain import ANSWERS
from varifold.studio.errors import Cancelled


@pytest.fixture
def explain(call):
    return partial(call, "Explain", steps=3, guidance=1.0)


def test_every_answer_is_a_sheet_its_pictures_and_a_report(explain):
    set_, words = pictures(), {"walk between words": "bright\ndark", "words": "bright dark"}
    for what in ANSWERS:
        model = {"generator": generator()} if what == "axes" else {"denoiser": denoiser()}
        sheet, shown, report = explain(what=what, words=words.get(what, ""), count=4, pictures=set_, **model)
        assert sheet.shape[0] == 1 and sheet.dtype == shown.dtype == torch.float32 and sheet.isfinite().all()
        assert shown.shape[1:] == (SIDE, SIDE, 3) and shown.min() >= 0 and shown.max() <= 1
        assert len(report.splitlines()) > 1, what


def test_the_loss_is_of_the_held_out_pictures_with_their_words(explain):
    set_ = pictures()
    _, shown, report = explain(what="loss by noise level", denoiser=denoiser(), pictures=set_)
    assert report.startswith("40 held-out pictures") and len(shown) == len(re.findall("^  σ", report, re.M)) == 14
    _, _, wordless = explain(what="loss by noise level", denoiser=denoiser(words=()), pictures=set_)
    assert wordless != report
    _, _, own = explain(what="loss by noise level", denoiser=denoiser(), pictures=pictures(held=0))
    assert "60 training pictures" in own and "none are held out" in own
    plot = explain(what="loss by noise level", denoiser=denoiser(), pictures=set_)[0]
    assert ((plot[0] * 255).round().byte().numpy() == np.array(OWN, np.uint8)).all(-1).sum() > 500


def test_the_steps_end_with_the_picture_that_is_drawn(explain, call):
    model = denoiser()
    _, shown, report = explain(what="steps", words="bright", seed=4, denoiser=model)
    assert len(shown) == 3 and report.startswith("dpmpp_2m, 3 evaluations") and "  1: σ 20, " in report
    drawn = call("Generate", words="bright", seed=4, batch=1, steps=3, guidance=1.0, denoiser=model)[0]
    assert torch.allclose(shown[-1], drawn[0], rtol=0, atol=2e-3)  # frames are kept in half precision


def test_a_word_that_does_nothing_is_told_so(explain):
    model = denoiser()
    with torch.no_grad():
        model.net.words.weight[2] = 1e-9  # dark: still a word, but of no meaning
        model.net.words.weight[1] *= 3
    _, shown, report = explain(what="words", words="a bright dark purple hat", denoiser=model)
    told = {name: float(value) for name, value in re.findall(r"without (\w+): (\S+) ±", report)}
    assert list(told) == ["bright", "dark", "any"] and told["dark"] < told["bright"]
    assert "not known, and left out: purple, hat" in report and len(shown) == 4


def test_the_nearest_pictures_are_those_of_a_generator_that_copies(explain):
    set_, model = pictures(), generator()
    copies = set_.x0([7, 3, 21, 40])
    model.net.draw = lambda noise, emb: copies[: len(noise)]
    _, shown, report = explain(what="nearest pictures", count=4, generator=model, pictures=set_)
    assert re.findall(r"^  (\d): (\S+) from (square \d+)$", report, re.M) == [
        ("1", "0.000", "square 7"),
        ("2", "0.000", "square 3"),
        ("3", "0.000", "square 21"),
        ("4", "0.000", "square 40"),
    ]
    assert "drawn ones: 0.000 in the median, 100% below" in report and torch.equal(shown[:4], shown[4:])


def test_a_walk_between_seeds_begins_and_ends_with_their_pictures(explain):
    model = generator()
    _, shown, report = explain(what="walk between seeds", seed=5, count=6, generator=model)
    ends = [model.pictures(model.draw(Noise(seed, [0], model.noise_shape)(0)))[0][0] for seed in (5, 6)]
    assert len(shown) == 6 and torch.allclose(shown[0], ends[0], atol=1e-6)
    assert torch.allclose(shown[-1], ends[1], atol=1e-6) and "seed 6: 0." in report


def test_a_walk_between_words_goes_through_every_line(explain):
    model = generator()
    _, shown, _ = explain(what="walk between words", words="bright\n\ndark\nbright dark", count=7, generator=model)
    noise = Noise(0, [0], model.noise_shape)(0)
    each = [model.pictures(model.draw(noise, model.prompt(text)))[0][0] for text in ("bright", "dark", "bright dark")]
    assert len(shown) == 7
    for place, expected in zip((0, 3, 6), each, strict=True):
        assert torch.allclose(shown[place], expected, atol=1e-6)


def test_the_axes_are_ranked_and_shown_from_end_to_end(explain):
    model = generator()
    _, shown, report = explain(what="axes", count=5, generator=model)
    effects = [float(effect) for effect in re.findall(r"axis \d+: (\S+)", report)]
    assert report.startswith("vae, 32 axes") and effects == sorted(effects, reverse=True) and len(shown) == 8 * 5
    first = shown[:5]
    assert (first[0] - first[4]).abs().max() > (first[1] - first[2]).abs().max() > 0


def test_what_cannot_be_answered_is_told(explain):
    for given, message in [
        ({"what": "steps"}, "wire a denoiser or a generator"),
        ({"what": "steps", "denoiser": denoiser(), "generator": generator()}, "one of the two"),
        ({"what": "steps", "generator": generator("gan")}, "a generator draws at once, wire a denoiser"),
        ({"what": "axes", "denoiser": denoiser()}, "wire a generator"),
        ({"what": "loss by noise level", "denoiser": denoiser()}, "pictures: wire Training Pictures"),
        ({"what": "loss by noise level", "generator": generator(), "pictures": pictures()}, "has no noise levels"),
        (
            {"what": "loss by noise level", "denoiser": denoiser(channels="rgba"), "pictures": pictures()},
            "the model's pictures are 8×8, with transparency, and those wired 8×8, opaque",
        ),
        ({"what": "nearest pictures", "generator": generator(), "pictures": pictures(channels="rgba")}, "alike"),
        ({"what": "words", "denoiser": denoiser(), "words": "purple"}, "none of them is known"),
        ({"what": "walk between words", "denoiser": denoiser(), "words": "bright"}, "two lines or more"),
        ({"what": "walk between words", "denoiser": denoiser(), "words": "bright\nblue"}, "no word of 'blue'"),
        ({"what": "walk between seeds", "denoiser": denoiser(words=()), "words": "dark"}, "no word of 'dark'"),
    ]:
        with pytest.raises(ValueError, match=message):
            explain(**given)


def test_progress_goes_to_the_end_and_stops_when_cancelled(explain, events, host):
    for what in ANSWERS:
        events.clear()
        model = {"generator": generator()} if what == "axes" else {"denoiser": denoiser()}
        given = {"what": what, "words": "bright\ndark", "count": 4, "pictures": pictures(), **model}
        explain(**given)
        shown = [data for event, data in events if event == "progress"]
        assert [data["value"] for data in shown] == list(range(shown[0]["max"] + 1)), what
    host.listener = lambda event, data: host.cancel.set() if data.get("value") == 2 else None
    with pytest.raises(Cancelled):
        explain(**given)
