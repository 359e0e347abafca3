"""Measure Dataset in the browser: its figures as bars, beside those of real pictures."""

from __future__ import annotations

import re

import pytest

from browser.install import NEWEST
from browser.test_browser_look import FAINT, RENDERERS, THEMES

pytestmark = pytest.mark.browser
MEASURES = ["FD-layout-edges", "KD-layout-edges", "precision", "recall", "density", "coverage", "diversity"]
DIGITS = r"-?[\d.e+-]+ ± [\d.e+-]+"
# A batch of 20 pictures is measured beside itself.
ADD = """\
(() => {
  const node = window.LiteGraph.createNode("VarifoldMeasureDataset");
  node.pos = [-500, 0];
  app.graph.add(node);
  const drawn = t.node("VarifoldSampler");
  const image = drawn.findOutputSlot("image");
  drawn.connect(image, node, node.findInputSlot("real"));
  drawn.connect(image, node, node.findInputSlot("synthetic"));
  t.set("VarifoldSampler", "batch", 20);
})()
"""


def measured(make_editor, studio, small_graph, **settings):
    editor = make_editor(studio(NEWEST, **settings))
    editor.load(small_graph)
    editor.ask(ADD)
    editor.look_at("VarifoldMeasureDataset")
    assert editor.run() == "execution_success"
    editor.page.locator(".varifold-measures tbody").first.wait_for()
    editor.drawn()
    return editor


@pytest.mark.parametrize(("renderer", "theme"), list(zip(RENDERERS, THEMES, strict=True)))
def test_each_measure_has_its_bar_and_that_of_real_pictures(make_editor, studio, small_graph, renderer, theme):
    editor = measured(make_editor, studio, small_graph, **RENDERERS[renderer], **THEMES[theme])
    figures = editor.page.locator(".varifold-measures tbody")
    assert figures.locator("th").all_inner_texts() == MEASURES
    assert "102 features need 103" in figures.nth(0).inner_text() and figures.nth(0).locator("svg").count() == 0
    node = editor.page.locator(".varifold-measures").bounding_box()
    for number in range(1, len(MEASURES)):
        figure = figures.nth(number)
        made, real = (figure.locator("td").nth(column) for column in (0, 1))
        assert re.fullmatch(DIGITS, made.get_attribute("title")) and re.fullmatch(DIGITS, real.get_attribute("title"))
        track, floor, digits = (figure.locator(part).bounding_box() for part in ("svg", ".floor", "td >> nth=1"))
        assert track["x"] - 2 <= floor["x"] <= track["x"] + track["width"] + 2
        assert digits["x"] + digits["width"] <= node["x"] + node["width"] + 1, "it does not fit into the node"
    notes = editor.page.locator(".varifold-measures .varifold-report").inner_text()
    assert "pictures: real 20, synthetic 20" in notes and "precision:" not in notes
    assert editor.page.evaluate(FAINT)["faint"] == []
