"""Validation: ComfyUI's checks in ComfyUI's shapes."""

from __future__ import annotations

import math

import pytest
from studio_graphs import api

from varifold.studio.errors import InvalidPrompt
from varifold.studio.validate import fits, validate

GOOD = {"model": ["2", 0], "seed": 1, "steps": 2, "name": "euler", "forced": ["3", 0], "cfg": 1.0}
BAD_LINK, NO_INT = "Bad linked input, ", "Failed to convert an input value to a INT value"
SHORT, STRANGE = "must be a length-2 list of [node_id, slot_index]", "it comes from a node that is not in the workflow"
TYPES = "model, received_type(INT) mismatch input_type(MODEL)"
MISMATCH = "Return type mismatch between linked nodes"


def sampler(nodes, **changes):
    inputs = {k: v for k, v in {**GOOD, **changes}.items() if v is not ...}
    prompt = api(
        n1=("Sampler", inputs), n2=("Model", {}), n3=("Number", {"value": 1}), n4=("Show", {"anything": ["1", 0]})
    )
    return prompt, validate(prompt, nodes)


def test_a_good_prompt_is_cast_in_place(nodes):
    prompt, answer = sampler(nodes, seed="5", cfg=3, steps=2.9)
    assert answer == (True, None, ["4"], {})
    inputs = prompt["1"]["inputs"]
    assert (inputs["seed"], inputs["cfg"], inputs["steps"]) == (5, 3.0, 2)
    assert isinstance(inputs["cfg"], float)


@pytest.mark.parametrize(
    ("changes", "type_", "message", "details"),
    [
        ({"seed": ...}, "required_input_missing", "Required input is missing", "seed"),
        ({"model": ["2"]}, "bad_linked_input", BAD_LINK + SHORT, "model"),
        ({"model": ["99", 0]}, "bad_linked_input", BAD_LINK + STRANGE, "model, ['99', 0]"),
        ({"model": ["2", 7]}, "bad_linked_input", BAD_LINK + "node 2 has 1 outputs", "model, ['2', 7]"),
        ({"model": ["2", -1]}, "bad_linked_input", BAD_LINK + "node 2 has 1 outputs", "model, ['2', -1]"),
        ({"model": ["3", 0]}, "return_type_mismatch", MISMATCH, TYPES),
        ({"seed": "many"}, "invalid_input_type", NO_INT, None),
        ({"steps": math.inf}, "invalid_input_type", NO_INT, "steps, inf, cannot convert float infinity to integer"),
        ({"steps": None}, "invalid_input_type", NO_INT, None),
        ({"steps": 0}, "value_smaller_than_min", "Value 0 smaller than min of 1", "steps"),
        ({"seed": 2**64}, "value_bigger_than_max", f"Value {2**64} bigger than max of {2**64 - 1}", "seed"),
        ({"name": "dpm"}, "value_not_in_list", "Value not in list", "name: 'dpm' not in ['euler', 'heun']"),
        ({"name": {"a": 1}}, "value_not_in_list", "Value not in list", None),
    ],
)
def test_error_shapes(nodes, changes, type_, message, details):
    _, (ok, error, outputs, node_errors) = sampler(nodes, **changes)
    (reason,) = node_errors["1"]["errors"]
    assert (ok, outputs) == (False, [])
    assert node_errors == {"1": {"errors": [reason], "dependent_outputs": ["4"], "class_type": "Sampler"}}
    assert (reason["type"], reason["message"]) == (type_, message)
    assert details is None or reason["details"] == details
    assert reason["extra_info"]["input_name"] == next(iter(changes))
    assert error == {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": f"{message}: {reason['details']}",
        "extra_info": {},
    }


def test_nan_is_outside_of_every_range(nodes):
    nodes["Number"] = type(
        "N", (nodes["Number"],), {"INPUT_TYPES": lambda: {"required": {"value": ("FLOAT", {"min": 0})}}}
    )
    prompt = api(n1=("Number", {"value": math.nan}), n2=("Show", {"anything": ["1", 0]}))
    assert validate(prompt, nodes)[3]["1"]["errors"][0]["type"] == "value_smaller_than_min"


