"""Each node's help page tells of its inputs, outputs and choices as they are."""

import re
from pathlib import Path

import pytest

from varifold.models.sampling.solver import SOLVERS
from varifold.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, NODES
from varifold.nodes.denoiser import EMBEDDED
from varifold.nodes.schedule import CURVES

DOCS = Path(__file__).parent.parent / "web" / "docs"
FENCED = re.compile(r"^```\n(.*?)^```\n", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\S.*?): (\w+) +→ (\S.*?): (\w+)")


def page_of(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", section, flags=re.MULTILINE)


def inputs(node: type) -> dict[str, tuple]:
    declared = node.INPUT_TYPES()
    return {**declared["required"], **declared.get("optional", {})}


def choices(name: str) -> set[str]:
    """What its lists offer; of files, only the one that is there on every machine."""
    offered = {
        choice
        for socket, (kind, *_) in inputs(NODE_CLASS_MAPPINGS[name]).items()
        if isinstance(kind, list) and (name, socket) != ("VarifoldLoadDenoiser", "file")
        for choice in kind
    }
    return offered | {EMBEDDED} if name == "VarifoldLoadDenoiser" else offered


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_page_names_every_input_and_output_in_order(name):
    node, page = NODE_CLASS_MAPPINGS[name], page_of(name)
    assert page.startswith(f"# {NODE_DISPLAY_NAME_MAPPINGS[name]}\n")
    assert table(page, "Inputs") == list(inputs(node))
    assert table(page, "Outputs") == list(node.RETURN_NAMES)
    optional = re.findall(r"^\| `(\w+)` \(optional\)", page, flags=re.MULTILINE)
    assert optional == list(node.INPUT_TYPES().get("optional", {}))


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_backticks_hold_names_of_this_node_and_every_choice(name):
    node = NODE_CLASS_MAPPINGS[name]
    said = set(re.findall(r"`([^`]+)`", FENCED.sub("", page_of(name))))
    assert said == {*inputs(node), *node.RETURN_NAMES, *choices(name)}


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_the_graph_can_be_wired_as_shown(name):
    (graph,) = FENCED.findall(page_of(name))
    links = [LINK.fullmatch(line).groups() for line in graph.splitlines()]
    wired = {(target, socket) for _, _, target, socket in links}
    nodes = {title: NODES[title] for link in links for title in (link[0], link[2]) if title in NODES}
    assert NODE_CLASS_MAPPINGS[name] in nodes.values()
    for source, output, target, socket in links:
        given = (
            dict(zip(NODES[source].RETURN_NAMES, NODES[source].RETURN_TYPES, strict=True)) if source in NODES else {}
        )
        taken = inputs(NODES[target]) if target in NODES else {}
        assert source not in NODES or output in given
        assert target not in NODES or socket in taken
        assert not (given and taken) or given[output] == taken[socket][0]
    for title, node in nodes.items():
        sockets = {socket for socket, (kind, *_) in node.INPUT_TYPES()["required"].items() if is_socket(kind)}
        assert {(title, socket) for socket in sockets} <= wired


def is_socket(kind: str | list) -> bool:
    """Whether an input of this type must be wired; the other types have a widget on the node."""
    return isinstance(kind, str) and kind not in {"INT", "FLOAT", "STRING", "BOOLEAN"}


def test_there_is_no_page_without_a_node():
    assert {page.stem for page in DOCS.glob("*.md")} == set(NODE_CLASS_MAPPINGS)


def test_every_solver_is_explained():
    row = re.compile(r"^\| `(\w+)` \| (\d|–) \| (\d) \| (yes|no) \| (.+?) \|", flags=re.MULTILINE)
    assert row.findall(page_of("VarifoldSolver")) == [
        (
            name,
            str(solver.order or "–"),
            str(solver.evaluations),
            "yes" if solver.stochastic else "no",
            ", ".join(f"`{knob}`" for knob in solver.knobs) or "–",
        )
        for name, solver in SOLVERS.items()
    ]


def test_every_curve_is_explained():
    assert table(page_of("VarifoldSchedule"), "Good to know") == list(CURVES)
