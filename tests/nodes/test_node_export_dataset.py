"""Export Dataset: what is let in, under which key, and what is built from it."""

from __future__ import annotations

import json
import random
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import picture

from varifold.dataset import store
from varifold.dataset.handle import Handle
from varifold.dataset.settings import read_settings
from varifold.models.checkpoint import identity
from varifold.nodes.amounts import amounts
from varifold.nodes.denoiser import EMBEDDED
from varifold.nodes.export_dataset import VarifoldExportDataset
from varifold.nodes.export_lineage import lineage
from varifold.studio import folders

SIDE = 24
SEG = namedtuple("SEG", "cropped_image cropped_mask confidence crop_region bbox label control_net_wrapper")


@pytest.fixture(autouse=True)
def output(tmp_path) -> Path:
    folders.use(folders.Folders((tmp_path / "input",), tmp_path / "output", tmp_path / "temp"))
    yield tmp_path / "output"
    folders.use(None)


def graph(seed: int = 7, **more: dict) -> dict:
    """A prompt whose node "out" exports what "draw" gives."""
    drawing = {"class_type": "KSampler", "inputs": {"seed": seed, "model": ["load", 0], "steps": 4}}
    loading = {"class_type": "VarifoldLoadDenoiser", "inputs": {"file": EMBEDDED, "precision": "auto"}}
    out = {"class_type": "VarifoldExportDataset", "inputs": {"images": ["draw", 0], "folder": "set", "labels": "hero"}}
    return {"draw": drawing, "load": loading, "out": out, **more}


def images(*numbers: int, side: int = SIDE, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.stack([picture(number, side, channels) for number in numbers])).float() / 255


def square(top: int, left: int, side: int, of: int = SIDE) -> torch.Tensor:
    """A mask [1, of, of] that is 1 in a square."""
    mask = torch.zeros(1, of, of)
    mask[:, top : top + side, left : left + side] = 1
    return mask


@pytest.fixture
def export(call):
    """export(images=[...], labels=["hero"]) -> the node's outputs; widgets are lists of one, as ComfyUI gives them."""

    def export(prompt: dict | None = None, **given) -> tuple[Handle, str, torch.Tensor]:
        required = VarifoldExportDataset.INPUT_TYPES()["required"]
        widgets = {
            name: [kind[0] if isinstance(kind, list) else options["default"]]
            for name, (kind, options) in required.items()
            if name != "images"
        }
        widgets |= {"folder": ["set"], "formats": [""]}
        hidden = {"prompt": [prompt], "unique_id": ["out"], "extra_pnginfo": [None]}
        return call("ExportDataset", **widgets | given | hidden)

    return export


def samples(output: Path, name: str = "set") -> list:
    return list(store.open(output / name, write=False).samples())


def test_a_batch_gets_its_labels_and_captions_line_by_line(export, output):
    handle, report, sheet = export(images=[images(1, 2)], labels=["hero\ntile"], captions=["one", "two"])
    assert [(each.label, each.caption) for each in samples(output)] == [("hero", "one"), ("tile", "two")]
    assert (handle.folder, handle.size, handle.counts) == (output / "set", 2, (("hero", 1), ("tile", 1)))
    assert "2 added" in report and sheet.shape[0] == 1 and sheet.shape[3] == 3


def test_pictures_of_a_list_differ_in_size_and_a_batch_shares_its_label(export, output):
    export(images=[images(1, 2), images(3, side=40), images(4, channels=4)], labels=["hero", "tile", "sword"])
    found = samples(output)
    assert [each.label for each in found] == ["hero", "hero", "tile", "sword"]
    assert [each.width for each in found] == [24, 24, 40, 24]
    modes = [Image.open(output / "set" / each.image).mode for each in found]
    assert modes == ["RGB", "RGB", "RGB", "RGBA"]


def test_the_pixels_are_those_of_the_images(export, output):
    export(images=[images(5)])
    assert np.array_equal(np.asarray(Image.open(output / "set" / samples(output)[0].image)), picture(5, SIDE))


def test_masks_become_objects_with_tight_boxes(export, output):
    export(images=[images(1, 2)], labels=["hero"], masks=[torch.cat([square(2, 3, 8), square(5, 6, 10)])])
    assert [each.instances[0].box for each in samples(output)] == [(3, 2, 8, 8), (6, 5, 10, 10)]
    kept = np.asarray(Image.open(output / "set" / samples(output)[0].instances[0].mask))
    assert np.array_equal(kept > 0, square(2, 3, 8)[0].numpy() > 0)


