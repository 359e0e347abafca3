"""UI form to API form."""

from __future__ import annotations

import copy

import pytest
from studio_graphs import ui_graph, ui_node, ui_subgraph

from varifold.studio.errors import WorkflowError
from varifold.studio.flatten import connects, flatten

SAMPLER = [7, "randomize", 12, "heun", 2.5, "[[0,1]]"]


def sampler(number, model=None, forced=None, latent=None, values=SAMPLER, extra=(), **more):
    inputs = [("model", "MODEL", model), ("latent", "LATENT", latent), ("forced", "INT", forced), *extra]
    return ui_node(number, "Sampler", list(values), inputs, ["LATENT", "INT"], **more)


def number(n, value=5, **more):
    return ui_node(n, "Number", [value], [], ["INT"], **more)


def model(n, **more):
    return ui_node(n, "Model", None, [], ["MODEL"], **more)


def show(n, link, **more):
    return ui_node(n, "Show", None, [("anything", "*", link)], **more)


def inputs(document, nodes, node_id):
    return flatten(document, nodes).prompt[node_id]["inputs"]


def test_widgets_by_position_skip_the_seed_control_and_sockets(nodes):
    graph = ui_graph([sampler(1, model=1), model(2)], [[1, 2, 0, 1, 0, "MODEL"]])
    assert flatten(graph, nodes, {"Sampler": "My Sampler"}).prompt == {
        "1": {
            "class_type": "Sampler",
            "inputs": {"seed": 7, "steps": 12, "name": "heun", "cfg": 2.5, "curve": "[[0,1]]", "model": ["2", 0]},
            "_meta": {"title": "My Sampler"},
        },
        "2": {"class_type": "Model", "inputs": {}, "_meta": {"title": "Model"}},
    }


def test_widgets_without_a_control_entry(nodes):
    values = [7, 12, "heun", 2.5, "[]"]
    assert inputs(ui_graph([sampler(1, values=values)], []), nodes, "1")["steps"] == 12


def test_widgets_by_name_and_missing_ones_take_defaults(nodes):
    node = ui_node(1, "Sampler", {"seed": 9, "name": "heun"})
    found = inputs(ui_graph([node], []), nodes, "1")
    assert found == {"seed": 9, "steps": 20, "name": "heun", "cfg": 8.0, "curve": "[]"}
    short = ui_node(1, "Sampler", [9])
    assert inputs(ui_graph([short], []), nodes, "1")["name"] == "euler"


def test_a_widget_turned_into_a_socket_keeps_its_place(nodes):
    graph = ui_graph([sampler(1, extra=[("steps", "INT", 4, True)]), number(3)], [[4, 3, 0, 1, 3, "INT"]])
    found = inputs(graph, nodes, "1")
    assert found["steps"] == ["3", 0]
    assert (found["name"], found["cfg"]) == ("heun", 2.5)


def test_image_upload_button(nodes, places):
    graph = ui_graph([ui_node(1, "LoadImage", ["pic.png", "image"], [], ["IMAGE", "MASK"])], [])
    assert inputs(graph, nodes, "1") == {"image": "pic.png"}


def test_list_values_are_wrapped(nodes):
    node = ui_node(1, "Add", {"a": ["x", 1], "b": 2})
    assert inputs(ui_graph([node], []), nodes, "1")["a"] == {"__value__": ["x", 1]}


def test_a_widget_that_is_not_saved_is_sent_as_new(nodes):
    compare = ui_node(1, "ImageCompare", [], [("image_a", "IMAGE", None), ("image_b", "IMAGE", None)])
    assert inputs(ui_graph([compare], []), nodes, "1") == {"compare_view": {"__value__": ["", ""]}}


def test_links_as_objects_and_unknown_fields(nodes):
    graph = ui_graph([show(1, 9), number(2)], [])
    graph["links"] = [
        {"id": 9, "origin_id": 2, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "INT", "parentId": 3}
    ]
    graph |= {"reroutes": [{"id": 3, "linkIds": [9]}], "floatingLinks": [{}], "from": "the future", "version": 99}
    assert inputs(graph, nodes, "1") == {"anything": ["2", 0]}


