"""The review sheet of a set that has just been made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from browser.editor import Editor

COUNT = 14  # samples: one page and two more
NODE = "VarifoldExportDataset"
SAMPLES = ".varifold-samples [role=option]"


class Sheet:
    """The sheet in Export Dataset, once the graph has run."""

    def __init__(self, editor: Editor, graph: Path):
        self.editor, self.page = editor, editor.page
        editor.load(graph)
        assert editor.run() == "execution_success"
        self.cells = self.page.locator(SAMPLES)
        self.cells.first.wait_for()
        editor.look_at(NODE, 0.9)
        # The sheet is at the foot of a tall node.
        editor.ask("(app.canvas.ds.offset[1] -= 420, app.canvas.setDirty(true, true))")
        editor.drawn()

    def labels(self) -> list[str]:
        return self.page.locator(".varifold-samples b").all_inner_texts()

    def standing(self, words: str) -> None:
        self.page.locator(".varifold-review output").get_by_text(words).first.wait_for()

    def button(self, name: str) -> None:
        self.page.locator(".varifold-review").get_by_role("button", name=name, exact=True).click()