def test_masks_of_transparency_are_turned_round(export, output):
    export(images=[images(1)], labels=["hero"], masks=[1 - square(2, 3, 8)], masks_are=["transparency"])
    assert samples(output)[0].instances[0].box == (3, 2, 8, 8)


def test_without_masks_transparency_is_the_alpha_of_the_images(export, output):
    rgba = torch.cat([images(1), square(4, 5, 9)[..., None]], -1)
    export(images=[rgba], labels=["hero"], masks_are=["transparency"])
    assert samples(output)[0].instances[0].box == (5, 4, 9, 9)
    with pytest.raises(ValueError, match="masks: there are none, and the images have no alpha"):
        export(images=[images(1)], labels=["hero"], masks_are=["transparency"])


def test_an_opaque_picture_as_small_as_the_placeholder_is_all_object(export, output):
    opaque = {"masks": [torch.zeros(1, 64, 64)], "masks_are": ["transparency"]}
    export(images=[images(1, side=64)], labels=["tile"], **opaque)
    assert samples(output)[0].instances[0].box == (0, 0, 64, 64)


def test_the_mask_of_a_picture_without_one_is_none(export, output):
    export(images=[images(1)], masks=[torch.zeros(1, 64, 64)])
    assert samples(output)[0].instances == ()


def test_pictures_with_and_without_a_mask_come_in_one_list(export, output):
    masks = [square(2, 3, 8), torch.zeros(1, 64, 64)]
    export(images=[images(1), images(2)], labels=["hero"], masks=masks)
    assert [len(each.instances) for each in samples(output)] == [1, 0]


def test_a_finder_that_found_nothing_leaves_a_picture_without_objects(export, output):
    export(images=[images(1)], labels=["hero"], masks=[torch.zeros(0, SIDE, SIDE)], boxes=[[[]]])
    assert samples(output)[0].instances == ()


def test_flattened_masks_are_regrouped_by_the_boxes(export, output):
    boxes = [
        [{"x": 1, "y": 2, "width": 8, "height": 8, "score": 0.75}, {"x": 9, "y": 9, "width": 6, "height": 6}],
        [],
        [{"x": 3, "y": 3, "width": 9, "height": 9, "label": "axe", "metadata": {"visibility": 0.5}}],
    ]
    masks = torch.cat([square(2, 1, 8), square(9, 9, 6), square(3, 3, 9)])
    export(images=[images(1, 2, 3)], labels=["hero"], masks=[masks], boxes=[boxes])
    first, second, third = samples(output)
    assert [(each.label, each.box, each.score) for each in first.instances] == [
        ("hero", (1, 2, 8, 8), 0.75),
        ("hero", (9, 9, 6, 6), None),
    ]
    assert second.instances == () and (third.instances[0].label, third.instances[0].visibility) == ("axe", 0.5)


def test_one_value_of_boxes_a_picture_will_do(export, output):
    box = {"x": 1, "y": 2, "width": 8, "height": 8}
    export(images=[images(1, 2)], labels=["hero"], boxes=[box, [box, box]])
    assert [len(each.instances) for each in samples(output)] == [1, 2]


