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
    return {name: info for name, info in comfy_server.object_info().items() if name.startswith("Varifold")}


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


def test_the_pack_loads_quickly_and_without_a_traceback(comfy_server, record_property):
    log = comfy_server.boot_log
    (seconds,) = re.findall(r"([\d.]+) seconds: .*99-some pack\.copy", log)
    record_property("import_seconds", seconds)
    print(f"ComfyUI imported the pack in {seconds} s")
    assert float(seconds) < 1
    assert not re.findall(r'(?:File "|Cannot import ).*99-some pack\.copy.*', log)
