"""The nodes that train in the real ComfyUI: what they make, cancelling, going on, and the memory given back."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from comfyui.graphs import failure, node
from comfyui.test_from_model_running import alive
from PIL import Image

from varifold.models.train import run as training
from varifold.nodes import NODE_CLASS_MAPPINGS

pytestmark = pytest.mark.comfyui

IMAGES, BATCH, SIDE = 160, 16, 8
RUN = {"images": IMAGES, "batch": BATCH, "pictures": ["pictures", 0]}
TRAININGS = {
    "denoiser": ("VarifoldTrainDenoiser", {"size": "tiny"}),
    "vae": ("VarifoldTrainAutoencoder", {"size": "tiny", "latent_side": 1}),
    "gan": ("VarifoldTrainGAN", {"size": "tiny"}),
}
LEFT = {training.STATE, training.LOSSES, training.CURVE, training.SAMPLES}
NETS = {"UNet", "PictureAutoencoder", "GANGenerator", "Discriminator"}


def usual(kind: str, **given) -> dict:
    """A node with its usual values but for those given."""
    declared = NODE_CLASS_MAPPINGS[kind].INPUT_TYPES()["required"]
    values = {}
    for name, (choices, *how) in declared.items():
        default = choices[0] if isinstance(choices, list) else None
        values[name] = how[0].get("default", default) if how else default
    return node(kind, **{**values, **given})


def pictures() -> dict:
    return usual("VarifoldPictures", folder="tiny", size=SIDE, held_out=0.5)


def training_of(family: str, **given) -> dict:
    kind, own = TRAININGS[family]
    return usual(kind, **{"name": f"{family} of these", **RUN, **own, **given})


def trainings() -> dict:
    return {"pictures": pictures(), **{family: training_of(family) for family in TRAININGS}}


def kind_of(family: str) -> str:
    return "denoiser" if family == "denoiser" else "generator"


@pytest.fixture(scope="module", autouse=True)
def folder(comfy_server) -> Path:
    """A dozen pictures, bright or dark."""
    for number in range(12):
        name = ("bright", "dark")[number % 2]
        path = comfy_server.input / "tiny" / name
        path.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(number).integers(0, 90, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(levels + np.uint8(160 * (name == "bright"))).save(path / f"{number}.png")
    return comfy_server.output / "training"


@pytest.fixture(scope="module")
def whole(comfy_server, folder):
    """One graph that trains all three, draws with each, explains and compares."""
    graph = trainings()
    for family in TRAININGS:
        drawn = usual("VarifoldGenerate", words="dark", batch=4, steps=4, **{kind_of(family): [family, 0]})
        graph |= {f"draw {family}": drawn, f"show {family}": node("PreviewImage", images=[f"draw {family}", 0])}
    explain = usual("VarifoldExplain", what="walk between seeds", count=3, steps=4, denoiser=["denoiser", 0])
    models = {"denoiser_1": ["denoiser", 0], "generator_1": ["vae", 0], "generator_2": ["gan", 0]}
    judged = {"pictures": ["pictures", 0], "count": 8, "steps": 4, "likelihood": "none"}
    graph |= {"explain": explain, "compare": usual("VarifoldCompareModels", **judged, **models)}
    run = comfy_server.run(graph)
    assert run.error is None, run.error
    return run


@pytest.mark.parametrize("family", TRAININGS)
def test_each_is_trained_and_draws(whole, folder, family):
    assert {path.name for path in (folder / f"{family} of these").iterdir()} == LEFT | {f"{family}.safetensors"}
    (report,) = whole.outputs[family]["text"]
    assert f"{IMAGES} pictures seen" in report and f"{family}.safetensors" in report
    (drawn,) = whole.outputs[f"draw {family}"]["text"]
    assert drawn.startswith(f"4 pictures of {SIDE}×{SIDE} in ")
    assert len(whole.outputs[f"show {family}"]["images"]) == 4


def test_they_are_explained_and_compared(whole):
    assert "how far each picture is from the one before" in whole.outputs["explain"]["text"][0]
    (compared,) = whole.outputs["compare"]["text"]
    assert all(name in compared for name in ("denoiser 1", "vae 1", "gan 2", "parameters"))


@pytest.mark.parametrize("family", TRAININGS)
def test_the_bar_and_previews_come_while_it_trains(whole, family):
    done = [(done, total) for name, done, total in whole.progress if name == family]
    steps = IMAGES // BATCH
    assert {total for _, total in done} == {steps}
    assert len(done) == steps and [each for each, _ in done] == sorted(each for each, _ in done)
    seen = [event for event in whole.events if event.picture is not None and event.data["node_id"] == family]
    assert len(seen) > 1 and all(min(event.picture.size) > 100 for event in seen)
    ended = next(k for k, each in enumerate(whole.events) if each.kind == "executed" and each.data["node"] == family)
    assert whole.events.index(seen[0]) < ended


@pytest.mark.parametrize("family", TRAININGS)
def test_the_same_losses_as_headless(whole, folder, headless, family):
    ours, theirs = (losses(place / f"{family} of these" / training.LOSSES) for place in (folder, headless))
    assert len(ours) == IMAGES // BATCH and ours == theirs


@pytest.fixture(scope="module")
def headless(comfy_server, tmp_path_factory) -> Path:
    """The trainings of `varifold run`."""
    place = tmp_path_factory.mktemp("headless")
    (place / "graph.json").write_text(json.dumps(trainings()))
    (place / "input").symlink_to(comfy_server.input)
    command = [sys.executable, "-m", "varifold", "run", "graph.json"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "output" / "training"


def losses(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [{key: text for key, text in row.items() if key != "images_per_second"} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("family", "batch"), [("denoiser", 128), ("vae", 512), ("gan", 2048)])
def test_cancelled_it_stops_within_a_step_and_the_next_queue_goes_on(comfy_server, folder, family, batch):
    name, done = f"{family} left", []

    def cancel(event):
        if event.kind == "progress" and event.data["node"] == family:
            done.append(event.data["value"])
            if len(done) == 1:
                comfy_server.interrupt()

    def graph(steps: int) -> dict:
        return {"pictures": pictures(), family: training_of(family, name=name, images=steps * batch, batch=batch)}

    run = comfy_server.run(graph(1000), on_event=cancel)
    assert run.interrupted and run.error is None
    assert len(done) <= 3, done  # what it is told while the word comes through, and no step once it has come
    assert {path.name for path in (folder / name).iterdir()} == LEFT | {f"{family}.safetensors"}

    taken = done[-1] + 1
    again = comfy_server.run(graph(taken + 2))
    assert again.error is None, again.error
    assert [step for source, step, _ in again.progress if source == family] == [taken + 1, taken + 2]
    assert f"{(taken + 2) * batch:,} pictures seen" in again.outputs[family]["text"][0]


def test_a_name_that_leads_elsewhere_is_refused(comfy_server):
    graph = {"pictures": pictures(), "gan": training_of("gan", name="../../elsewhere")}
    assert "is no name for a folder inside" in failure(comfy_server, graph, "gan")
    assert not (comfy_server.output.parent / "elsewhere").exists()


def test_nothing_stays_once_the_workflow_is_cleared(comfy_server, whole):
    comfy_server.run(trainings())
    held = alive(comfy_server)
    assert {"UNet", "PictureAutoencoder", "GANGenerator"} <= held
    assert "Discriminator" not in held  # only the training needs it
    comfy_server.free()
    deadline = time.monotonic() + 10  # ComfyUI answers /free before it frees
    while NETS & alive(comfy_server):
        assert time.monotonic() < deadline, f"still in memory: {NETS & alive(comfy_server)}"
        time.sleep(0.1)
