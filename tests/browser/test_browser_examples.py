"""Every example, opened."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from comfyui.examples import EXAMPLES, files_of_models, prompt_of, skip_where_nodes_are_missing

from browser.editor import contents

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shared_editor(open_editor, host, url, request):
    """One page for all examples of a host: each opens in a tab of its own."""
    with ExitStack() as stack:
        if host == "comfyui":
            stack.enter_context(files_of_models(request.getfixturevalue("comfy_server")))
        editor = open_editor(url)
        yield editor
        editor.page.context.close()


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request, host):
    """Each example that the host has the nodes of."""
    if host != "comfyui":
        skip_where_nodes_are_missing(request.param)
    return request.param


def test_an_example_opens_as_it_was_saved_and_without_a_word(shared_editor, example, shot):
    shared_editor.load(example)
    if shared_editor.ask("t.node('VarifoldSchedule') !== undefined"):
        shared_editor.curve_follows()
    shot(shared_editor.page)
    assert shared_editor.notices() == [] and shared_editor.complaints == []
    opened, saved = contents(shared_editor.graph()), contents(json.loads(example.read_text()))
    assert opened["links"] == saved["links"] and opened["nodes"].keys() == saved["nodes"].keys()
    for node, (kind, values) in saved["nodes"].items():
        assert opened["nodes"][node][0] == kind
        assert opened["nodes"][node][1][: len(values)] == values, f"{kind}: younger widgets only come after the saved"
    assert shared_editor.ask("app.graph.nodes.filter((node) => node.has_errors).map((node) => node.type)") == []


def test_the_front_end_queues_what_varifold_run_runs(shared_editor, example):
    """Values are saved by position, and each side must put every one of them into the same widget."""
    shared_editor.load(example)
    queued = shared_editor.ask("app.graphToPrompt().then(({ output }) => output)")
    ours = prompt_of(json.loads(example.read_text()), shared_editor.ask("app.api.getNodeDefs()"))
    assert asked(queued) == asked(ours)


def asked(prompt: dict) -> dict:
    return {node_id: (node["class_type"], node["inputs"]) for node_id, node in prompt.items()}
