"""docs/solvers.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from bench.mixture import EVALUATIONS
from bench.solvers import ERRORS, INTRODUCTION, NOTES, static_table

from varifold.models.sampling.solver import RECOMMENDED, SOLVERS

PAGE = (Path(__file__).parents[1] / "docs" / "solvers.md").read_text(encoding="utf-8")


def test_the_page_holds_the_table_of_the_code():
    assert PAGE.startswith(f"{INTRODUCTION}\n{static_table()}\n{ERRORS}\n")
    assert PAGE.endswith(NOTES)


def test_every_solver_without_noise_has_its_errors_in_both_spaces():
    plain = [name for name, entry in SOLVERS.items() if not (entry.stochastic or entry.asks_for_negatives)]
    columns = len(EVALUATIONS)
    measured = re.findall(
        rf"^\| `(\w+)` \|(?: (?:–|\d+\.\d{{4}}/\d+\.\d{{4}}) \|){{{columns}}}$", PAGE, flags=re.MULTILINE
    )
    assert measured == plain * 2


def test_what_the_notes_name_is_there():
    knobs = {knob for entry in SOLVERS.values() for knob in entry.knobs}
    variants = {variant for entry in SOLVERS.values() for variant in entry.variants}
    said = set(re.findall(r"`([a-z_0-9]+)`", NOTES)) - {"cfg_pp", "_gpu", "skip_prk_steps"}
    assert said <= {*SOLVERS, *knobs, *variants}


def test_eight_are_recommended_and_come_first():
    assert list(SOLVERS)[:8] == list(RECOMMENDED) and next(iter(SOLVERS)) == "dpmpp_2m"


def test_every_solver_names_its_paper():
    papers = {entry.paper for entry in SOLVERS.values()}
    assert all(re.fullmatch(r".+ (19|20)\d\d, (arXiv:\d{4}\.\d{5}|doi:10\.\S+)|none", paper) for paper in papers)
    assert [name for name, entry in SOLVERS.items() if entry.paper == "none"] == ["heunpp2"]
