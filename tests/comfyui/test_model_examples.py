"""The examples that draw with ComfyUI's own loaders: valid as they are, and run with small random models."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from comfyui.examples import (
    EXAMPLES,
    STAND_INS,
    files_of_models,
    foreign_nodes,
    prompt_of,
    saved_in_comfyui,
    with_stand_ins,
)

FOREIGN = {path.stem: path for path in EXAMPLES if path.stem in ("flux", "labelled_photos", "sdxl", "style_model")}
EACH = pytest.mark.parametrize("name", FOREIGN)
in_comfyui = pytest.mark.comfyui


def prompt_in_comfyui(server, name):
    return prompt_of(json.loads(FOREIGN[name].read_text()), server.object_info())


def drawn(server, prompt):
    """The pictures of a run with small models, and what each kind of node showed, in the order of their ids."""
    run = server.run(with_stand_ins(prompt), timeout=300)
    assert run.error is None, run.error
    shown = {}
    for node_id in sorted(run.outputs, key=int):
        shown.setdefault(prompt[node_id]["class_type"], []).append(run.outputs[node_id])
    return {name: np.asarray(picture, float) for name, picture in saved_in_comfyui(server, run).items()}, shown


def test_no_other_example_needs_comfyui():
    assert {path.stem for path in EXAMPLES if foreign_nodes(path)} == FOREIGN.keys()


@EACH
def test_varifold_run_says_which_nodes_only_comfyui_has(name, tmp_path):
    command = [sys.executable, "-m", "varifold", "run", str(FOREIGN[name])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    told = re.findall(r"(\w+)(?:,| \()\W*id \d+\) is part of ComfyUI itself; run this workflow there", done.stderr)
    assert set(told) == set(foreign_nodes(FOREIGN[name]))


@in_comfyui
@EACH
def test_comfyui_takes_it_as_it_is_and_looks_for_the_files(comfy_server, name):
    prompt = prompt_in_comfyui(comfy_server, name)
    with files_of_models(comfy_server):
        error = comfy_server.run(prompt).error
    assert error["node_type"] in STAND_INS, error


@in_comfyui
def test_sdxl_draws_four_drafts_and_one_more(comfy_server):
    pictures, shown = drawn(comfy_server, prompt_in_comfyui(comfy_server, "sdxl"))
    assert pictures.keys() == {"varifold/sdxl 0", *(f"varifold/sdxl_draft {number}" for number in range(4))}
    assert all(picture.shape == (128, 128, 3) and picture.std() > 5 for picture in pictures.values())
    reports = ["10 steps, 10 evaluations, guidance 6", "30 steps, 30 evaluations, guidance 6"]
    check_reports(shown["VarifoldSampler"], reports)
    check_strip(shown, steps=10)


@in_comfyui
def test_the_one_more_of_sdxl_is_the_third_draft_alone(comfy_server):
    """It is another only for the steps that it has."""
    prompt = prompt_in_comfyui(comfy_server, "sdxl")
    drafts, fine = (node["inputs"] for node in prompt.values() if node["class_type"] == "VarifoldSampler")
    fine["sigmas"] = drafts["sigmas"]
    pictures, _ = drawn(comfy_server, prompt)
    drafts = [pictures[f"varifold/sdxl_draft {number}"] for number in range(4)]
    apart = [np.abs(draft - pictures["varifold/sdxl 0"]) for draft in drafts]
    assert apart[2].max() <= 2 and min(apart[number].mean() for number in (0, 1, 3)) > 10


@in_comfyui
def test_flux_draws(comfy_server):
    pictures, shown = drawn(comfy_server, prompt_in_comfyui(comfy_server, "flux"))
    (picture,) = pictures.values()
    assert picture.shape == (128, 128, 3) and picture.std() > 5
    check_reports(shown["VarifoldSampler"], ["12 steps, 12 evaluations, guidance 1"])
    check_strip(shown, steps=12)


@in_comfyui
def test_style_model_draws_in_the_style_and_without_it(comfy_server):
    pictures, _ = drawn(comfy_server, prompt_in_comfyui(comfy_server, "style_model"))
    assert pictures.keys() == {"varifold/style_model 0", "varifold/style_model_without 0"}
    assert all(picture.shape == (128, 128, 3) and picture.std() > 5 for picture in pictures.values())
    assert np.abs(np.subtract(*pictures.values())).mean() > 10


@in_comfyui
def test_both_of_style_model_are_the_same_but_for_the_style(comfy_server):
    prompt = prompt_in_comfyui(comfy_server, "style_model")
    (styled,) = (node["inputs"] for node in prompt.values() if node["class_type"] == "VarifoldStyleModel")
    styled["strength"] = 0.0
    pictures, _ = drawn(comfy_server, prompt)
    assert np.array_equal(*pictures.values())


def check_reports(samplers, expected):
    """What each Sampler says, and the error of each of its steps but the last, which nothing is held against."""
    for sampler, report in zip(samplers, expected, strict=True):
        assert report in sampler["text"][0]
        *errors, last = sampler["varifold_errors"]
        assert len(errors) == int(report.split()[0]) - 1 and min(errors) > 0 and last is None


def check_strip(shown, steps):
    (trace,), (preview,) = shown["VarifoldTrace"], shown["PreviewImage"]
    assert trace["varifold_trajectory"][0]["evaluations"] == list(range(1, steps + 1))
    assert len(preview["images"]) == 1