def test_segs_are_read_by_their_shape(export, output):
    cropped = np.zeros((10, 10), np.float32)
    cropped[1:9, 2:9] = 1
    seg = SEG(None, cropped, np.array([0.5], np.float32), [4, 6, 14, 16], [6, 7, 13, 15], "axe", None)
    export(images=[images(1)], segs=[((SIDE, SIDE), [seg])])
    (found,) = samples(output)[0].instances
    assert (found.label, found.box, found.score) == ("axe", (6, 7, 7, 8), 0.5)
    assert np.asarray(Image.open(output / "set" / found.mask)).astype(bool).sum() == cropped.sum()
    with pytest.raises(ValueError, match="segs: those of image 1 are for 30×20, and the image is 24×24"):
        export(images=[images(1)], segs=[((20, 30), [seg])])
    for odd in ("nonsense", ((SIDE, SIDE), [None]), ((SIDE,), [seg]), ()):
        with pytest.raises(ValueError, match="segs: what is there for image 1 is no SEGS"):
            export(images=[images(1)], segs=[odd])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": ["a\nb\nc"]}, "2 images and 3 labels"),
        ({"captions": ["a", "b", "c"]}, "2 images and 3 captions"),
        ({"masks": [square(1, 1, 9)], "labels": ["a"]}, "2 images and 1 masks"),
        ({"boxes": [[[{"x": 0, "y": 0, "width": 9, "height": 9}]]]}, "2 images and boxes of 1 pictures"),
        (
            {"boxes": [[[{"x": 0, "y": 0, "width": 9, "height": 9}], []]], "masks": [torch.ones(2, 24, 24)]},
            "1 boxes, in all images together, and 2 masks: a mask for each; .*, switch individual_masks on",
        ),
        ({"boxes": [[[{"x": 0, "y": 0, "width": 9}], []]]}, "box 1 of image 1 has no numbers"),
        ({"boxes": [[[{"x": 0, "y": 0, "width": -9, "height": 1}], []]]}, "box 1 of image 1 has a negative size"),
        ({"boxes": [[[{"x": 0, "y": 0, "width": 9, "height": 9}], []]]}, "object 1 of image 1 has no label"),
        ({"boxes": ["nonsense"]}, "boxes: str is no BOUNDING_BOX"),
        ({"masks": [torch.ones(2, 30, 24)], "labels": ["a"]}, "the mask of object 1 of image 1 is 24×30"),
        ({"segs": [()]}, "2 images and 1 SEGS"),
        ({"folder": ["../out"]}, "is no name for a folder inside"),
        ({"folder": [""]}, "is no name for a folder inside"),
        ({"folder": ["/etc"]}, "is no name for a folder inside"),
        ({"folder": ["a. /b"]}, "is no name for a folder inside"),
        ({"formats": ["coco, pascal"]}, "there is no format pascal; there are imagefolder, coco"),
        ({"splits": ["train: 80, other: 20"]}, "splits: there is no 'other'; there are train, val, test"),
        ({"splits": ["train: 0"]}, "not all 0"),
        ({"quotas": ["hero"]}, "quotas: 'hero' should be a name, a colon and a number"),
        ({"quotas": ["hero: 2.5"]}, "quotas: 'hero' should have a whole number, not 2.5"),
        ({"filters": ["sharp: 1"]}, "filters: there is no 'sharp'"),
        ({"filters": ["duplicate: 9"]}, "duplicate should be from 0 to 7"),
    ],
)
def test_what_does_not_match_is_named_and_nothing_is_written(export, output, given, message):
    with pytest.raises(ValueError, match=message):
        export(images=[images(1, 2)], **given)
    assert not output.exists()


def test_a_set_does_not_lie_in_another(export, output):
    export(images=[images(1)], folder=["sprites/heroes"])
    with pytest.raises(ValueError, match="'sprites/heroes/views/coco' lies in the set sprites/heroes"):
        export(images=[images(2)], folder=["sprites/heroes/views/coco"])
    export(images=[images(3)], folder=["sprites/tiles"])
    assert len(samples(output, "sprites/heroes")) == len(samples(output, "sprites/tiles")) == 1


def test_a_list_without_pictures_is_told(export, output):
    with pytest.raises(ValueError, match="images is empty"):
        export(images=[])
    assert not output.exists()


def test_a_link_does_not_lead_out_of_the_output_folder(export, output, tmp_path):
    output.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (output / "set").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of"):
        export(images=[images(1)])


def test_the_same_graph_adds_nothing_twice_and_another_seed_adds(export, output):
    export(graph(7), images=[images(1, 2)])
    _, report, _ = export(graph(7), images=[images(3, 4)], formats=["coco"], quotas=["hero: 9"])
    assert "2 there already" in report and len(samples(output)) == 2
    _, report, _ = export(graph(8), images=[images(3, 4)])
    assert "2 added" in report
    found = store.open(output / "set", write=False)
    assert [(key.seed, key.index) for key in found.all_keys()] == [(7, 0), (7, 1), (8, 0), (8, 1)]
    assert len(found.graphs) == 1


def test_without_a_graph_pictures_are_known_by_themselves(export, output):
    export(images=[images(1, 2)])
    assert "2 there already" in export(images=[images(1, 2)])[1]
    assert "1 added" in export(images=[images(3)])[1]


def test_what_comfyui_notes_in_a_prompt_does_not_count(export, output):
    export(graph(), images=[images(1)])
    noted = graph()
    noted["load"] |= {"is_changed": [random.random()], "_meta": {"title": "Mine"}}
    assert "1 there already" in export(noted, images=[images(1)])[1]


