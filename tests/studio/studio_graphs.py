"""Small nodes to build graphs from, and helpers to write workflows in both forms."""

from __future__ import annotations

import torch

from varifold.studio.comfy_nodes import CLASSES as COMFY_NODES


class Number:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        options = {"default": 3, "min": 0, "max": 100}
        return {"required": {"value": ("INT", options)}}

    def run(self, value):
        CALLS.append(("Number", value))
        return (value,)


class Sampler:
    """Like a sampler: a seed with its control widget, a combo box, sockets between the widgets."""

    RETURN_TYPES = ("LATENT", "INT")
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1}),
                "steps": ("INT", {"default": 20, "min": 1, "max": 100}),
                "name": (["euler", "heun"],),
                "forced": ("INT", {"forceInput": True}),
                "cfg": ("FLOAT", {"default": 8.0}),
            },
            "optional": {"curve": ("VARIFOLD_CURVE", {"default": "[]"}), "latent": ("LATENT",)},
        }

    def run(self, **inputs):
        return (inputs, inputs["seed"])


class Model:
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        return ("model",)


class Filter:
    """Two inputs and two outputs of one type with a widget between, for bypassing."""

    RETURN_TYPES = ("LATENT", "LATENT", "MODEL")
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"one": ("LATENT",), "strength": ("FLOAT", {"default": 1.0}), "two": ("LATENT",)}}


class Show:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"anything": ("*",)}}

    def run(self, anything):
        CALLS.append(("Show", anything))
        return {"ui": {"text": [str(anything)]}}


class Listing:
    RETURN_TYPES = ("INT", "STRING")
    OUTPUT_IS_LIST = (True, False)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"count": ("INT", {"default": 3, "min": 0, "max": 10**6})}}

    def run(self, count):
        return (list(range(count)), "once")


class Add:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"a": ("INT", {"default": 0}), "b": ("INT", {"default": 0})}}

    def run(self, a, b):
        CALLS.append(("Add", a, b))
        return (a + b,)


class Total:
    RETURN_TYPES = ("INT",)
    INPUT_IS_LIST = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"values": ("INT", {"forceInput": True}), "scale": ("INT", {"default": 1})}}

    def run(self, values, scale):
        CALLS.append(("Total", tuple(values), tuple(scale)))
        return (sum(values) * scale[0],)


class Switch:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        lazy = ("INT", {"lazy": True, "forceInput": True})
        return {"required": {"first": ("BOOLEAN", {"default": True})}, "optional": {"a": lazy, "b": lazy}}

    def check_lazy_status(self, first, a=None, b=None):
        name, value = ("a", a) if first else ("b", b)
        return [name] if value is None else []

    def run(self, first, a=None, b=None):
        return (a if first else b,)


class Broken:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 1})}}

    def run(self, value):
        raise RuntimeError("the wheel fell off")


class Named:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "hidden": {"prompt": "PROMPT", "me": "UNIQUE_ID"}}

    def run(self, prompt, me):
        CALLS.append(("Named", prompt, me))
        return {"ui": {"text": [me]}}


class Colour:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": ("INT", {"default": 0}), "batch": ("INT", {"default": 1, "min": 1})}}

    def run(self, seed, batch):
        return (torch.rand(batch, 4, 6, 3, generator=torch.Generator().manual_seed(seed)),)


CALLS: list[tuple] = []
CLASSES = (Number, Sampler, Model, Filter, Show, Listing, Add, Total, Switch, Broken, Named, Colour)
NODES = {**COMFY_NODES, **{cls.__name__: cls for cls in CLASSES}}


def api(**graph) -> dict[str, dict]:
    """api(n1=("Add", {"a": 1, "b": ["2", 0]})) -> a prompt with the id "1"."""
    return {
        name.removeprefix("n"): {"class_type": kind, "inputs": dict(inputs)} for name, (kind, inputs) in graph.items()
    }


def ui_node(number, kind, values=None, inputs=(), outputs=(), **more) -> dict:
    """`inputs`: (name, type, link) or (name, type, link, True) for a widget; `outputs`: types."""
    slots = [
        {"name": name, "type": type_, "link": link, **({"widget": {"name": name}} if widget else {})}
        for name, type_, link, *widget in inputs
    ]
    node = {"id": number, "type": kind, "mode": 0, "inputs": slots, **more}
    node["outputs"] = [{"name": type_, "type": type_, "links": []} for type_ in outputs]
    if values is not None:
        node["widgets_values"] = values
    return node


def ui_graph(nodes, links, subgraphs=()) -> dict:
    """`links`: [id, origin, slot, target, slot, type]."""
    graph = {"version": 0.4, "nodes": list(nodes), "links": [list(link) for link in links]}
    if subgraphs:
        graph["definitions"] = {"subgraphs": list(subgraphs)}
    return graph


def ui_subgraph(uuid, nodes, links, inputs=(), outputs=()) -> dict:
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return {
        "id": uuid,
        "name": f"the {uuid}",
        "nodes": list(nodes),
        "links": [dict(zip(keys, link, strict=True)) for link in links],
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
        "inputs": [{"id": f"i{n}", "name": name, "type": type_} for n, (name, type_) in enumerate(inputs)],
        "outputs": [{"id": f"o{n}", "name": name, "type": type_} for n, (name, type_) in enumerate(outputs)],
    }