def test_unknown_types_are_all_named_with_their_packs(nodes):
    prompt = api(n1=("Show", {"anything": ["2", 0]}), n2=("Foreign", {}), n3=("CLIPTextEncode", {}), n4=("X", {}))
    prompt["2"]["_meta"] = {"title": "my node"}
    ok, error, outputs, node_errors = validate(prompt, nodes, {"2": "their-pack", "3": "comfy-core"})
    assert (ok, outputs, node_errors) == (False, [], {})
    assert error["type"] == "missing_node_type"
    assert error["message"] == "Node 'my node' not found. The custom node may not be installed."
    assert error["extra_info"] == {
        "node_id": "2",
        "class_type": "Foreign",
        "node_title": "my node",
        "pack": "their-pack",
    }
    lines = error["details"].splitlines()
    assert lines[0].startswith("Node ID '#2'") and "'their-pack'" in lines[0]
    assert "ComfyUI itself" in lines[1] and "does not say" in lines[2]


def test_no_outputs(nodes):
    assert validate(api(n1=("Number", {"value": 1})), nodes)[1]["type"] == "prompt_no_outputs"
    assert validate({}, nodes)[1]["type"] == "prompt_no_outputs"


def test_cycles(nodes):
    prompt = api(
        n1=("Add", {"a": ["2", 0], "b": 1}), n2=("Add", {"a": ["1", 0], "b": 1}), n3=("Show", {"anything": ["1", 0]})
    )
    _, _, _, node_errors = validate(prompt, nodes)
    for node_id in ("1", "2"):
        (reason,) = node_errors[node_id]["errors"]
        assert reason["type"] == "dependency_cycle"
        assert reason["details"] == "1 (Add) -> 2 (Add) -> 1 (Add)"
        assert reason["extra_info"] == {"node_id": node_id, "cycle_nodes": ["1", "2"]}


def test_good_outputs_run_when_others_are_bad(nodes):
    prompt = api(n1=("Show", {}), n2=("Show", {"anything": ["3", 0]}), n3=("Number", {"value": 1}))
    ok, error, outputs, node_errors = validate(prompt, nodes)
    assert (ok, error, outputs, list(node_errors)) == (True, None, ["2"], ["1"])
    assert node_errors["1"]["dependent_outputs"] == ["1"]


def custom(nodes, function, options=None):
    inputs = {"required": {"value": ("INT", {"max": 5, **(options or {})}), "link": ("INT", {})}}
    nodes["Custom"] = type(
        "Custom",
        (nodes["Show"],),
        {"INPUT_TYPES": classmethod(lambda cls: inputs), "VALIDATE_INPUTS": classmethod(function)},
    )
    return validate(api(n1=("Custom", {"value": 9, "link": ["2", 0]}), n2=("Model", {})), nodes)


def test_inputs_named_by_validate_inputs_skip_the_built_in_checks(nodes):
    def only_value(cls, value):
        return f"{value} is odd"

    errors = custom(nodes, only_value)[3]["1"]["errors"]
    assert [e["type"] for e in errors] == ["return_type_mismatch"]

    def types_too(cls, value, input_types):
        assert input_types == {"link": "MODEL"}
        return True

    assert custom(nodes, types_too)[0]

    def with_kwargs(cls, input_types, **kwargs):
        assert kwargs == {"value": 9, "link": None}
        return "no"

    errors = custom(nodes, with_kwargs)[3]["1"]["errors"]
    assert [(e["type"], e["details"]) for e in errors] == [
        ("custom_validation_failed", f"{name} - no") for name in ("value", "link", "input_types")
    ]

    def raises(cls, value, input_types):
        raise KeyError("oops")

    (error,) = custom(nodes, raises)[3]["1"]["errors"]
    assert error["type"] == "exception_during_validation" and error["extra_info"]["exception_type"] == "KeyError"


def test_types_fit():
    assert fits("INT", "INT") and fits("INT", "*") and fits("*", "INT") and fits("INT,FLOAT", "FLOAT, STRING")
    assert fits(["a"], "COMBO") and fits(["a"], ["a"])
    assert not fits("INT", "FLOAT") and not fits(["a"], ["b"]) and not fits(["a"], "INT")


def test_a_chain_deeper_than_the_call_stack(nodes):
    prompt = api(n0=("Show", {"anything": ["1", 0]}))
    prompt |= {str(n): {"class_type": "Add", "inputs": {"a": [str(n + 1), 0], "b": 1}} for n in range(1, 3000)}
    prompt["3000"] = {"class_type": "Number", "inputs": {"value": 1}}
    assert validate(prompt, nodes)[2] == ["0"]


def test_errors_read_well(nodes):
    prompt, (_, error, _, node_errors) = sampler(nodes, steps=0)
    prompt["1"]["_meta"] = {"title": "the sampler"}
    text = str(InvalidPrompt(prompt, error, node_errors))
    assert text == "node 'the sampler' (Sampler, id 1): Value 0 smaller than min of 1: steps"
