"""ComfyUI's validation of a prompt: the same checks, the same error types and shapes."""

from __future__ import annotations

import inspect
import traceback
from typing import Any

from .calls import constants, map_over_lists
from .declared import Declared, inputs_of, is_output
from .errors import name_node, title_of
from .prompt import ancestors, constant, is_link

CASTS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def validate(
    prompt: dict[str, dict],
    nodes: dict[str, type],
    packs: dict[str, str] | None = None,
    targets: list[str] | None = None,
) -> tuple[bool, dict | None, list[str], dict[str, dict]]:
    """Check a prompt and cast its constants in place.

    Returns (ok, error, outputs that can run, node_errors) as ComfyUI does: ok means that at least one output
    can run. `packs`: node id -> the pack that the workflow says it comes from. `targets`: the only outputs
    that are wanted, if not all.
    """
    missing = [node_id for node_id, node in prompt.items() if node["class_type"] not in nodes]
    if missing:
        return False, _missing(missing, prompt, packs or {}), [], {}
    outputs = [node_id for node_id, node in prompt.items() if is_output(nodes[node["class_type"]])]
    if targets is not None:
        outputs = [node_id for node_id in outputs if node_id in targets]
    if not outputs:
        return False, _error("prompt_no_outputs", "Prompt has no outputs", ""), [], {}

    order, cycles = ancestors(outputs, prompt, nodes)
    reasons = {node_id: _check(node_id, prompt, nodes) for node_id in order}
    for cycle in cycles:
        path = " -> ".join(f"{node_id} ({prompt[node_id]['class_type']})" for node_id in cycle)
        for node_id in cycle[:-1]:
            extra = {"node_id": node_id, "cycle_nodes": cycle[:-1]}
            reasons[node_id].append(_error("dependency_cycle", "Dependency cycle detected", path, **extra))

    good, node_errors = [], {}
    for output in outputs:
        bad = [node_id for node_id in ancestors([output], prompt, nodes)[0] if reasons[node_id]]
        if not bad:
            good.append(output)
        for node_id in bad:
            entry = {
                "errors": reasons[node_id],
                "dependent_outputs": [],
                "class_type": prompt[node_id]["class_type"],
            }
            node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
    if good:
        return True, None, good, node_errors
    summary = [f"{r['message']}: {r['details']}" for entry in node_errors.values() for r in entry["errors"]]
    error = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(summary))
    return False, error, [], node_errors


def fits(received: Any, wanted: Any) -> bool:
    """Whether an output of type `received` may feed an input of type `wanted`."""
    if received == wanted or "*" in (received, wanted):
        return True
    if isinstance(received, list) and wanted == "COMBO":
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    given, taken = ({kind.strip() for kind in kinds.split(",")} for kinds in (received, wanted))
    return bool(given & taken) or "*" in given | taken


def _error(type_: str, message: str, details: str, **extra_info: Any) -> dict:
    return {"type": type_, "message": message, "details": details, "extra_info": extra_info}


def _missing(missing: list[str], prompt: dict[str, dict], packs: dict[str, str]) -> dict:
    first = missing[0]
    class_type, title = prompt[first]["class_type"], title_of(prompt[first])
    return _error(
        "missing_node_type",
        f"Node '{title or class_type}' not found. The custom node may not be installed.",
        "\n".join(_where(node_id, prompt[node_id], packs.get(node_id)) for node_id in missing),
        node_id=first,
        class_type=class_type,
        node_title=title or class_type,
        pack=packs.get(first),
    )


def _where(node_id: str, node: dict, pack: str | None) -> str:
    name = f"Node ID '#{node_id}': {name_node(node_id, node['class_type'], title_of(node))}"
    if pack == "comfy-core":
        return f"{name} is part of ComfyUI itself; run this workflow there"
    if pack:
        return f"{name} belongs to the pack '{pack}'; run this workflow in a ComfyUI that has it"
    return f"{name}; the workflow does not say which pack it belongs to"