def test_missing_links_and_nodes_are_left_open(nodes):
    graph = ui_graph([show(1, 9), show(2, 8)], [[8, 77, 0, 2, 0, "INT"]])
    graph["links"] += [None, [1, 2], "x", [None, {}, [], 1, 2]]
    assert inputs(graph, nodes, "1") == {} == inputs(graph, nodes, "2")


def test_chained_reroutes_and_notes(nodes):
    deep = 3000
    chain = [ui_node(n, "Reroute", None, [("", "*", n + 1)], ["*"]) for n in range(10, 10 + deep)]
    links = [[10, 10, 0, 1, 0, "*"], *([n + 1, n + 1, 0, n, 0, "*"] for n in range(10, 10 + deep))]
    notes = [ui_node(2, "Note", ["hello"]), ui_node(3, "MarkdownNote", ["# hello"])]
    document = ui_graph([show(1, 10), *chain, number(10 + deep), *notes], links)
    assert {k: v["inputs"] for k, v in flatten(document, nodes).prompt.items()} == {
        "1": {"anything": [str(10 + deep), 0]},
        str(10 + deep): {"value": 5},
    }


def test_reroutes_in_a_circle_are_an_error(nodes):
    circle = [ui_node(n, "Reroute", None, [("", "*", n)], ["*"]) for n in (10, 11)]
    document = ui_graph(
        [show(1, 1), *circle], [[1, 10, 0, 1, 0, "*"], [10, 11, 0, 10, 0, "*"], [11, 10, 0, 11, 0, "*"]]
    )
    with pytest.raises(WorkflowError, match="circle"):
        flatten(document, nodes)


def test_primitive_sets_widgets_also_through_reroutes(nodes):
    primitive = ui_node(5, "PrimitiveNode", [42, "fixed"], [], ["INT"])
    reroute = ui_node(6, "Reroute", None, [("", "*", 2)], ["*"])
    links = [[1, 5, 0, 1, 3, "INT"], [2, 5, 0, 6, 0, "INT"], [3, 6, 0, 7, 0, "INT"]]
    seven = ui_node(7, "Number", [1], [("value", "INT", 3, True)], ["INT"])
    flat = flatten(ui_graph([sampler(1, extra=[("seed", "INT", 1, True)]), primitive, reroute, seven], links), nodes)
    assert flat.prompt["1"]["inputs"]["seed"] == 42 == flat.prompt["7"]["inputs"]["value"]
    assert "5" not in flat.prompt
    assert flat.places["1", "seed"].container is primitive["widgets_values"]


def test_muted_node_and_what_hangs_on_it(nodes):
    add = ui_node(4, "Add", [1, 2], [("a", "INT", 3, True)], ["INT"])
    links = [[1, 2, 0, 1, 0, "INT"], [3, 2, 0, 4, 0, "INT"]]
    graph = ui_graph([show(1, 1), number(2, mode=2), show(3, 2, mode=2), add], links)
    assert {k: v["inputs"] for k, v in flatten(graph, nodes).prompt.items()} == {"1": {}, "4": {"b": 2}}


@pytest.mark.parametrize(
    ("slot", "wanted", "passes"),
    [
        (0, "LATENT", "10"),  # the same place has the same type
        (1, "LATENT", "10"),  # the place is a widget's: the first of the type
        (2, "LATENT", "11"),  # the same place again, counted with the widget
        (2, "MODEL", None),  # no input of the type
        (1, "*", None),  # any type: the same place, which has no link
    ],
)
def test_bypass_matches_inputs_as_the_front_end_does(nodes, slot, wanted, passes):
    filter_ = ui_node(
        2, "Filter", [1.0], [("one", "LATENT", 10), ("two", "LATENT", 11)], ["LATENT", "LATENT", wanted], mode=4
    )
    target = ui_node(1, "Show", None, [("anything", wanted, 1)])
    nodes["Show"] = type("Show", (nodes["Show"],), {"INPUT_TYPES": lambda: {"required": {"anything": (wanted,)}}})
    links = [[1, 2, slot, 1, 0, wanted], [10, 10, 0, 2, 0, "LATENT"], [11, 11, 0, 2, 1, "LATENT"]]
    graph = ui_graph([target, filter_, sampler(10), sampler(11)], links)
    assert inputs(graph, nodes, "1") == ({"anything": [passes, 0]} if passes else {})


