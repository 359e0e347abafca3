"""Workflows saved, and opened again: after a reload, and in another browser."""

from __future__ import annotations

import uuid

import pytest

pytestmark = pytest.mark.browser


def test_a_workflow_is_saved_and_opened_again(editor, make_editor, small_graph, url):
    name = f"mine {uuid.uuid4().hex[:6]}"
    editor.load(small_graph)
    editor.set("VarifoldSchedule", steps=17)
    editor.page.keyboard.press("Control+s")
    field = editor.page.get_by_role("dialog").get_by_role("textbox")
    field.fill(name)
    field.press("Enter")
    editor.until("app.extensionManager.workflow.activeWorkflow.isPersisted")
    assert editor.ask("app.extensionManager.workflow.activeWorkflow.isModified") is False

    editor.set("VarifoldSchedule", steps=18)
    editor.reload()
    assert editor.ask("app.extensionManager.workflow.activeWorkflow.filename") == name

    other = make_editor(url)
    other.page.keyboard.press("w")
    other.page.get_by_role("treeitem", name=name).click()
    other.until("app.extensionManager.workflow.activeWorkflow.filename === a[0]", name)
    other.until("t.widget('VarifoldSchedule', 'steps')?.value === 17")
