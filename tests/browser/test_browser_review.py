"""The review sheet in Export Dataset: what is clicked and typed in it is in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_sets import add

from browser.install import NEWEST
from browser.review import COUNT, NODE, SAMPLES, Sheet
from varifold.dataset import store
from varifold.dataset.marks import Mark

pytestmark = pytest.mark.browser


def entries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_bytes().splitlines()]


def folder_of(page: object) -> Path:
    """Where the report says that the set is."""
    return Path(page.locator(".varifold-report").filter(has_text="this run").inner_text().rpartition("\nin ")[2])


def test_samples_are_rejected_relabelled_and_the_formats_rebuilt(editor, export_graph):
    sheet = Sheet(editor, export_graph)
    nodes, saved = editor.ask("app.graph.nodes.length"), editor.graph()
    folder = folder_of(editor.page)
    before = entries(folder)
    ids = [entry["id"] for entry in before if entry["kind"] == "sample"][::-1]
    assert sheet.labels() == ["knight", "hero"] * 6

    sheet.cells.nth(1).click()
    sheet.button("Reject")
    sheet.standing(f"{COUNT - 1} in the set, 1 rejected")
    assert sheet.page.locator(".varifold-samples .rejected").count() == 1
    sheet.page.keyboard.press("Tab")
    sheet.cells.nth(2).click()
    sheet.page.keyboard.press("Delete")
    sheet.standing(f"{COUNT - 2} in the set, 2 rejected")
    sheet.page.keyboard.press("Delete")
    sheet.standing(f"{COUNT - 1} in the set, 1 rejected")

    sheet.page.keyboard.press("ArrowRight")
    sheet.page.keyboard.press("Enter")
    sheet.page.keyboard.type("queen")
    sheet.page.keyboard.press("Enter")
    sheet.page.locator(".varifold-samples b").get_by_text("queen").wait_for()
    sheet.page.keyboard.press("ArrowRight")
    sheet.page.locator(".chips").get_by_role("button", name="queen").click()
    editor.until("document.querySelectorAll(a[0])[4].textContent.startsWith('queen')", SAMPLES)

    done = [(entry["kind"], entry["id"]) for entry in entries(folder)[len(before) :] if entry["kind"] != "name"]
    assert done == [
        ("reject", ids[1]),
        ("reject", ids[2]),
        ("restore", ids[2]),
        *[("relabel", ids[3])] * 2,  # the picture, and the object in it
        *[("relabel", ids[4])] * 2,
    ]
    assert {entry["label"] for entry in entries(folder) if entry["kind"] == "relabel"} == {"queen"}

    sheet.standing("out of date: imagefolder")
    sheet.button("Rebuild")
    editor.until(
        "![...document.querySelectorAll('.varifold-review output')].some((e) => /of date|building/.test(e.textContent))"
    )
    pictures = list((folder / "views" / "imagefolder").rglob("*.png"))
    assert len(pictures) == COUNT - 1 and len([path for path in pictures if path.parent.name == "queen"]) == 2

    assert editor.ask("app.graph.nodes.length") == nodes, "Delete reached the canvas"
    assert editor.graph()["nodes"] == saved["nodes"], "what is judged is not in the workflow"


def test_pages_are_turned_by_buttons_and_keys_and_what_goes_wrong_is_said(make_editor, studio, export_graph):
    editor = make_editor(studio(NEWEST))
    sheet = Sheet(editor, export_graph)
    sheet.button("›")
    editor.until("document.querySelectorAll(a[0]).length === 2", SAMPLES)
    sheet.cells.first.click()
    sheet.page.keyboard.press("ArrowLeft")
    editor.until("document.querySelectorAll(a[0])[11]?.ariaSelected === 'true'", SAMPLES)
    sheet.page.keyboard.press("PageDown")
    editor.until("document.querySelectorAll(a[0]).length === 2", SAMPLES)
    field = sheet.page.get_by_label("page", exact=True)
    field.fill("1")
    field.press("Enter")
    editor.until("document.querySelectorAll(a[0]).length === 12", SAMPLES)

    sheet.cells.first.click()
    sheet.page.keyboard.press("Enter")
    sheet.page.keyboard.type("   ")
    sheet.page.keyboard.press("Enter")
    error = sheet.page.locator(".varifold-review output.error")
    error.get_by_text("a label needs a letter").wait_for()
    folder = folder_of(editor.page)
    folder.rename(folder.with_name(f"{folder.name}-gone"))
    sheet.button("Reject")
    error.get_by_text("there is no set in").wait_for()
    assert not folder.exists()

    with store.open(folder) as opened:
        marks = [Mark("tile", box=(0, 0, 24, 24)), Mark("tile", box=(12, 12, 8, 8)), Mark("hero", box=(0, 0, 6, 6))]
        add(opened, 1, label=None, marks=marks)
    editor.ask("t.node(a[0]).onExecuted({ text: [''], varifold_set: [a[1]] })", NODE, folder.name)
    sheet.standing("1 in the set, 0 rejected")
    assert sheet.page.locator(".varifold-samples u").count() == 2, "all that are labelled tile"
    box = sheet.cells.first.locator("figure div").bounding_box()
    sheet.page.mouse.click(box["x"] + 0.66 * box["width"], box["y"] + 0.66 * box["height"])
    chosen = sheet.page.get_by_label("what to relabel").locator("option:checked")
    assert chosen.inner_text() == "object 2: tile" and sheet.page.locator(".varifold-samples u").count() == 1
    sheet.page.locator(".chips").get_by_role("button", name="hero").click()
    editor.until("document.querySelector('select option:checked').textContent === 'object 2: hero'")
    with store.open(folder, write=False) as opened:
        assert [each.label for each in next(opened.samples()).instances] == ["tile", "hero", "hero"]
