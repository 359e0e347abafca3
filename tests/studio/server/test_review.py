"""The review sheet's questions, asked of the Studio: they change the set that a run made, for its own page alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from server_page import Page
from small_sets import add, key
from studio_graphs import api

from varifold.dataset import store

EXPORT = {
    "folder": "sets/mine",
    "labels": "hero",
    "captions": "",
    "masks_are": "objects",
    "formats": "imagefolder",
    "splits": "train: 80, val: 10, test: 10",
    "quotas": "",
    "filters": "",
    "picture_files": "png",
    "with_workflow": True,
    "licence": "",
    "author": "",
}
GRAPH = api(
    n1=("VarifoldSamplePicture", {"which": "hero (transparent)"}),
    n2=("VarifoldExportDataset", {"images": ["1", 0]} | EXPORT),
)


async def ask(page: Page, name: str, **question: object) -> dict:
    answer = await page.post(f"/api/varifold/{name}", json={"folder": "sets/mine", **question})
    assert answer.status == 200, answer.body
    return answer.json


def kinds(page: Page) -> list[str]:
    path = page.home / "output" / "sets" / "mine" / "ledger.jsonl"
    return [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]


@pytest.fixture
def made(page) -> Path:
    """A set of eight samples that nobody is writing."""
    folder = page.home / "output" / "sets" / "mine"
    with store.open(folder) as opened:
        for number in range(8):
            add(opened, number)
    return folder


async def test_a_run_is_reviewed_and_the_next_one_keeps_to_it(page):
    told = (await page.run(GRAPH))["outputs"]["2"]
    assert told["varifold_set"] == ["sets/mine"]
    (sample,) = (await ask(page, "review"))["samples"]
    assert (sample["label"], sample["split"], sample["rejected"]) == ("hero", "train", None)
    before = len(kinds(page))
    assert (await ask(page, "relabel", id=sample["id"], label="king", was="hero"))["outdated"] == ["imagefolder"]
    assert (await ask(page, "reject", id=sample["id"]))["live"] == 0
    assert (await ask(page, "restore", id=sample["id"]))["sample"]["label"] == "king"
    assert kinds(page)[before:] == ["name", "relabel", "reject", "restore"]

    told = (await page.run(GRAPH))["outputs"]["2"]
    assert "1 there already" in told["text"][0] and "king 1" in told["text"][0]
    assert (await ask(page, "review"))["outdated"] == []
    folders = page.home / "output" / "sets" / "mine" / "views" / "imagefolder" / "train"
    assert [path.name for path in folders.iterdir() if path.is_dir()] == ["king"]


async def test_clicks_at_once_are_all_recorded(page, made):
    answers = await asyncio.gather(*(ask(page, "reject", id=key(number).id) for number in range(8)))
    assert not [answer for answer in answers if "error" in answer]
    assert (await ask(page, "review"))["live"] == 0 and kinds(page).count("reject") == 8


async def test_a_set_that_another_writes_is_told_in_words(page, made):
    with store.open(made):
        assert "is being written by process" in (await ask(page, "reject", id=key(0).id))["error"]
    assert kinds(page).count("reject") == 0


@pytest.mark.parametrize("folder", ["../beside", "link", "C:\\x", "", "sets/mine/views", "\ud800", "x" * 300])
async def test_no_name_leads_elsewhere(page, made, tmp_path, folder):
    with store.open(tmp_path / "beside") as opened:
        add(opened, 1)
    (page.home / "output" / "link").symlink_to(tmp_path / "beside")
    before = (tmp_path / "beside" / "ledger.jsonl").read_bytes()
    for name in ("review", "reject", "relabel", "rebuild"):
        assert (await ask(page, name, folder=folder, id=key(1).id, label="x"))["error"]
    assert (tmp_path / "beside" / "ledger.jsonl").read_bytes() == before


async def test_another_page_changes_nothing(page, made):
    question = json.dumps({"folder": "sets/mine", "id": key(0).id})
    for headers in (
        {"Origin": "http://evil.example", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example"},
    ):
        assert (await page.post("/api/varifold/reject", data=question, headers=headers)).status == 403
    assert kinds(page).count("reject") == 0
