"""Each node's help page tells of its inputs and outputs as they are."""

import re
from pathlib import Path

import pytest

from varifold.models.sampling.solver import SOLVERS
from varifold.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from varifold.nodes.schedule import CURVES

DOCS = Path(__file__).parent.parent / "web" / "docs"


def table(page: str, heading: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", section, flags=re.MULTILINE)


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_page_names_every_input_and_output_in_order(name):
    node, page = NODE_CLASS_MAPPINGS[name], (DOCS / f"{name}.md").read_text(encoding="utf-8")
    declared = node.INPUT_TYPES()
    assert page.startswith(f"# {NODE_DISPLAY_NAME_MAPPINGS[name]}\n")
    assert table(page, "Inputs") == [*declared["required"], *declared.get("optional", {})]
    assert table(page, "Outputs") == list(node.RETURN_NAMES)


def test_there_is_no_page_without_a_node():
    assert {page.stem for page in DOCS.glob("*.md")} == set(NODE_CLASS_MAPPINGS)


def test_every_solver_is_explained():
    page = (DOCS / "VarifoldSolver.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d|–) \| (\d) \| (yes|no) \|", page, flags=re.MULTILINE)
    assert rows == [
        (name, str(solver.order or "–"), str(solver.evaluations), "yes" if solver.stochastic else "no")
        for name, solver in SOLVERS.items()
    ]


def test_every_curve_is_explained():
    page = (DOCS / "VarifoldSchedule.md").read_text(encoding="utf-8")
    assert table(page, "Good to know") == list(CURVES)
