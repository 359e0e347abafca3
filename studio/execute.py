"""Runs a valid prompt: parents first, each node at most once, nothing that has not changed since the last run."""

from __future__ import annotations

import hashlib
import json
import math
import traceback
import uuid
from dataclasses import dataclass
from typing import Any

from .calls import constants, map_over_lists, merge
from .declared import hidden_of, inputs_of
from .errors import Cancelled, NodeError, is_out_of_memory, title_of
from .host import StudioHost
from .prompt import ancestors, constant, is_link, links


@dataclass(frozen=True)
class Result:
    outputs: list[list]
    ui: dict


class Executor:
    """Keeps the results and the node instances of the last prompt, so that the next one runs only what is new.

    `host.listener(event, data)` hears ComfyUI's websocket messages: execution_start, execution_cached,
    executing, progress, executed, execution_success, execution_error, execution_interrupted.
    """

    def __init__(self, nodes: dict[str, type], host: StudioHost):
        self.nodes = nodes
        self.host = host
        self._results: dict[str, Result] = {}
        self._instances: dict[tuple[str, str], object] = {}

    def forget(self) -> None:
        """Let go of all results and node instances."""
        self._results.clear()
        self._instances.clear()

    def run(
        self,
        prompt: dict[str, dict],
        outputs: list[str],
        extra_pnginfo: dict | None = None,
    ) -> dict[str, dict]:
        """Run `outputs` of a validated prompt; returns the ui dict of each node that has one.

        Raises NodeError where a node does, and Cancelled.
        """
        import torch

        run = _Run(self, prompt, {"PROMPT": prompt, "EXTRA_PNGINFO": extra_pnginfo})
        self.host.listener("execution_start", {"nodes": len(prompt)})
        try:
            with torch.inference_mode():
                run.sign(outputs)
                self._results = {key: self._results[key] for key in run.keys.values() if key in self._results}
                cached = [node_id for node_id, key in run.keys.items() if key in self._results]
                self.host.listener("execution_cached", {"nodes": cached})
                for output in outputs:
                    run.reach(output)
        except NodeError as error:
            self.host.listener("execution_error", error.details)
            raise
        except Cancelled:
            where = self.host.running
            self.host.listener("execution_interrupted", {"node_id": where, "executed": list(run.done)})
            raise
        finally:
            self.host.running = None
        self.host.listener("execution_success", {})
        return {node_id: result.ui for node_id, result in run.done.items() if result.ui}


