"""Building a graph with the mouse, and drawing a schedule in it."""

from __future__ import annotations

import json

import pytest

from browser.editor import center

pytestmark = pytest.mark.browser
POINTS = "[[0, 80], [0.5, 1.5], [1, 0.002]]"


def test_a_node_is_found_carried_wired_and_run(editor, small_graph):
    editor.load(small_graph)
    editor.look_at("VarifoldSampler", 0.6)
    x, y = editor.slot("VarifoldSchedule", "output", "sigmas")
    editor.page.mouse.click(x - 60, y - 12)
    editor.page.keyboard.press("Delete")
    editor.until("t.node('VarifoldSchedule') === undefined")
    editor.add("Noise Schedule", (x - 100, y + 330))
    assert editor.value("VarifoldSchedule", "curve") == "karras"
    editor.wire(("VarifoldLoadDenoiser", "denoiser"), ("VarifoldSchedule", "denoiser"))
    editor.wire(("VarifoldSchedule", "sigmas"), ("VarifoldSampler", "sigmas"))
    assert editor.wired("VarifoldSchedule", "denoiser") == "VarifoldLoadDenoiser"
    assert editor.wired("VarifoldSampler", "sigmas") == "VarifoldSchedule"
    editor.set("VarifoldSchedule", steps=3)
    assert editor.run() == "execution_success"


def test_a_schedule_is_drawn_by_mouse_and_walked_along_by_keyboard(editor, small_graph, shot):
    editor.load(small_graph)
    editor.look_at("VarifoldSchedule")
    curve = editor.page.locator(".varifold-curve")
    assert curve.locator(".handle").count() == 0
    editor.choose("VarifoldSchedule", "curve", "drawn")
    handles = curve.locator(".handle")
    handles.nth(2).wait_for()
    editor.curve_follows()
    assert editor.value("VarifoldSchedule", "points") == POINTS
    for number in range(3):  # of three steps, each begins at a point
        assert center(handles.nth(number)) == pytest.approx(center(curve.locator(".dot").nth(number)), abs=1)

    line = curve.locator(".line").get_attribute("points")
    x, y = center(handles.nth(1))
    editor.drag((x, y), (x + 40, y - 25))
    editor.curve_follows()
    points = json.loads(editor.value("VarifoldSchedule", "points"))
    assert len(points) == 3 and points[0] == [0, 80] and points[2] == [1, 0.002]
    assert points[1][0] > 0.55 and points[1][1] > 3
    assert center(handles.nth(1)) == pytest.approx((x + 40, y - 25), abs=2)
    assert curve.locator(".line").get_attribute("points") != line

    between = [(a + b) / 2 for a, b in zip(center(handles.nth(0)), center(handles.nth(1)), strict=True)]
    editor.page.mouse.click(*between)
    handles.nth(3).wait_for()
    editor.curve_follows()
    assert len(json.loads(editor.value("VarifoldSchedule", "points"))) == 4
    shot(editor.page, "four-points")
    editor.page.keyboard.down("Shift")
    editor.page.mouse.click(*center(handles.nth(1)))
    editor.page.keyboard.up("Shift")
    editor.curve_follows()
    assert json.loads(editor.value("VarifoldSchedule", "points")) == points

    curve.locator("svg").focus()
    for step in (0, 1):
        editor.page.keyboard.press("ArrowRight")
        assert curve.locator("output").inner_text().startswith(f"step {step}: σ ")
    seen = []
    for _ in range(2):
        editor.page.keyboard.press("Tab")
        seen.append(editor.page.locator(":focus").inner_text())
    assert seen == ["σ", "keep"]
    editor.page.keyboard.press("Enter")
    assert curve.locator(".kept").count() == 1
    (saved,) = (node for node in editor.graph()["nodes"] if node["type"] == "VarifoldSchedule")
    assert editor.value("VarifoldSchedule", "points") in saved["widgets_values"]