def test_bypassed_nodes_of_unknown_type_pass_through(nodes):
    other = ui_node(2, "FromAnotherPack", None, [("x", "MASK", 3), ("y", "INT", 2)], ["INT"], mode=4)
    graph = ui_graph([show(1, 1), other, number(3)], [[1, 2, 0, 1, 0, "INT"], [2, 3, 0, 2, 1, "INT"]])
    nodes["Show"] = type("Show", (nodes["Show"],), {"INPUT_TYPES": lambda: {"required": {"anything": ("INT",)}}})
    assert inputs(graph, nodes, "1") == {"anything": ["3", 0]}


def add_subgraph():
    """(x, b) -> sum: an Add with both inputs exposed, and a Number inside that feeds nothing."""
    add = ui_node(1, "Add", [1, 2], [("a", "INT", 1, True), ("b", "INT", 2, True)], ["INT"])
    links = [(1, -10, 0, 1, 0, "INT"), (2, -10, 1, 1, 1, "INT"), (3, 1, 0, -20, 0, "INT")]
    return ui_subgraph("sub-a", [add], links, [("x", "INT"), ("b", "INT")], [("sum", "INT")])


def test_subgraph_values_links_and_composed_ids(nodes):
    instance = ui_node(
        7, "sub-a", [11, 12], [("x", "INT", None, True), ("b", "INT", 2, True)], ["INT"], title="the sum"
    )
    graph = ui_graph(
        [show(1, 1), instance, number(3)], [[1, 7, 0, 1, 0, "INT"], [2, 3, 0, 7, 1, "INT"]], [add_subgraph()]
    )
    flat = flatten(graph, nodes)
    assert {k: v["inputs"] for k, v in flat.prompt.items()} == {
        "1": {"anything": ["7:1", 0]},
        "7:1": {"a": 11, "b": ["3", 0]},
        "3": {"value": 5},
    }
    assert flat.places["7:1", "a"].container is instance["widgets_values"]


def test_two_instances_differ_and_absent_values_fall_back_to_the_inside(nodes):
    instances = [
        ui_node(7, "sub-a", [11], [("x", "INT", None, True)], ["INT"]),
        ui_node(8, "sub-a", None, [("x", "INT", None, True)], ["INT"]),
    ]
    prompt = flatten(ui_graph(instances, [], [add_subgraph()]), nodes).prompt
    assert prompt["7:1"]["inputs"] == {"a": 11, "b": 2}
    assert prompt["8:1"]["inputs"] == {"a": 1, "b": 2}


def test_instance_values_with_control_entries_between(nodes):
    inner = sampler(1, extra=[("seed", "INT", 1, True), ("steps", "INT", 2, True)])
    links = [(1, -10, 0, 1, 3, "INT"), (2, -10, 1, 1, 4, "INT")]
    subgraph = ui_subgraph("s", [inner], links, [("seed", "INT"), ("steps", "INT")])
    for values in ([99, "randomize", 33], [99, 33]):
        found = inputs(ui_graph([ui_node(7, "s", values)], [], [subgraph]), nodes, "7:1")
        assert (found["seed"], found["steps"], found["cfg"]) == (99, 33, 2.5)


def test_proxy_widgets(nodes):
    properties = {"proxyWidgets": [["-1", "x"], ["2", "2: value"], ["1", "b"]]}
    subgraph = add_subgraph()
    subgraph["nodes"].append(number(2))
    subgraph["links"] = [link for link in subgraph["links"] if link["id"] != 2]
    instance = ui_node(7, "sub-a", [31, 32, None], properties=properties)
    prompt = flatten(ui_graph([instance], [], [subgraph]), nodes).prompt
    assert prompt["7:1"]["inputs"] == {"a": 31, "b": 2}
    assert prompt["7:2"]["inputs"] == {"value": 32}


