"""The front end's other renderer ("Nodes 2.0"), in which every node is HTML."""

from __future__ import annotations

import json

import pytest

from browser.editor import center
from browser.install import NEWEST
from varifold.nodes import NODE_CLASS_MAPPINGS
from varifold.nodes.guidance import KNOBS
from varifold.nodes.schedule import USED

pytestmark = pytest.mark.browser
VALUES = ("INT", "FLOAT", "STRING", "BOOLEAN")
# Widgets whose choice decides which others are shown, with choices that between them show all.
CHOOSERS = {
    "VarifoldSchedule": ("curve", ["karras", "normal", "drawn", "beta", "ideogram4", "optimal_steps", "gits"], USED),
    "VarifoldGuidance": ("method", ["rescale", "apg", "cfg_zero_star"], KNOBS),
}


@pytest.fixture(scope="session")
def nodes2(studio) -> str:
    """A Studio whose user chose that renderer."""
    return studio(NEWEST, **{"Comfy.VueNodes.Enabled": True})


@pytest.fixture(scope="module")
def bench(open_editor, nodes2):
    """One page on which node after node is put."""
    editor = open_editor(nodes2)
    yield editor
    editor.page.context.close()


def widgets_of(kind: str) -> dict[str, tuple]:
    """What a node declares of its widgets, less lists of one choice."""
    types = NODE_CLASS_MAPPINGS[kind].INPUT_TYPES()
    inputs = {**types["required"], **types.get("optional", {})}
    declared = {name: (*each, {})[:2] for name, each in inputs.items() if each[0] in VALUES or type(each[0]) is list}
    return {
        name: each
        for name, each in declared.items()
        if each[0] in VALUES or (type(each[0]) is list and len(each[0]) > 1)
    }


def other_value(kind: object, options: dict, before: object) -> object:
    """A value that the widget does not have."""
    if isinstance(kind, list):
        return next(choice for choice in kind if choice != before)
    if kind == "BOOLEAN":
        return not before
    if kind == "STRING":
        return "[[0, 50], [1, 0.01]]" if before.startswith("[[") else f"{before} sword"
    step = options.get("step", 1)
    return before + step if before + step <= options["max"] else before - step


def edit(editor, kind: str, name: str, value: object) -> None:
    """Give a widget a value with mouse and keyboard."""
    row = editor.page.locator(f"[data-widget-name='{name}']")
    if isinstance(value, bool):
        row.get_by_role("switch").click()
    elif row.get_by_role("combobox").count():
        row.get_by_role("combobox").click()
        editor.page.get_by_role("option", name=value, exact=True).click()
    else:
        field = row.locator("textarea, input").first
        field.fill(str(value))
        field.press("Tab")
    editor.until(
        "Math.abs(t.widget(a[0], a[1]).value - a[2]) < 1e-6 || t.widget(a[0], a[1]).value === a[2]", kind, name, value
    )


@pytest.mark.parametrize("kind", [kind for kind in NODE_CLASS_MAPPINGS if widgets_of(kind)])
def test_every_widget_can_be_edited(bench, kind, shot):
    bench.ask("app.graph.clear()")
    bench.ask("(() => { const n = LiteGraph.createNode(a[0]); n.pos = [0, 0]; app.graph.add(n); })()", kind)
    bench.look_at(kind)
    left = widgets_of(kind)
    chooser, choices, used = CHOOSERS.get(kind, (None, [None], {}))
    for choice in choices:
        if choice:
            edit(bench, kind, chooser, choice) if bench.value(kind, chooser) != choice else None
            for knob in {knob for knobs in used.values() for knob in knobs}:
                state = "visible" if knob in used[choice] else "hidden"
                bench.page.locator(f"[data-widget-name='{knob}']").wait_for(state=state)
            bench.drawn()
        for name, declared in list(left.items()):
            if name != chooser and bench.page.locator(f"[data-widget-name='{name}']").is_visible():
                edit(bench, kind, name, other_value(*declared, bench.value(kind, name)))
                del left[name]
    shot(bench.page)
    assert set(left) <= {chooser}
    assert bench.complaints == []


def test_a_graph_is_loaded_drawn_in_and_run(make_editor, nodes2, small_graph, shot):
    editor = make_editor(nodes2)
    editor.load(small_graph)
    assert editor.notices() == []
    editor.look_at("VarifoldSchedule")
    edit(editor, "VarifoldSchedule", "curve", "drawn")
    handles = editor.page.locator(".varifold-curve .handle")
    handles.nth(2).wait_for()
    editor.curve_follows()
    x, y = center(handles.nth(1))
    editor.drag((x, y), (x + 20, y - 15))
    points = json.loads(editor.value("VarifoldSchedule", "points"))
    assert points[1][0] > 0.55 and points[1][1] > 3
    assert editor.ask("t.node('VarifoldSchedule').pos") == [390, 305], "the node was dragged, not the point"

    editor.look_at("VarifoldLoadDenoiser")
    words = editor.page.locator(".varifold-words.list")
    assert words.bounding_box()["height"] < 300
    scale = editor.ask("app.canvas.ds.scale")
    editor.page.mouse.click(*center(words))
    editor.page.mouse.wheel(0, 120)
    editor.until("document.querySelector('.varifold-words.list').scrollTop > 50")
    assert editor.ask("app.canvas.ds.scale") == scale
    editor.page.get_by_placeholder("find a word").fill("sword")
    assert words.inner_text().split() == ["sword"]

    editor.look_at("VarifoldPrompt")
    edit(editor, "VarifoldPrompt", "text", "hero swo zzz")
    editor.page.locator(".varifold-words s").get_by_text("zzz").wait_for()
    edit(editor, "VarifoldPrompt", "text", "hero swo")
    editor.page.locator(".offers").get_by_role("button", name="sword").click()
    editor.until("t.widget('VarifoldPrompt', 'text').value === 'hero sword'")

    editor.look_at("VarifoldSampler", 0.7)
    assert editor.run() == "execution_success"
    sampler = editor.page.locator("[data-node-id='4']")
    assert "1 picture of 32×32" in sampler.locator(".varifold-report").inner_text()
    for node in (sampler, editor.page.locator("[data-node-id='6']")):
        editor.page.wait_for_function("(img) => img.naturalWidth > 0", arg=node.locator("img").first.element_handle())
