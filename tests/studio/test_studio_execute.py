"""Execution: list mapping, lazy inputs, caching, cancelling, errors."""

from __future__ import annotations

import math

import pytest
import torch
from studio_graphs import api

from varifold.studio.errors import Cancelled, NodeError


def run(executor, prompt, *outputs, **more):
    return executor.run(prompt, list(outputs), **more)


def test_lists_are_mapped_and_the_last_element_repeats(executor, calls):
    prompt = api(
        n1=("Listing", {"count": 3}),
        n2=("Listing", {"count": 2}),
        n3=("Add", {"a": ["1", 0], "b": ["2", 0]}),
        n4=("Show", {"anything": ["3", 0]}),
        n5=("Show", {"anything": ["1", 1]}),
    )
    assert run(executor, prompt, "4", "5") == {"4": {"text": ["0", "2", "3"]}, "5": {"text": ["once"]}}
    assert [call for call in calls if call[0] == "Add"] == [("Add", 0, 0), ("Add", 1, 1), ("Add", 2, 1)]


def test_input_is_list(executor, calls):
    prompt = api(
        n1=("Listing", {"count": 4}),
        n2=("Total", {"values": ["1", 0], "scale": 10}),
        n3=("Show", {"anything": ["2", 0]}),
    )
    assert run(executor, prompt, "3") == {"3": {"text": ["60"]}}
    assert ("Total", (0, 1, 2, 3), (10,)) in calls


def test_an_empty_list_is_an_error_with_a_reason(executor):
    prompt = api(n1=("Listing", {"count": 0}), n2=("Show", {"anything": ["1", 0]}))
    with pytest.raises(NodeError, match="'anything' is an empty list"):
        run(executor, prompt, "2")


@pytest.mark.parametrize(("first", "value", "never"), [(True, 1, 2), (False, 2, 1)])
def test_lazy_inputs_run_only_what_is_asked_for(executor, calls, first, value, never):
    prompt = api(
        n1=("Number", {"value": 1}),
        n2=("Number", {"value": 2}),
        n3=("Switch", {"first": first, "a": ["1", 0], "b": ["2", 0]}),
        n4=("Show", {"anything": ["3", 0]}),
    )
    assert run(executor, prompt, "4") == {"4": {"text": [str(value)]}}
    assert ("Number", never) not in calls


def test_a_second_run_executes_only_what_changed(executor, calls, events):
    prompt = api(
        n1=("Number", {"value": 1}),
        n2=("Number", {"value": 2}),
        n3=("Add", {"a": ["1", 0], "b": ["2", 0]}),
        n4=("Show", {"anything": ["3", 0]}),
    )
    shown = run(executor, prompt, "4")
    assert len(calls) == 4
    calls.clear(), events.clear()
    assert run(executor, prompt, "4") == shown
    assert calls == []
    assert ("execution_cached", {"nodes": ["1", "2", "3", "4"]}) in events
    assert [data["output"] for event, data in events if event == "executed"] == [shown["4"]]
    prompt["2"]["inputs"]["value"] = 5
    assert run(executor, prompt, "4") == {"4": {"text": ["6"]}}
    assert calls == [("Number", 5), ("Add", 1, 5), ("Show", 6)]


def test_equal_nodes_share_a_result_within_a_run(executor, calls):
    prompt = api(
        n1=("Number", {"value": 1}),
        n2=("Number", {"value": 1}),
        n3=("Add", {"a": ["1", 0], "b": ["2", 0]}),
        n4=("Show", {"anything": ["3", 0]}),
    )
    run(executor, prompt, "4")
    assert calls.count(("Number", 1)) == 1


@pytest.mark.parametrize(("answers", "runs"), [([math.nan], 2), (["a", "b"], 2), (["a", "a"], 1), ([False], 1)])
def test_is_changed(executor, calls, answers, runs):
    remaining = iter(answers * 2)
    changed = classmethod(lambda cls, value: next(remaining))
    executor.nodes["Number"] = type("Changing", (executor.nodes["Number"],), {"IS_CHANGED": changed})
    prompt = api(n1=("Number", {"value": 1}), n2=("Show", {"anything": ["1", 0]}))
    run(executor, prompt, "2")
    run(executor, prompt, "2")
    assert calls.count(("Number", 1)) == runs


