"""Sweep in the browser: all its chunks are queued at once, and the set is full."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

CHUNKS = 4  # two labels, two pictures each, one at a time
# Sweep and Export Dataset beside the nodes of a small graph, wired; the folder of the set is given.
ADD = """\
(([folder]) => {
  const add = (type, left) => {
    const node = window.LiteGraph.createNode(type);
    node.pos = [left, 0];
    app.graph.add(node);
    return node;
  };
  const [sweep, set] = [add("VarifoldSweep", -1000), add("VarifoldExportDataset", -550)];
  const drawn = t.node("VarifoldSampler");
  const wire = (source, output, target, input) =>
    source.connect(source.findOutputSlot(output), target, target.findInputSlot(input));
  wire(sweep, "prompt", t.node("VarifoldPrompt"), "text");
  wire(sweep, "seed", drawn, "seed");
  wire(sweep, "batch", drawn, "batch");
  wire(drawn, "image", set, "images");
  wire(drawn, "mask", set, "masks");
  wire(sweep, "labels", set, "labels");
  t.set("VarifoldSweep", "labels", "sword\\nshield");
  t.set("VarifoldSweep", "quota", 2);
  t.set("VarifoldSweep", "chunk", 1);
  t.set("VarifoldExportDataset", "folder", folder);
  t.set("VarifoldExportDataset", "masks_are", "transparency");
  t.set("VarifoldExportDataset", "filters", "");
})(a)
"""


def run(editor, times: int) -> str:
    """Queue the workflow so often at once, as its user does; what the nodes tell at the end."""
    count = editor.page.locator(".batch-count input")
    count.fill(str(times))
    count.press("Enter")
    editor.press_run()
    editor.until("t.heard.filter((kind) => kind === 'execution_success').length === a[0]", times, seconds=120)
    assert "execution_error" not in editor.heard()
    return "\n".join(editor.page.locator(".varifold-report").all_inner_texts())


def test_all_chunks_are_queued_at_once_and_where_they_were_stopped_they_go_on(editor, small_graph):
    editor.load(small_graph)
    editor.ask(ADD, "varifold/swept in the browser")
    editor.look_at("VarifoldSweep")
    told = run(editor, CHUNKS)
    assert editor.value("VarifoldSweep", "index") == CHUNKS
    assert f"chunk {CHUNKS} of {CHUNKS}: 1 picture of shield" in told
    assert "the set: 4 samples: shield 2, sword 2" in told and "built: imagefolder, coco, card" in told

    told = run(editor, 1)
    assert f"chunk 1 of {CHUNKS}, once more: 1 picture of sword" in told and "the set: 5 samples" in told

    editor.set("VarifoldExportDataset", folder="varifold/stopped in the browser")
    editor.set("VarifoldSweep", index=0)
    assert "the set: 2 samples" in run(editor, 2)
    editor.set("VarifoldSweep", index=2)
    told = run(editor, 2)
    assert "the set: 4 samples: shield 2, sword 2" in told and "built: imagefolder, coco, card" in told
    editor.page.locator(".varifold-review").get_by_text("4 in the set").first.wait_for()