def test_provenance_tells_graph_seed_weights_words_and_terms(export, output):
    words = {"class_type": "CLIPTextEncode", "inputs": {"text": "a hero", "clip": ["load", 1]}}
    prompt = graph(words=words)
    prompt["draw"]["inputs"]["positive"] = ["words", 0]
    export(prompt, images=[images(1)], licence=["CC0-1.0"], author=["me"])
    told = samples(output)[0].provenance
    assert (told["seed"], told["settings"], told["conditioning"]) == (7, {"draw.seed": 7}, {"words.text": "a hero"})
    assert told["checkpoints"] == {EMBEDDED: identity()}
    assert (told["licence"], told["author"]) == ("CC0-1.0", "me")
    kept = store.open(output / "set", write=False).graph(told["graph"])
    assert kept["draw"]["inputs"] == {**prompt["draw"]["inputs"], "seed": 0}
    assert set(kept["out"]["inputs"]) == {"images", "labels"}


def test_pictures_of_one_source_stay_together_but_those_of_one_style_may_part(tmp_path):
    (tmp_path / "input").mkdir()
    Image.fromarray(picture(1)).save(tmp_path / "input" / "photo.png")
    prompt = graph(photo={"class_type": "LoadImage", "inputs": {"image": "photo.png"}})
    prompt["draw"]["inputs"]["image"] = ["photo", 0]
    digest = identity(tmp_path / "input" / "photo.png")
    assert lineage(prompt, "out").links == (f"source {digest}",)
    prompt["draw"]["inputs"]["style"] = prompt["draw"]["inputs"].pop("image")
    styled = lineage(prompt, "out")
    assert styled.links == () and styled.graph["photo"]["_meta"]["sha256"] == {"image": digest}


def test_a_file_that_changed_under_its_name_is_another_graph(tmp_path):
    (tmp_path / "input").mkdir()
    prompt = graph(photo={"class_type": "LoadImage", "inputs": {"image": "photo.png"}})
    prompt["draw"]["inputs"]["image"] = ["photo", 0]
    keys = []
    for number in (1, 2):
        Image.fromarray(picture(number, 20 + number)).save(tmp_path / "input" / "photo.png")
        keys.append(lineage(prompt, "out").key(0, b""))
    assert keys[0].graph != keys[1].graph


def test_runs_that_differ_in_two_seeds_are_told_apart():
    other = {"class_type": "VarifoldStyleTransfer", "inputs": {"content": ["draw", 0], "seed": 1}}
    prompt = graph(style=other)
    prompt["out"]["inputs"]["images"] = ["style", 0]
    first = lineage(prompt, "out")
    other["inputs"]["seed"] = 2
    second = lineage(prompt, "out")
    assert first.key(0, b"").graph == second.key(0, b"").graph and first.key(0, b"") != second.key(0, b"")
    assert first.settings == {"draw.seed": 7, "style.seed": 1}


def test_chunks_of_a_sweep_share_a_graph_and_number_their_pictures():
    inputs = {"labels": "a\nb", "prompts": "{label}", "quota": 4, "chunk": 2, "index": 1, "seed": 3}
    prompt = graph(sweep={"class_type": "VarifoldSweep", "inputs": inputs})
    prompt["draw"]["inputs"]["seed"] = ["sweep", 1]
    second = lineage(prompt, "out")
    inputs["index"] = 2
    third = lineage(prompt, "out")
    assert second.graph == third.graph and second.settings == {"sweep.index": 1}
    assert [second.key(0, b"").index, second.key(1, b"").index, third.key(0, b"").index] == [2, 3, 4]
    assert second.seed == second.position.chunk.seed != third.seed


def test_quotas_hold_and_splits_and_views_wait_for_them(export, output):
    more = {"formats": ["coco, imagefolder"], "quotas": ["hero: 3"]}
    handle, report, _ = export(graph(1), images=[images(1, 2)], labels=["hero"], **more)
    assert handle.wanting == (("hero", 1),) and handle.splits == ()
    assert "still wanted: hero 1" in report and "once all quotas are met" in report
    assert not (output / "set" / "views").exists()
    handle, report, _ = export(graph(2), images=[images(3, 4)], labels=["hero"], **more)
    assert handle.size == 3 and handle.wanting == () and sum(count for _, count in handle.splits) == 3
    assert "1 added, 1 more than their quotas" in report and "built: coco, imagefolder" in report
    coco = [json.loads(path.read_text()) for path in (output / "set" / "views" / "coco").rglob("instances*.json")]
    assert sum(len(table["images"]) for table in coco) == 3


