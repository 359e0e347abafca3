"""`varifold run` from the outside: files in, exit codes and pictures out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from studio_graphs import NODES, api, ui_graph, ui_node

from varifold.__main__ import main
from varifold.studio.host import StudioHost, safetensors_in
from varifold.studio.prefix import fill_prefixes, format_date
from varifold.studio.runner import run_file


def colours(seed=1, batch=2, prefix="shot"):
    return api(
        n1=("Colour", {"seed": seed, "batch": batch}),
        n2=("SaveImage", {"images": ["1", 0], "filename_prefix": prefix}),
    )


def colours_ui():
    return ui_graph(
        [
            ui_node(1, "Colour", [1, "randomize", 1], [], ["IMAGE"], title="paint"),
            ui_node(2, "SaveImage", ["shot"], [("images", "IMAGE", 5)], ["IMAGE"]),
        ],
        [[5, 1, 0, 2, 0, "IMAGE"]],
    )


def write(folder, document, name="graph.json"):
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return name


def texts(path):
    with Image.open(path) as picture:
        return {key: json.loads(text) for key, text in picture.text.items()}


def test_api_form(pack, capsys):
    assert main(["run", write(pack, colours())]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == [os.path.join("output", f"shot_0000{n}_.png") for n in (1, 2)]
    assert lines[2].startswith("2 files in ")
    assert "[1/2] Colour (id 1)" in err and "[2/2] SaveImage (id 2)" in err and "\x1b" not in err
    assert texts(pack / "output/shot_00001_.png") == {"prompt": colours()}


def test_ui_form_and_the_picture_gives_the_graph_back(pack, capsys):
    assert main(["run", write(pack, colours_ui()), "--output", "out"]) == 0
    found = texts(pack / "out/shot_00001_.png")
    assert found["workflow"] == colours_ui()
    assert found["prompt"]["1"] == {
        "class_type": "Colour",
        "inputs": {"seed": 1, "batch": 1},
        "_meta": {"title": "paint"},
    }
    assert found["prompt"]["2"]["_meta"] == {"title": "Save Image"}
    assert main(["run", "out/shot_00001_.png", "--output", "again"]) == 0
    first, second = ((pack / name / "shot_00001_.png").read_bytes() for name in ("out", "again"))
    assert first == second


@pytest.mark.parametrize("target", ["1", "paint", "Colour"])
def test_set_changes_the_run_and_the_workflow_in_the_picture(pack, target):
    assert main(["run", write(pack, colours_ui()), "--set", f"{target}.seed=77", "--set", "2.filename_prefix=7"]) == 0
    found = texts(pack / "output/7_00001_.png")
    assert found["prompt"]["1"]["inputs"]["seed"] == 77
    assert found["workflow"]["nodes"][0]["widgets_values"] == [77, "randomize", 1]
    assert found["workflow"]["nodes"][1]["widgets_values"] == ["7"]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("nonsense", "NODE.INPUT=VALUE"),
        ("1=2", "NODE.INPUT=VALUE"),
        ("9.seed=1", "no node is called '9'. There are:\n  Colour (id 1)"),
        ("1.sead=1", "has no input 'sead'; it has seed, batch"),
        ("1.seed=many", "'seed' wants a whole number"),
        ("1.seed=1.5", "'seed' wants a whole number"),
        ("1.seed=true", "'seed' wants a whole number"),
        ("2.images=1", "is fed by node 1"),
    ],
)
def test_settings_that_do_not_fit(pack, capsys, setting, reason):
    assert main(["run", write(pack, colours()), "--set", setting]) == 2
    assert reason in capsys.readouterr().err


def test_settings_of_ambiguous_names(pack, capsys):
    prompt = colours() | {"3": {"class_type": "Colour", "inputs": {}}}
    assert main(["run", write(pack, prompt), "--set", "Colour.seed=1"]) == 2
    assert "several nodes; use an id: 1, 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["run"], ["run", "x", "--shard", "2/2"], ["run", "x", "--shard", "a"], ["studio", "--listen", ""]],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: varifold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[]", "no workflow"),
        ("{}", "no workflow"),
        ("[" * 100_000, "nested too deep"),
        ("9" * 5000, "is not JSON"),
        ('{"a": 1}', "no workflow"),
        ('{"nodes": []}', "no outputs"),
        ('{"nodes": [1, null], "links": 3, "definitions": []}', "no outputs"),
        ('{"1": {"class_type": "Colour", "inputs": []}}', "node '1' should be an object"),
        ('{"1": {"class_type": 5}}', "node '1' has no class_type"),
        ('{"1": {"class_type": "SaveImage"}}', "Required input is missing: images"),
        ('{"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": ""}}}', "cycle"),
        ('{"1": {"class_type": "Foreign"}}', "Node 'Foreign' not found"),
    ],
)
def test_bad_files_are_explained(pack, capsys, content, reason):
    assert main(["run", write(pack, content)]) == 1
    err = capsys.readouterr().err
    assert reason in err and "Traceback" not in err
    assert sorted(os.listdir(pack)) == ["graph.json"]


def test_missing_files_folders_and_plain_pictures(pack, capsys):
    Image.new("RGB", (2, 2)).save("plain.png")
    (pack / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    for name, reason in (
        ("no.json", "cannot read"),
        (".", "cannot read"),
        ("plain.png", "no workflow in it"),
        ("cut.png", "damaged"),
    ):
        assert main(["run", name]) == 1
        assert reason in capsys.readouterr().err


def test_body_of_post_prompt(pack):
    body = {"prompt": colours(), "extra_data": {"extra_pnginfo": {"workflow": colours_ui()}}}
    assert main(["run", write(pack, body)]) == 0
    assert texts(pack / "output/shot_00001_.png")["workflow"] == colours_ui()


def test_api_files_with_what_comfyui_leaves_in_them(pack):
    prompt = colours()
    prompt["1"]["is_changed"] = [float("nan")]
    prompt["2"]["inputs"]["images"] = [1, 0]
    assert main(["run", write(pack, prompt)]) == 0
    assert texts(pack / "output/shot_00001_.png")["prompt"] == colours()


def test_some_outputs_left_out(pack, capsys):
    prompt = colours() | {"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
    assert main(["run", write(pack, prompt)]) == 1
    out, err = capsys.readouterr()
    assert "2 files in" in out
    assert "some outputs were left out:\nnode SaveImage (id 9): Required input is missing: images" in err


def test_node_errors(pack, capsys):
    name = write(pack, api(n1=("Broken", {"value": 1}), n2=("Show", {"anything": ["1", 0]})))
    assert main(["run", name]) == 1
    err = capsys.readouterr().err
    assert "error: node Broken (id 1): the wheel fell off" in err and "Traceback" not in err
    assert main(["run", name, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_graph_without_a_sweep_has_no_parts(pack, capsys):
    assert main(["run", write(pack, colours()), "--shard", "1/3"]) == 2
    assert "no Sweep divides the work of this workflow" in capsys.readouterr().err
    assert main(["run", "graph.json", "--shard", "0/1"]) == 0


def test_ctrl_c_stops_at_the_next_step(pack, capsys, monkeypatch):
    from varifold.nodes import host

    def busy(self, seed, batch):
        os.kill(os.getpid(), signal.SIGINT)
        bar = host.current().progress(10**6)
        for step in range(10**6):
            host.current().check_cancelled()
            bar.update(step)
        return (torch.zeros(1, 2, 2, 3),)

    monkeypatch.setitem(NODES, "Colour", type("Busy", (NODES["Colour"],), {"run": busy}))
    before = signal.getsignal(signal.SIGINT)
    assert main(["run", write(pack, colours())]) == 130
    assert "cancelled" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert not (pack / "output").exists()


def test_pictures_to_load_may_lie_beside_the_graph(pack):
    there = pack / "there"
    there.mkdir()
    Image.new("RGB", (7, 7)).save(there / "mine.png")
    prompt = api(n1=("LoadImage", {"image": "mine.png"}), n2=("PreviewImage", {"images": ["1", 0]}))
    report = run_file(there / write(there, prompt), output=pack / "o")
    assert [path.parent for path in report.files] == [pack / "o/temp"]
    assert sorted(os.listdir(pack)) == ["o", "there"]


def test_front_end_marks_in_prefixes():
    prompt = colours(seed=5, prefix="%date:yyyy-MM-dd%/%Colour.seed%_%paint.batch%_%width%_%What.ever%_%date:d.M.yy%")
    prompt["1"]["_meta"] = {"title": "paint"}
    fill_prefixes(prompt, datetime(2024, 3, 9, 14, 5, 6))
    assert prompt["2"]["inputs"]["filename_prefix"] == "2024-03-09/5_2_%width%_%What.ever%_9.3.24"
    assert format_date("hh:mm:ss h:m:s", datetime(2024, 3, 9, 14, 5, 6)) == "14:05:06 14:5:6"


def test_models_folder_keeps_to_itself(tmp_path, monkeypatch):
    models = tmp_path / "models"
    (models / "sub").mkdir(parents=True)
    for path in (models / "a.safetensors", models / "sub/b.safetensors", models / "c.ckpt", tmp_path / "x.safetensors"):
        path.touch()
    (models / "out.safetensors").symlink_to(tmp_path / "x.safetensors")
    (models / "in.safetensors").symlink_to(models / "a.safetensors")
    assert list(safetensors_in(models)) == ["a.safetensors", "in.safetensors", "sub/b.safetensors"]
    monkeypatch.setenv("VARIFOLD_MODELS", str(models))
    assert StudioHost().denoiser_files()["sub/b.safetensors"] == str(models / "sub/b.safetensors")
    assert safetensors_in(tmp_path / "nothing") == {}


def test_host_loads_and_wraps(monkeypatch):
    class Denoiser:
        net = torch.nn.Linear(1, 1)

    host = StudioHost()
    host.load(Denoiser())
    assert host.device().type in ("cpu", "cuda") and Denoiser.net.weight.device.type == host.device().type
    assert host.sampler(len).sampler_function is len


def test_the_studio_itself_imports_no_torch():
    code = """
import sys, types
for name, path in (("varifold", "."), ("varifold.nodes", "nodes")):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [path]
import varifold.__main__, varifold.studio.runner
print("torch" in sys.modules)
"""
    repository = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