def nested(outer_values, inner_values):
    inner = ui_node(4, "sub-a", inner_values, [("x", "INT", 1, True), ("b", "INT", None, True)], ["INT"])
    links = [(1, -10, 0, 4, 0, "INT"), (2, 4, 0, -20, 0, "INT")]
    outer = ui_subgraph("sub-b", [inner], links, [("y", "INT")], [("out", "INT")])
    instance = ui_node(9, "sub-b", outer_values, [("y", "INT", None, True)], ["INT"])
    return ui_graph([show(1, 1), instance], [[1, 9, 0, 1, 0, "INT"]], [outer, add_subgraph()])


def test_nested_subgraphs(nodes):
    prompt = flatten(nested([50], [60, 70]), nodes).prompt
    assert prompt["1"]["inputs"] == {"anything": ["9:4:1", 0]}
    assert prompt["9:4:1"]["inputs"] == {"a": 50, "b": 70}
    assert flatten(nested(None, [60, 70]), nodes).prompt["9:4:1"]["inputs"] == {"a": 60, "b": 70}
    assert flatten(nested(None, None), nodes).prompt["9:4:1"]["inputs"] == {"a": 1, "b": 2}


def test_muted_and_bypassed_subgraphs(nodes):
    muted = nested([1], [1, 1])
    muted["nodes"][1]["mode"] = 2
    assert {k: v["inputs"] for k, v in flatten(muted, nodes).prompt.items()} == {"1": {}}
    instance = ui_node(7, "sub-a", None, [("x", "INT", None, True), ("b", "INT", 2, True)], ["INT"], mode=4)
    links = [[1, 7, 0, 1, 0, "INT"], [2, 3, 0, 7, 1, "INT"]]
    nodes["Show"] = type("Show", (nodes["Show"],), {"INPUT_TYPES": lambda: {"required": {"anything": ("INT",)}}})
    bypassed = ui_graph([show(1, 1), instance, number(3)], links, [add_subgraph()])
    assert {k: v["inputs"] for k, v in flatten(bypassed, nodes).prompt.items()} == {
        "1": {"anything": 0},  # the first input of the type has no link, so the widget's own value holds
        "3": {"value": 5},
    }


def test_subgraph_that_contains_itself_or_explodes(nodes):
    itself = ui_subgraph("s", [ui_node(1, "s")], [])
    with pytest.raises(WorkflowError, match="contains itself"):
        flatten(ui_graph([ui_node(1, "s")], [], [itself]), nodes)
    levels = [
        ui_subgraph(f"s{n}", [ui_node(k, f"s{n + 1}" if n < 9 else "Number") for k in range(10)], []) for n in range(10)
    ]
    with pytest.raises(WorkflowError, match="unfold into more than"):
        flatten(ui_graph([ui_node(1, "s0")], [], levels), nodes)


def test_order_titles_and_packs(nodes):
    document = ui_graph(
        [
            number(1, order=2, title="mine"),
            ui_node(2, "Foreign", [1], [("x", "INT", 5)], order=1, properties={"cnr_id": "their-pack"}),
            ui_node(3, "Other", properties={"aux_id": "someone/repo"}, order=0),
        ],
        [[5, 1, 0, 2, 0, "INT"]],
    )
    before = copy.deepcopy(document)
    flat = flatten(document, nodes)
    assert list(flat.prompt) == ["3", "2", "1"]
    assert flat.prompt["1"]["_meta"] == {"title": "mine"}
    assert flat.prompt["2"]["inputs"] == {"x": ["1", 0]}
    assert flat.packs == {"2": "their-pack", "3": "someone/repo"}
    assert document == before


@pytest.mark.parametrize(
    "nodes_list", [[{"id": 1}], [{"type": "Number"}], [number(1), number(1)], [{"id": [], "type": "Number"}]]
)
def test_malformed_nodes_are_named(nodes, nodes_list):
    with pytest.raises(WorkflowError):
        flatten(ui_graph(nodes_list, []), nodes)


def test_slot_types_connect_as_in_litegraph():
    assert connects("INT", "*") and connects("", "X") and connects("INT,FLOAT", "float") and connects("A, B", "B")
    assert not connects("INT", "FLOAT") and not connects("A,B", "C")