def test_splits_have_their_shares_and_are_never_moved(export, output):
    more = {"splits": ["train: 50, val: 25, test: 25"]}
    handle, _, _ = export(graph(1), images=[images(*range(8))], labels=["hero"], **more)
    assert dict(handle.splits) == {"train": 4, "val": 2, "test": 2}
    before = {each.id: each.split for each in samples(output)}
    export(graph(2), images=[images(*range(20, 24))], labels=["hero"], **more)
    assert {each.id: each.split for each in samples(output) if each.id in before} == before


def test_what_is_rejected_is_told_and_framed_on_the_sheet(export, output):
    flat = torch.full((1, SIDE, SIDE, 3), 0.5)
    _, report, sheet = export(graph(), images=[images(1), images(1), flat], labels=["hero"])
    assert "1 added, 2 rejected" in report and "rejected so far: 1 blank, 1 duplicate" in report
    first, last = sheet[0, 9, 9], sheet[0, 9, 2 * (128 + 8) + 9 - sheet.shape[2]]
    assert first[0] > 0.8 and first[1] < 0.4 and not torch.equal(first, last)
    _, report, _ = export(graph(8), images=[images(1), flat], labels=["hero"], filters=[""], folder=["all"])
    assert "2 added" in report


def test_it_shows_the_sheet_and_the_report_in_the_node(export, call, output, tmp_path):
    widgets = {"folder": ["set"], "labels": ["hero"], "captions": [""], "masks_are": ["objects"], "formats": [""]}
    widgets |= {"splits": ["train: 1"], "quotas": [""], "filters": [""], "picture_files": ["webp"]}
    widgets |= {"with_workflow": [True], "licence": [""], "author": [""]}
    shown = VarifoldExportDataset().export(images=[images(1)], **widgets)["ui"]
    assert "1 added" in shown["text"][0]
    (entry,) = shown["images"]
    assert entry["type"] == "temp" and Image.open(tmp_path / "temp" / entry["filename"]).size[0] > 128


@pytest.mark.parametrize(("files", "carried"), [("png", True), ("jpeg", False), ("webp", True)])
def test_pictures_carry_the_workflow_if_wanted(export, output, files, carried):
    for name, wanted in (("with", True), ("without", False)):
        export(graph(), images=[images(1)], folder=[name], picture_files=[files], with_workflow=[wanted])
        path = output / name / samples(output, name)[0].image
        assert (b'"KSampler"' in path.read_bytes()) == (wanted and carried)


def test_a_part_of_a_run_goes_to_its_own_folder_with_its_settings(export, output, host):
    host.part = (1, 3)
    _, report, _ = export(graph(), images=[images(1)], labels=["hero"], quotas=["hero: 1"], formats=["coco"])
    assert "part 1 of 3" in report and len(samples(output, "set/shards/1-of-3")) == 1
    settings = read_settings(output / "set" / "shards" / "1-of-3")
    assert (settings.rules.quotas, settings.formats) == ({"hero": 1}, ("coco",))
    assert not (output / "set" / "ledger.jsonl").exists()


def test_a_set_that_was_deleted_makes_the_node_run_again(export, output):
    before = VarifoldExportDataset.IS_CHANGED(folder=["set"])
    export(images=[images(1)])
    after = VarifoldExportDataset.IS_CHANGED(folder=["set"])
    assert type(before) is type(after) is str and before != after == VarifoldExportDataset.IS_CHANGED(folder=["set"])
    assert VarifoldExportDataset.IS_CHANGED(folder=[None]) == VarifoldExportDataset.IS_CHANGED(folder=["../x"]) == ""


def test_amounts_are_names_with_numbers():
    assert amounts(" a: b: 2,\n c : 0.5,", "x") == {"a: b": 2.0, "c": 0.5}
    for text, message in {"a": "should be", "a: -1": "should be", "a: nan": "should be", "a: 1, a: 2": "twice"}.items():
        with pytest.raises(ValueError, match=f"x: .*{message}"):
            amounts(text, "x")


def test_a_cancelled_run_keeps_what_it_had_and_goes_on(export, output, host):
    from varifold.studio.errors import Cancelled

    host.cancel.set()
    with pytest.raises(Cancelled):
        export(graph(), images=[images(1, 2)])
    host.cancel.clear()
    assert "2 added" in export(graph(), images=[images(1, 2)])[1]
