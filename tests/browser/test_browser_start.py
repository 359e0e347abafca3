"""The Studio's page when it opens for the first time."""

from __future__ import annotations

import pytest

from browser.install import LOWEST, NEWEST

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("version", [LOWEST, NEWEST])
def test_it_begins_with_the_first_example_and_asks_no_other_machine(make_editor, studio, version):
    address = studio(version)
    editor = make_editor(address)
    assert editor.ask("app.extensionManager.workflow.activeWorkflow.filename") == "first_picture"
    assert editor.value("VarifoldPrompt", "text").startswith("hero")
    assert editor.notices() == []
    assert len(editor.requests) > 20
    assert [url for url in editor.requests if not url.startswith((address, "data:", "blob:"))] == []