def test_hidden_inputs(executor, calls):
    prompt = api(n1=("Named", {}))
    assert run(executor, prompt, "1") == {"1": {"text": ["1"]}}
    assert calls == [("Named", prompt, "1")]


def test_events_come_in_comfyuis_order(executor, events):
    run(executor, api(n1=("Number", {"value": 1}), n2=("Show", {"anything": ["1", 0]})), "2")
    assert [(event, data.get("node")) for event, data in events] == [
        ("execution_start", None),
        ("execution_cached", None),
        ("executing", "1"),
        ("executing", "2"),
        ("executed", "2"),
        ("execution_success", None),
    ]


def test_progress_belongs_to_the_running_node(executor, events):
    from varifold.nodes import host

    def work(self, value):
        host.current().progress(10).update(4)
        return (value,)

    nodes = executor.nodes
    nodes["Number"] = type("Busy", (nodes["Number"],), {"run": work})
    run(executor, api(n1=("Number", {"value": 1}), n2=("Show", {"anything": ["1", 0]})), "2")
    assert [data for event, data in events if event == "progress"] == [
        {"value": 0, "max": 10, "node": "1"},
        {"value": 4, "max": 10, "node": "1"},
    ]


def test_node_errors_say_where_and_what(executor, events):
    prompt = api(n1=("Broken", {"value": 4}), n2=("Show", {"anything": ["1", 0]}))
    prompt["1"]["_meta"] = {"title": "the cart"}
    with pytest.raises(NodeError, match=r"node 'the cart' \(Broken, id 1\): the wheel fell off") as caught:
        run(executor, prompt, "2")
    error = caught.value
    assert (error.node_id, error.class_type, error.title) == ("1", "Broken", "the cart")
    assert (error.exception_type, error.details["current_inputs"]) == ("RuntimeError", {"value": [4]})
    assert "wheel fell off" in "".join(error.details["traceback"])
    assert events[-1][0] == "execution_error" and events[-1][1]["node_type"] == "Broken"


def test_cancel_passes_through_except_exception(executor, events, calls):
    def stubborn(self, value):
        executor.host.cancel.set()
        try:
            executor.host.check_cancelled()
        except Exception:
            pytest.fail("a node swallowed the cancellation")

    executor.nodes["Number"] = type("Stubborn", (executor.nodes["Number"],), {"run": stubborn})
    with pytest.raises(Cancelled):
        run(executor, api(n1=("Number", {"value": 1}), n2=("Show", {"anything": ["1", 0]})), "2")
    assert events[-1] == ("execution_interrupted", {"node_id": "1", "executed": []})
    assert calls == []


def test_cancel_between_the_elements_of_a_list(executor, calls):
    class Once:
        def __call__(self, event, data):
            if event == "executing" and data["node"] == "2":
                executor.host.cancel.set()

    executor.host.listener = Once()
    with pytest.raises(Cancelled):
        run(executor, api(n1=("Listing", {"count": 1000}), n2=("Show", {"anything": ["1", 0]})), "2")
    assert calls == []


def test_nodes_run_under_inference_mode(executor):
    seen = []

    def look(self, anything):
        seen.append(torch.is_inference_mode_enabled())
        return {}

    executor.nodes["Show"] = type("Look", (executor.nodes["Show"],), {"run": look})
    run(executor, api(n1=("Number", {"value": 1}), n2=("Show", {"anything": ["1", 0]})), "2")
    assert seen == [True]


def test_a_chain_deeper_than_the_call_stack(executor):
    prompt = api(n0=("Show", {"anything": ["1", 0]}))
    prompt |= {str(n): {"class_type": "Add", "inputs": {"a": [str(n + 1), 0], "b": 1}} for n in range(1, 1500)}
    prompt["1500"] = {"class_type": "Number", "inputs": {"value": 1}}
    assert run(executor, prompt, "0") == {"0": {"text": ["1500"]}}


def test_wrong_returns_and_expansion_are_explained(executor):
    for returned, reason in ((5, "wants a tuple"), ({"expand": {}, "result": ()}, "expands into other nodes")):
        executor.nodes["Number"] = type("Odd", (executor.nodes["Number"],), {"run": lambda self, value, r=returned: r})
        with pytest.raises(NodeError, match=reason):
            run(executor, api(n1=("Number", {"value": 1}), n2=("Show", {"anything": ["1", 0]})), "2")
