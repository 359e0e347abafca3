"""The example that SAM 3 labels: in the set, each picture has the masks and boxes that SAM 3 finds in it alone."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest
from comfyui.examples import EXAMPLES, prompt_of, with_stand_ins
from comfyui.graphs import kept, node
from pycocotools.coco import COCO

from varifold.dataset import store

pytestmark = pytest.mark.comfyui

EXAMPLE = next(path for path in EXAMPLES if path.stem == "labelled_photos")
LABELS = ["bicycle", "suitcase", "backpack"]
PICTURES = 3  # of each label, one chunk
MOST = 10


class Found(NamedTuple):
    """What SAM 3 finds in one picture alone: masks [N, H, W] and N boxes."""

    masks: np.ndarray
    boxes: list[dict]


@pytest.fixture(scope="module")
def small(comfy_server) -> dict:
    """The example with small random models, for one chunk of each label."""
    prompt = with_stand_ins(prompt_of(json.loads(EXAMPLE.read_text()), comfy_server.object_info()))
    inputs(prompt, "VarifoldSweep").update(prompts="{label}", quota=PICTURES, chunk=PICTURES)
    inputs(prompt, "VarifoldSchedule")["steps"] = 3
    inputs(prompt, "StringConcatenate")["string_b"] = f":{MOST}"
    inputs(prompt, "SAM3_Detect").update(refine_iterations=1, threshold=0.3)
    inputs(prompt, "VarifoldExportDataset")["filters"] = "smallest_mask: 0"
    return prompt


def inputs(prompt: dict, kind: str) -> dict:
    (found,) = (each["inputs"] for each in prompt.values() if each["class_type"] == kind)
    return found


def alone(prompt: dict) -> dict:
    """The prompt with each picture taken out of its batch, given to SAM 3 alone, and what it says kept."""
    (detect,) = (each for each in prompt.values() if each["class_type"] == "SAM3_Detect")
    more = {}
    for number in range(PICTURES):
        more[f"picture {number}"] = node(
            "ImageFromBatch", image=detect["inputs"]["image"], batch_index=number, length=1
        )
        more[f"find {number}"] = node("SAM3_Detect", **{**detect["inputs"], "image": [f"picture {number}", 0]})
        more[f"masks {number}"] = node("ProbeKeep", mask=[f"find {number}", 0])
        more[f"boxes {number}"] = node("PreviewAny", source=[f"find {number}", 1])
    return prompt | more


@pytest.fixture(scope="module")
def found(comfy_server, small) -> list[list[Found]]:
    """What SAM 3 finds in each picture of each chunk alone; the chunks are exported on the way."""
    chunks = []
    for index in range(len(LABELS)):
        inputs(small, "VarifoldSweep")["index"] = index
        run = comfy_server.run(alone(small), timeout=300)
        assert run.error is None, run.error
        boxes = [json.loads(run.outputs[f"boxes {number}"]["text"][0])[0] for number in range(PICTURES)]
        masks = [kept(comfy_server, run, f"masks {number}")["mask"] for number in range(PICTURES)]
        chunks.append([Found(*each) for each in zip(masks, boxes, strict=True)])
    return chunks


@pytest.fixture(scope="module")
def coco(comfy_server, found) -> dict[int, tuple[COCO, dict]]:
    """Id of a picture of the set -> the file of its split, and what that says of it."""
    files = (comfy_server.output / "varifold/photos/views/coco/annotations").glob("instances_*.json")
    return {image["id"]: (file, image) for file in map(COCO, files) for image in file.imgs.values()}


def test_each_picture_has_the_masks_and_boxes_that_are_found_in_it_alone(found, coco):
    pictures = [(label, each) for label, chunk in zip(LABELS, found, strict=True) for each in chunk]
    counts = [len(each.boxes) for _, each in pictures]
    assert len(set(counts)) > 2 and max(counts) > 1, "pictures of one count would not tell where each mask went"
    assert sorted(coco) == list(range(1, len(pictures) + 1))
    for number, (label, (masks, boxes)) in enumerate(pictures, 1):
        file, image = coco[number]
        annotations = file.imgToAnns[number]
        seen = [place for place, mask in enumerate(masks) if mask.any()]  # an empty mask is not shown as an object
        assert len(masks) == len(boxes) and len(annotations) == len(seen)
        for place, told in zip(seen, annotations, strict=True):
            assert np.array_equal(file.annToMask(told), masks[place])
            assert told["bbox"] == pytest.approx(cut(boxes[place], image["width"], image["height"]))
            assert told["score"] == pytest.approx(boxes[place]["score"])
            assert file.cats[told["category_id"]]["name"] == label


def cut(box: dict, width: int, height: int) -> list[float]:
    """What of a box lies in the picture."""
    left, top = max(0, box["x"]), max(0, box["y"])
    right, bottom = min(width, box["x"] + box["width"]), min(height, box["y"] + box["height"])
    return [left, top, right - left, bottom - top]


def test_the_masks_differ_from_picture_to_picture(found):
    masks = [mask.tobytes() for chunk in found for each in chunk for mask in each.masks]
    assert len(set(masks)) > 0.9 * len(masks)


def test_without_a_number_sam3_finds_one_object_a_picture(comfy_server, small, found):
    """Why the example writes one."""
    prompt = json.loads(json.dumps(small))
    inputs(prompt, "StringConcatenate")["string_b"] = ""
    run = comfy_server.run(alone(prompt), timeout=300)
    assert run.error is None, run.error
    counts = [len(json.loads(run.outputs[f"boxes {number}"]["text"][0])[0]) for number in range(PICTURES)]
    assert max(len(each.boxes) for each in found[-1]) > 1 and max(counts) == 1


@pytest.mark.parametrize(("filters", "kept"), [("smallest_mask: 0", PICTURES), ("fewest_objects: 1", 0)])
def test_where_nothing_is_found_the_pictures_have_no_objects_or_are_rejected(comfy_server, small, found, filters, kept):
    prompt = json.loads(json.dumps(small))
    inputs(prompt, "SAM3_Detect")["threshold"] = 1.0
    inputs(prompt, "VarifoldExportDataset").update(folder=f"varifold/nothing {kept}", filters=filters)
    run = comfy_server.run(prompt, timeout=300)
    assert run.error is None, run.error
    with store.open(comfy_server.output / f"varifold/nothing {kept}", write=False) as opened:
        samples, reasons = list(opened.samples()), opened.reasons
    assert [each.label for each in samples] == [LABELS[-1]] * kept
    assert [each.instances for each in samples] == [()] * kept
    assert reasons == ({} if kept else {"too few objects": PICTURES})