class _Run:
    def __init__(self, executor: Executor, prompt: dict[str, dict], hidden: dict[str, Any]):
        self.executor = executor
        self.prompt = prompt
        self.hidden = hidden
        self.keys: dict[str, str] = {}
        self.done: dict[str, Result] = {}
        self.wanted: dict[str, set[str]] = {}

    def _class(self, node_id: str) -> type:
        return self.executor.nodes[self.prompt[node_id]["class_type"]]

    def sign(self, outputs: list[str]) -> None:
        """Give every node a key that changes when its class, its inputs or anything above it does."""
        order, cycles = ancestors(outputs, self.prompt, self.executor.nodes)
        if cycles:
            raise ValueError(f"the nodes {' -> '.join(cycles[0])} form a cycle")
        for node_id in order:
            node, cls = self.prompt[node_id], self._class(node_id)
            content: list[Any] = [node["class_type"], self._changed(node_id, node, cls)]
            for name in inputs_of(cls):
                value = node["inputs"].get(name)
                linked = is_link(value) and value[0] in self.keys
                content.append([name, [self.keys[value[0]], value[1]] if linked else value])
            asked = set(hidden_of(cls).values())
            if "UNIQUE_ID" in asked or getattr(cls, "NOT_IDEMPOTENT", False):
                content.append(node_id)
            text = json.dumps(content, sort_keys=True, default=repr)
            self.keys[node_id] = hashlib.sha256(text.encode()).hexdigest()

    def _changed(self, node_id: str, node: dict, cls: type) -> Any:
        function = getattr(cls, "IS_CHANGED", None)
        if function is None:
            return None
        try:
            takes_lists = getattr(cls, "INPUT_IS_LIST", False)
            answers = map_over_lists(function, constants(node_id, node, cls), takes_lists)
        except Exception:
            return uuid.uuid4().hex  # the node will tell what is wrong when it runs
        always = any(isinstance(answer, float) and math.isnan(answer) for answer in answers)
        return uuid.uuid4().hex if always else answers

    def reach(self, output: str) -> None:
        """Run a node and what it needs. The path is a list, not the call stack: graphs may be deep."""
        path = [output]
        while path:
            node_id = path[-1]
            missing = None if self._known(node_id) else self._missing(node_id)
            if missing is not None:
                if missing in path:
                    raise ValueError(f"the nodes {' -> '.join([*path, missing])} form a cycle")
                path.append(missing)
            elif node_id in self.done or self._execute(node_id):
                path.pop()

    def _known(self, node_id: str) -> bool:
        if node_id in self.done:
            return True
        result = self.executor._results.get(self.keys[node_id])
        if result is None:
            return False
        self.done[node_id] = result
        if result.ui:
            self.executor.host.listener("executed", self._message(node_id, output=result.ui))
        return True

    def _missing(self, node_id: str) -> str | None:
        """The next parent to run first; those behind lazy inputs only once the node has asked for them."""
        cls = self._class(node_id)
        declared, wanted = inputs_of(cls), self.wanted.get(node_id, set())
        for name, origin, _ in links(self.prompt[node_id], cls):
            needed = not declared[name].options.get("lazy") or name in wanted
            if needed and origin not in self.done:
                return origin
        return None

    def _message(self, node_id: str, **more: Any) -> dict:
        node = self.prompt[node_id]
        names = {"class_type": node["class_type"], "title": title_of(node) or node["class_type"]}
        return {"node": node_id, "display_node": node_id, **names, **more}

    def _execute(self, node_id: str) -> bool:
        """Run one node; False if it turns out to need a lazy input first."""
        executor, cls = self.executor, self._class(node_id)
        arguments: dict[str, list] = {}
        try:
            if node_id not in self.wanted:
                executor.host.running = node_id
                executor.host.listener("executing", self._message(node_id))
            executor.host.check_cancelled()
            arguments, absent = self._arguments(node_id, cls)
            key = (node_id, self.prompt[node_id]["class_type"])
            if not isinstance(executor._instances.get(key), cls):
                executor._instances[key] = cls()
            instance = executor._instances[key]
            if self._asks_for_more(node_id, instance, arguments, absent):
                return False
            outputs, ui = merge(self._call(instance, cls.FUNCTION, arguments), cls)
        except Exception as error:
            raise self._failure(node_id, error, arguments) from error
        self.done[node_id] = executor._results[self.keys[node_id]] = Result(outputs, ui)
        if ui:
            executor.host.listener("executed", self._message(node_id, output=ui))
        return True

    def _arguments(self, node_id: str, cls: type) -> tuple[dict[str, list], set[str]]:
        """Values for every declared input that the prompt fills, and the names that are not there yet."""
        inputs = self.prompt[node_id]["inputs"]
        arguments: dict[str, list] = {}
        absent = set()
        for name, declared in inputs_of(cls).items():
            if name not in inputs:
                continue
            value = inputs[name]
            if not is_link(value) or declared.options.get("rawLink"):
                arguments[name] = [constant(value)]
                continue
            outputs = self.done[value[0]].outputs if value[0] in self.done else []
            if value[1] < len(outputs):
                arguments[name] = outputs[value[1]]
            else:
                arguments[name] = [None]
                absent.add(name)
        hidden = {**self.hidden, "UNIQUE_ID": node_id}
        arguments |= {name: [hidden[kind]] for name, kind in hidden_of(cls).items() if kind in hidden}
        return arguments, absent

    def _asks_for_more(self, node_id: str, instance: Any, arguments: dict, absent: set[str]) -> bool:
        if not hasattr(instance, "check_lazy_status"):
            return False
        asked = set()
        for answer in self._call(instance, "check_lazy_status", arguments):
            asked |= set(answer) if isinstance(answer, (list, tuple, set)) else set()
        wanted = self.wanted.setdefault(node_id, set())
        new = (asked & absent) - wanted
        wanted |= new
        return bool(new)

    def _call(self, instance: Any, function: str, arguments: dict[str, list]) -> list:
        def call(**values: Any) -> Any:
            self.executor.host.check_cancelled()
            return getattr(instance, function)(**values)

        return map_over_lists(call, arguments, getattr(instance, "INPUT_IS_LIST", False))

    def _failure(self, node_id: str, error: Exception, arguments: dict[str, list]) -> NodeError:
        message = str(error) or type(error).__name__
        if is_out_of_memory(error):
            message += "\nOut of memory: use a smaller batch or a smaller size."
        node = self.prompt[node_id]
        details = {
            "node_id": node_id,
            "node_type": node["class_type"],
            "executed": list(self.done),
            "exception_message": message,
            "exception_type": _full_name(type(error)),
            "traceback": traceback.format_exception(error),
            "current_inputs": {name: [_shown(v) for v in values] for name, values in arguments.items()},
            "current_outputs": list(self.done),
        }
        return NodeError(details, title_of(node) or node["class_type"])


def _full_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} {tuple(shape)}" if shape is not None else str(value)[:1000]
