"""The pack in the real ComfyUI, in a folder of another name: it loads, quickly, and explains itself."""

import re

import pytest

pytestmark = pytest.mark.comfyui

NODES = {
    "VarifoldLoadDenoiser",
    "VarifoldPrompt",
    "VarifoldSchedule",
    "VarifoldSolver",
    "VarifoldGuidance",
    "VarifoldSampler",
    "VarifoldTrace",
    "VarifoldSheet",
    "VarifoldSamplePicture",
}


@pytest.fixture(scope="module")
def nodes(comfy_server):
    found = {name: info for name, info in comfy_server.object_info().items() if name.startswith("Varifold")}
    assert found, comfy_server.boot_log
    return found


def test_every_node_is_listed(nodes):
    assert set(nodes) >= NODES


def test_nodes_have_names_categories_descriptions_and_search_aliases(nodes):
    for name, info in nodes.items():
        assert info["display_name"].endswith("(Varifold)"), name
        assert info["category"].split("/")[0] == "Varifold", name
        assert info["description"], name
        assert info["search_aliases"], name


def test_every_input_has_a_tooltip(nodes):
    missing = [
        f"{name}.{key}"
        for name, info in nodes.items()
        for kind in ("required", "optional")
        for key, (_type, *options) in info["input"].get(kind, {}).items()
        if not (options and options[0].get("tooltip"))
    ]
    assert not missing


def test_every_output_has_a_tooltip(nodes):
    for name, info in nodes.items():
        tooltips = info.get("output_tooltips", ())
        assert len(tooltips) == len(info["output"]) == len(info["output_name"]), name
        assert all(tooltips), name


def test_the_pack_loads_quickly_and_without_a_traceback(comfy_server, capsys):
    log = comfy_server.boot_log
    imported = re.search(r"([\d.]+) seconds: .*99-some\.pack_copy", log)
    assert imported, log
    with capsys.disabled():
        print(f"\nComfyUI imported the pack in {imported[1]} s")
    assert float(imported[1]) < 1
    assert not re.findall(r'(?:File "|Cannot import ).*99-some\.pack_copy.*', log)
