"""What the Studio tells of its nodes, its models and the machine."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import varifold
from varifold.studio.registry import node_classes, node_names
from varifold.studio.server import about
from varifold.studio.server.socket import FEATURES

PACKAGE = Path(varifold.__file__).parent


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("node_id", node_classes())
async def test_a_node_is_told_as_its_class_declares_it(page, node_id):
    cls, title = node_classes()[node_id], node_names()[node_id]
    told = (await page.get("/api/object_info")).json[node_id]
    assert (await page.get(f"/api/object_info/{node_id}")).json == {node_id: told}
    inputs = cls.INPUT_TYPES()
    assert told["input"] == as_json(inputs)
    assert told["input_order"] == {group: list(names) for group, names in inputs.items()}
    assert told["output"] == as_json(list(cls.RETURN_TYPES))
    for name in ("output_name", "output_is_list", *(["output_tooltips"] if "output_tooltips" in told else [])):
        assert len(told[name]) == len(cls.RETURN_TYPES), name
    assert told["output_name"] == list(getattr(cls, "RETURN_NAMES", cls.RETURN_TYPES))
    assert told["output_node"] is getattr(cls, "OUTPUT_NODE", False)
    assert (told["name"], told["display_name"], told["category"]) == (node_id, title, cls.CATEGORY)
    assert told["description"] == getattr(cls, "DESCRIPTION", "")
    # The front end asks for web/docs/{node}.md of the pack after this dot.
    assert told["python_module"] == ("custom_nodes.varifold" if node_id.startswith("Varifold") else "nodes")


async def test_there_is_no_entry_for_a_node_that_is_not_there(page):
    assert (await page.get("/api/object_info/KSampler")).json == {}


async def test_load_image_offers_what_lies_in_the_input_folder_now(page):
    def pictures(answer):
        return answer.json["LoadImage"]["input"]["required"]["image"][0]

    assert pictures(await page.get("/api/object_info/LoadImage")) == []
    (page.home / "input" / "b.png").write_bytes(b"")
    (page.home / "input" / "notes.txt").write_bytes(b"")
    assert pictures(await page.get("/api/object_info/LoadImage")) == ["b.png"]


async def test_every_extension_is_a_script_that_is_there(page):
    scripts = (await page.get("/api/extensions")).json
    assert sorted(scripts) == sorted(
        f"/extensions/varifold/{path.relative_to(PACKAGE / 'web').as_posix()}"
        for path in (PACKAGE / "web").rglob("*.js")
    )
    for script in scripts:
        answer = await page.get(script)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/javascript")


async def test_every_node_of_the_pack_has_its_help(page):
    for node_id in varifold.NODE_CLASS_MAPPINGS:
        answer = await page.get(f"/extensions/varifold/docs/{node_id}.md")
        assert answer.status == 200 and answer.body.strip()


async def test_translations_join_the_files_of_a_language(page, tmp_path, monkeypatch):
    monkeypatch.setattr(about, "LOCALES", tmp_path / "locales")
    assert (await page.get("/api/i18n")).json == {}
    for name, content in (
        ("de/main.json", {"g": 1}),
        ("de/nodeDefs.json", {"n": 2}),
        ("fr/commands.json", {"c": 3}),
        ("de/other.json", {}),
    ):
        (tmp_path / "locales" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "locales" / name).write_text(json.dumps(content))
    assert (await page.get("/api/i18n")).json == {"de": {"g": 1, "nodeDefs": {"n": 2}}, "fr": {"commands": {"c": 3}}}


async def test_the_translations_that_come_along_can_be_told(page):
    assert isinstance((await page.get("/api/i18n")).json, dict)


async def test_denoisers_are_the_only_models(page, tmp_path):
    models = tmp_path / "models"
    (models / "mine").mkdir(parents=True)
    (tmp_path / "secret.safetensors").write_bytes(b"")
    save_file({"x": torch.zeros(2)}, models / "mine" / "a.safetensors", {"format": "pt", "title": "grün"})
    (models / "out.safetensors").symlink_to(tmp_path / "secret.safetensors")
    expected = {
        "/api/models": ["varifold"],
        "/api/models/varifold": ["mine/a.safetensors"],
        "/api/models/checkpoints": [],
        "/api/embeddings": [],
        "/api/experiment/models": [{"name": "varifold", "folders": [str(models)]}],
        "/api/experiment/models/varifold": [{"name": "mine/a.safetensors", "pathIndex": 0}],
        "/api/experiment/models/loras": [],
        "/internal/folder_paths": {"varifold": [str(models)]},
    }
    for path, told in expected.items():
        assert (await page.get(path)).json == told, path
    answer = await page.get("/api/view_metadata/varifold?filename=mine/a.safetensors")
    assert answer.json == {"format": "pt", "title": "grün"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("checkpoints?filename=a.safetensors", 404),
        ("varifold?filename=gone.safetensors", 404),
        ("varifold?filename=notes.txt", 404),
        ("varifold?filename=sub.safetensors", 404),
        ("varifold", 400),
        ("varifold?filename=", 400),
        ("varifold?filename=../secret.safetensors", 400),
        ("varifold?filename=/etc/passwd", 400),
        ("varifold?filename=out.safetensors", 400),
        ("varifold?filename=" + "x" * 300 + ".safetensors", 400),
    ],
)
async def test_models_that_cannot_be_told_of(page, tmp_path, path, status):
    models = tmp_path / "models"
    (models / "sub.safetensors").mkdir(parents=True)
    (models / "notes.txt").write_text("{}")
    save_file({"x": torch.zeros(2)}, tmp_path / "secret.safetensors", {"secret": "yes"})
    (models / "out.safetensors").symlink_to(tmp_path / "secret.safetensors")
    answer = await page.get(f"/api/view_metadata/{path}")
    assert answer.status == status and answer.json["error"]


DAMAGED = [
    b"",
    b"hello",
    struct.pack("<Q", 2**63),
    struct.pack("<Q", 10) + b"{",
    struct.pack("<Q", 2) + b"[]",
    struct.pack("<Q", 4) + b"\xff\xff{}",
    struct.pack("<Q", 90_000) + b"[" * 90_000,
    struct.pack("<Q", 19) + b'{"__metadata__": 7} ',
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:12]))
async def test_a_damaged_model_is_told_as_such(page, tmp_path, content):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.safetensors").write_bytes(content)
    answer = await page.get("/api/view_metadata/varifold?filename=a.safetensors")
    assert answer.status == 400 and "a.safetensors" in answer.json["error"]


async def test_features_are_those_that_the_websocket_tells(page):
    assert (await page.get("/api/features")).json == FEATURES


async def test_the_machine(page):
    told = (await page.get("/api/system_stats")).json
    assert 0 < told["system"]["ram_free"] <= told["system"]["ram_total"]
    assert told["system"]["pytorch_version"] == torch.__version__
    (device,) = told["devices"]
    assert (device["type"], device["index"]) == ("cuda" if torch.cuda.is_available() else "cpu", 0)
    assert 0 < device["vram_free"] <= device["vram_total"]


async def test_the_machine_where_it_does_not_tell_its_memory(page, monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = (await page.get("/api/system_stats")).json
    assert told["system"]["ram_total"] == told["devices"][0]["vram_total"] == 0


async def test_the_routes_of_things_that_are_not_here(page):
    for path, told in (
        ("/api/node_replacements", {}),
        ("/api/global_subgraphs", {}),
        ("/internal/logs", ""),
        ("/internal/logs/raw", {"entries": [], "size": {"cols": 80, "rows": 24}}),
    ):
        assert (await page.get(path)).json == told, path
    assert (await page.ask("PATCH", "/internal/logs/subscribe", json={"enabled": True})).status == 200


async def test_the_files_of_a_folder_are_told_newest_first(page):
    for age, name in enumerate(("new.png", "mid.png", ".hidden.png", "old.png")):
        path = page.home / "output" / name
        path.write_bytes(b"")
        os.utime(path, (1000 - age, 1000 - age))
    (page.home / "output" / "sub").mkdir()
    (page.home / "output" / "gone.png").symlink_to("nowhere")
    assert (await page.get("/internal/files/output")).json == ["new.png", "mid.png", "old.png"]
    assert (await page.get("/internal/files/input")).json == []
    assert (await page.get("/internal/files/user")).status == 400
