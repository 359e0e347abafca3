"""Runs: their progress, previews and pictures, their cancelling, and what is said when they cannot go on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from browser.editor import contents

pytestmark = pytest.mark.browser


def test_a_run_shows_progress_previews_and_a_picture_that_gives_its_graph_back(editor, small_graph, tmp_path):
    editor.load(small_graph)
    editor.set("VarifoldSchedule", steps=5)
    ran = contents(editor.graph())
    assert editor.run() == "execution_success"
    heard = editor.heard()
    assert heard.count("progress") >= 5 and heard.count("b_preview_with_metadata") >= 2
    for node in ("VarifoldSampler", "SaveImage"):
        editor.until("t.node(a[0]).imgs?.[0]?.naturalWidth > 0", node)
    report = editor.page.locator(".varifold-report").inner_text()
    assert "1 picture of 32×32" in report and "5 steps" in report

    content = editor.page.request.get(editor.ask("t.node('SaveImage').imgs[0].src")).body()
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert pixels.std() > 5
    picture = tmp_path / "drawn.png"
    picture.write_bytes(content)
    editor.set("VarifoldSchedule", steps=9)
    editor.drop(picture)
    editor.until("app.extensionManager.workflow.activeWorkflow.filename === 'drawn'")
    editor.until("t.widget('VarifoldSchedule', 'steps')?.value === 5")
    assert contents(editor.graph()) == ran


def test_a_run_is_cancelled_and_the_next_one_runs(editor, small_graph):
    editor.load(small_graph)
    editor.set("VarifoldSchedule", steps=1000)
    editor.press_run()
    editor.until("t.heard.includes('b_preview_with_metadata')")
    editor.page.get_by_role("button", name="Cancel current run").click()
    assert editor.ended() == "execution_interrupted"
    assert 0 < editor.heard().count("progress") < 1000
    editor.set("VarifoldSchedule", steps=2)
    assert editor.run() == "execution_success"


def test_what_is_wrong_is_said_where_it_is(editor, small_graph, broken_graph):
    editor.load(broken_graph)
    assert "missing" in editor.notice().lower()

    editor.load(small_graph)
    editor.ask("(() => { const n = t.node('VarifoldSampler'); n.disconnectInput(n.findInputSlot('sigmas')); })()")
    editor.press_run()
    editor.until("app.graph.nodes.some((node) => node.has_errors)")
    assert editor.ask("app.graph.nodes.filter((node) => node.has_errors).map((node) => node.type)") == [
        "VarifoldSampler"
    ]
    assert editor.ask("t.node('VarifoldSampler').inputs.filter((i) => i.hasErrors).map((i) => i.name)") == ["sigmas"]
    assert "equired input" in editor.notice()
    refused = [
        complaint for complaint in editor.complaints if "400" in complaint or "PromptExecutionError" in complaint
    ]
    assert len(refused) == len(editor.complaints) == 3  # the request, the console on it, and the front end on it
    editor.complaints.clear()

    editor.load(small_graph)
    editor.set("VarifoldPrompt", text="hero zzz", unknown="error")
    assert editor.run() == "execution_error"
    assert editor.ask("app.extensionManager.lastExecutionError.node_type") == "VarifoldPrompt"
    assert "does not know the word 'zzz'" in editor.ask("app.extensionManager.lastExecutionError.exception_message")
