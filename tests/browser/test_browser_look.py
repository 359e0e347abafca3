"""How it looks and feels: both themes in both renderers, and fingers."""

from __future__ import annotations

import json

import pytest

from browser.editor import center
from browser.install import NEWEST
from browser.review import COUNT, NODE, SAMPLES, Sheet

pytestmark = pytest.mark.browser
RENDERERS = {"classic": {}, "nodes2": {"Comfy.VueNodes.Enabled": True}}
THEMES = {"dark": {}, "light": {"Comfy.ColorPalette": "light"}}
READABLE = 4.5  # WCAG 2.2, 1.4.3

# Words of our parts whose colour stands out too little from what is behind them: [words, contrast].
FAINT = """
() => {
  const painter = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour, under) => {
    painter.globalCompositeOperation = "copy";
    painter.fillStyle = under ?? "transparent";
    painter.fillRect(0, 0, 1, 1);
    painter.globalCompositeOperation = "source-over";
    painter.fillStyle = colour;
    painter.fillRect(0, 0, 1, 1);
    return [...painter.getImageData(0, 0, 1, 1).data];
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
    return window.LiteGraph.NODE_DEFAULT_BGCOLOR;
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const back = behind(element);
    const own = luminance(channels(element.namespaceURI.endsWith("svg") ? style.fill : style.color, back));
    const under = luminance(channels(back));
    return (Math.max(own, under) + 0.05) / (Math.min(own, under) + 0.05);
  };
  const told = [...document.querySelectorAll(".varifold *")].filter(
    (element) => element.checkVisibility() && [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim()),
  );
  return { words: told.length, faint: told.map((e) => [e.textContent, contrast(e)]).filter(([, c]) => c < LEAST) };
}
""".replace("LEAST", str(READABLE))


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("theme", THEMES)
def test_all_words_can_be_read(make_editor, studio, small_graph, shot, renderer, theme):
    editor = make_editor(studio(NEWEST, **RENDERERS[renderer], **THEMES[theme]))
    editor.load(small_graph)
    editor.set("VarifoldPrompt", text="hero robe zzz gold")
    editor.set("VarifoldSchedule", curve="drawn", steps=6)
    editor.page.locator(".varifold-words s").wait_for()
    editor.page.locator(".varifold-curve .handle").nth(2).wait_for()
    assert editor.run() == "execution_success"
    editor.page.locator(".varifold-report").wait_for()
    editor.look_at("VarifoldLoadDenoiser")
    editor.drawn()
    found = editor.page.evaluate(FAINT)
    shot(editor.page, "near")
    assert found["words"] > 20 and found["faint"] == []


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_finger_moves_a_point(make_editor, studio, small_graph, renderer):
    editor = make_editor(studio(NEWEST, **RENDERERS[renderer]), has_touch=True)
    editor.load(small_graph)
    editor.set("VarifoldSchedule", curve="drawn")
    editor.look_at("VarifoldSchedule")
    handle = editor.page.locator(".varifold-curve .handle").nth(1)
    handle.wait_for()
    editor.curve_follows()
    view = editor.ask("[...app.canvas.ds.offset, app.canvas.ds.scale]")
    x, y = center(handle)
    fingers = editor.page.context.new_cdp_session(editor.page)
    for kind, points in [
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x + 10, "y": y - 8}]),
        ("touchMove", [{"x": x + 20, "y": y - 15}]),
        ("touchEnd", []),
    ]:
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    editor.curve_follows()
    points = json.loads(editor.value("VarifoldSchedule", "points"))
    assert len(points) == 3 and points[1][0] > 0.55 and points[1][1] > 3
    assert center(handle) == pytest.approx((x + 20, y - 15), abs=2)
    assert editor.ask("[...app.canvas.ds.offset, app.canvas.ds.scale]") == view


@pytest.mark.parametrize(("renderer", "theme"), [("classic", "light"), ("nodes2", "dark")])
def test_a_finger_judges_samples_and_all_words_of_them_can_be_read(
    make_editor, studio, export_graph, shot, renderer, theme
):
    editor = make_editor(studio(NEWEST, **RENDERERS[renderer], **THEMES[theme]), has_touch=True)
    sheet = Sheet(editor, export_graph)
    where = editor.ask("[...t.node(a[0]).pos]", NODE)
    sheet.page.touchscreen.tap(*center(sheet.cells.nth(2)))
    editor.until("document.querySelectorAll(a[0])[2].ariaSelected === 'true'", SAMPLES)
    sheet.page.touchscreen.tap(*center(sheet.page.locator(".varifold-review").get_by_role("button", name="Reject")))
    sheet.standing(f"{COUNT - 1} in the set, 1 rejected")
    found = editor.page.evaluate(FAINT)
    shot(editor.page, "sheet")
    assert found["words"] > 20 and found["faint"] == []
    assert editor.ask("[...t.node(a[0]).pos]", NODE) == where
