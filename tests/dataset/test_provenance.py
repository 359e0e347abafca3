"""Keys, hashes and records of samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_sets import GRAPH

from varifold.dataset.errors import DatasetError
from varifold.dataset.provenance import Key, graph_hash, json_text, provenance, versions


def test_a_key_makes_the_same_id_everywhere():
    assert Key("ab", 7, 3).id == "d8e709feee5701c8"
    ids = {Key(graph, seed, index).id for graph in ("a", "b") for seed in range(20) for index in range(20)}
    assert len(ids) == 800


def test_the_hash_of_a_graph_does_not_depend_on_the_order_of_its_fields():
    turned = {"1": dict(reversed(GRAPH["1"].items()))}
    assert graph_hash(turned) == graph_hash(GRAPH) != graph_hash({"1": {**GRAPH["1"], "more": 1}})
    assert json.loads(json_text(GRAPH, "it")) == GRAPH


@pytest.mark.parametrize("graph", [{"a": float("nan")}, {"a": object()}, {("a",): 1}])
def test_a_graph_that_is_none_is_refused(graph):
    with pytest.raises(DatasetError, match="this graph is no JSON data"):
        graph_hash(graph)


def test_a_record_leaves_out_what_is_unknown():
    key = Key("ab", 7, 0)
    assert provenance(key) == {"graph": "ab", "seed": 7, "index": 0, "versions": versions()}
    told = provenance(key, {"a.safetensors": "c0"}, {"b": "d0"}, ["hero"], "CC0-1.0", "me", background="e0")
    assert told == {
        **provenance(key),
        "checkpoints": {"a.safetensors": "c0"},
        "loras": {"b": "d0"},
        "conditioning": ["hero"],
        "licence": "CC0-1.0",
        "author": "me",
        "background": "e0",
    }


def test_versions_are_those_that_are_installed():
    import numpy

    assert versions()["numpy"] == numpy.__version__ and "python" in versions()
    provenance(Key("a", 0, 0))["versions"]["numpy"] = "changed"
    assert versions()["numpy"] == numpy.__version__


def test_the_version_of_the_pack_is_that_of_its_project_file():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'\nversion = "{versions()["varifold"]}"\n' in project