def _check(node_id: str, prompt: dict[str, dict], nodes: dict[str, type]) -> list[dict]:
    """What is wrong with one node itself."""
    node = prompt[node_id]
    cls = nodes[node["class_type"]]
    custom = getattr(cls, "VALIDATE_INPUTS", None)
    spec = inspect.getfullargspec(custom) if custom else None
    named = set(spec.args) if spec else set()
    takes_all = bool(spec and spec.varkw)
    errors, received = [], {}
    for declared in inputs_of(cls).values():
        value = node["inputs"].get(declared.name, _ABSENT)
        if value is _ABSENT:
            if declared.required:
                message = "Required input is missing"
                errors.append(_error("required_input_missing", message, declared.name, input_name=declared.name))
        elif isinstance(value, list):
            error = _check_link(declared, value, prompt, nodes, received, "input_types" in named)
            errors += [error] if error else []
        else:
            checked_by_node = takes_all or declared.name in named
            error = _check_constant(declared, node["inputs"], checked_by_node)
            errors += [error] if error else []
    if custom and (named or takes_all) and not errors:
        errors += _check_custom(node_id, node, cls, named, takes_all, received)
    return errors


_ABSENT = object()


def _input_error(type_: str, message: str, details: str, declared: Declared, **extra: Any) -> dict:
    config = (declared.type, declared.options)
    return _error(type_, message, details, input_name=declared.name, input_config=config, **extra)


def _check_link(
    declared: Declared, value: list, prompt: dict, nodes: dict, received: dict, types_checked_by_node: bool
) -> dict | None:
    name = declared.name
    if not is_link(value):
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return _input_error("bad_linked_input", message, name, declared, received_value=value)
    origin, slot = value
    if origin not in prompt:
        message = "Bad linked input, it comes from a node that is not in the workflow"
        return _input_error("bad_linked_input", message, f"{name}, {value}", declared, received_value=value)
    types = nodes[prompt[origin]["class_type"]].RETURN_TYPES
    if not 0 <= slot < len(types):
        message = f"Bad linked input, node {origin} has {len(types)} outputs"
        return _input_error("bad_linked_input", message, f"{name}, {value}", declared, received_value=value)
    received[name] = types[slot]
    if not types_checked_by_node and not fits(types[slot], declared.type):
        return _input_error(
            "return_type_mismatch",
            "Return type mismatch between linked nodes",
            f"{name}, received_type({types[slot]}) mismatch input_type({declared.type})",
            declared,
            received_type=types[slot],
            linked_node=value,
        )
    return None


def _check_constant(declared: Declared, inputs: dict, checked_by_node: bool) -> dict | None:
    name, options = declared.name, declared.options
    value = constant(inputs[name])
    cast = CASTS.get(declared.type) if isinstance(declared.type, str) else None
    if cast:
        try:
            value = inputs[name] = cast(value)
        except (TypeError, ValueError, OverflowError) as error:
            message = f"Failed to convert an input value to a {declared.type} value"
            extra = {"received_value": value, "exception_message": str(error)}
            details = f"{name}, {value}, {error}"
            return _input_error("invalid_input_type", message, details, declared, **extra)
    if checked_by_node:
        return None
    bounds = (
        ("min", "value_smaller_than_min", "smaller than min", lambda a, b: a >= b),
        ("max", "value_bigger_than_max", "bigger than max", lambda a, b: a <= b),
    )
    for key, type_, words, holds in bounds:
        if key in options and not holds(value, options[key]):  # so that NaN is outside of every range
            message = f"Value {value} {words} of {options[key]}"
            return _input_error(type_, message, name, declared, received_value=value)
    choices = declared.choices
    if choices is not None:
        several = options.get("multiselect", False) and isinstance(value, list)
        wrong = [choice for choice in (value if several else [value]) if choice not in choices]
        if wrong:
            short = len(choices) <= 20
            shown = str(choices) if short else f"(list of length {len(choices)})"
            details = f"{name}: {', '.join(map(repr, wrong))} not in {shown}"
            config = (declared.type, options) if short else None
            return _error(
                "value_not_in_list",
                "Value not in list",
                details,
                input_name=name,
                input_config=config,
                received_value=value,
            )
    return None


def _check_custom(node_id: str, node: dict, cls: type, named: set[str], takes_all: bool, received: dict) -> list[dict]:
    arguments = {name: values for name, values in constants(node_id, node, cls).items() if takes_all or name in named}
    if "input_types" in named:
        arguments["input_types"] = [received]
    try:
        answers = map_over_lists(cls.VALIDATE_INPUTS, arguments, getattr(cls, "INPUT_IS_LIST", False))
    except Exception as error:
        extra = {
            "exception_type": type(error).__name__,
            "traceback": traceback.format_tb(error.__traceback__),
        }
        return [_error("exception_during_validation", "Exception when validating node", str(error), **extra)]
    return [
        _error(
            "custom_validation_failed",
            "Custom validation failed for node",
            name if answer is False else f"{name} - {answer}",
            input_name=name,
        )
        for name in arguments
        for answer in answers
        if answer is not True
    ]
