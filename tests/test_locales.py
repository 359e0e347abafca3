"""The front end's words: English as the nodes declare them, Chinese for each of them, and a help page in Chinese."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import DOCS, FENCED, LINK, inputs, page_of

from varifold.models.sampling.solver import SOLVERS
from varifold.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, NODES

LOCALES = Path(__file__).parent.parent / "locales"
SUFFIX = " (Varifold)"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
CODE = re.compile(r"`([^`]+)`")
ROW = re.compile(r"^\| `(\w+)`(?: ([^|（]+?))?(（可选）)? \|", flags=re.MULTILINE)


def read(language: str, file: str) -> dict:
    return json.loads((LOCALES / language / f"{file}.json").read_text(encoding="utf-8"))


def declared(name: str) -> dict:
    node = NODE_CLASS_MAPPINGS[name]
    outputs = zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)
    return {
        "display_name": NODE_DISPLAY_NAME_MAPPINGS[name],
        "description": node.DESCRIPTION,
        "inputs": {
            socket: {"name": socket, "tooltip": options["tooltip"]} for socket, (_, options) in inputs(node).items()
        },
        "outputs": {str(index): {"name": name, "tooltip": tooltip} for index, (name, tooltip) in enumerate(outputs)},
    }


def texts(tree: dict, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from texts(value, *path, key)
        else:
            yield (*path, key), value


def chinese_page_of(name: str) -> str:
    return (DOCS / name / "zh.md").read_text(encoding="utf-8")


def rows(name: str, heading: str) -> list[tuple[str, str, bool]]:
    """Of each row of the table under a heading: the name, what it is called in Chinese, whether it is optional."""
    section = chinese_page_of(name).split(f"## {heading}\n")[1].split("\n## ")[0]
    return [(socket, called or socket, bool(optional)) for socket, called, optional in ROW.findall(section)]


EN, ZH = read("en", "nodeDefs"), read("zh", "nodeDefs")


def test_english_is_what_the_nodes_declare():
    assert {name: declared(name) for name in NODE_CLASS_MAPPINGS} == EN


def test_chinese_has_a_text_for_each_english_one():
    assert [path for path, _ in texts(ZH)] == [path for path, _ in texts(EN)]
    assert all(text.strip() for _, text in texts(ZH))


def test_every_chinese_text_but_some_names_of_sockets_is_chinese():
    assert not [path for path, text in texts(ZH) if path[-1] != "name" and not CHINESE.search(text)]
    assert not [path for path, text in texts(EN) if CHINESE.search(text)]


def test_a_name_of_a_node_ends_the_same_in_every_language():
    for names in (EN, ZH):
        assert all(node["display_name"].endswith(SUFFIX) for node in names.values())
        assert len({node["display_name"] for node in names.values()}) == len(names)


def test_a_chinese_text_says_the_same_numbers():
    english = dict(texts(EN))
    for path, text in texts(ZH):
        assert Counter(NUMBER.findall(text)) == Counter(NUMBER.findall(english[path])), path


def test_the_solvers_are_told_apart_in_chinese_as_in_english():
    for name in ("VarifoldSampler", "VarifoldSolver"):
        lines = ZH[name]["inputs"]["solver"]["tooltip"].splitlines()
        assert [line.split("：")[0] for line in lines] == list(SOLVERS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_has_signs_that_the_front_end_reads_as_syntax(language):
    assert not [path for path, text in texts(read(language, "nodeDefs")) if set(text) & set("{}|@")]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_category_has_a_name(language):
    parts = {part for node in NODE_CLASS_MAPPINGS.values() for part in node.CATEGORY.split("/")}
    assert set(read(language, "main")["nodeCategories"]) == parts


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_chinese_page_names_every_input_and_output_as_the_node_shows_it(name):
    node, shown = NODE_CLASS_MAPPINGS[name], ZH[name]
    optional = node.INPUT_TYPES().get("optional", {})
    assert chinese_page_of(name).startswith(f"# {shown['display_name']}\n")
    assert rows(name, "输入") == [
        (socket, shown["inputs"][socket]["name"], socket in optional) for socket in inputs(node)
    ]
    assert rows(name, "输出") == [
        (socket, shown["outputs"][str(index)]["name"], False) for index, socket in enumerate(node.RETURN_NAMES)
    ]


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_chinese_page_has_the_graph_names_and_numbers_of_the_english_one(name):
    chinese, english = chinese_page_of(name), page_of(name)
    assert FENCED.findall(chinese) == FENCED.findall(english)
    for facts in (CODE, NUMBER):
        assert Counter(facts.findall(FENCED.sub("", chinese))) == Counter(facts.findall(FENCED.sub("", english)))


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_the_english_names_in_a_graph_are_given_in_chinese(name):
    page = chinese_page_of(name)
    titles = {title for source, _, target, _ in LINK.findall(FENCED.findall(page)[0]) for title in (source, target)}
    for title in titles & set(NODES):
        assert f"{title} 即{ZH[NODES[title].__name__]['display_name'].removesuffix(SUFFIX)}" in page


def test_there_is_no_chinese_page_without_a_node():
    assert {page.parent.name for page in DOCS.glob("*/*.md")} == set(NODE_CLASS_MAPPINGS)
