"""Export Dataset: which pictures share an origin, as its graph tells, and so are never in two splits."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import picture

from varifold.dataset import store
from varifold.nodes.export_dataset import VarifoldExportDataset
from varifold.nodes.export_lineage import lineage
from varifold.nodes.export_origin import Place, origin_of
from varifold.nodes.sweep import sweep_of
from varifold.studio import folders

SIDE = 24
SWEEP = {"labels": "a\nb", "prompts": "{label}", "quota": 6, "chunk": 3, "index": 0, "seed": 3}
EXPORT = {"folder": "set", "formats": "", "splits": "train: 1, val: 1, test: 1", "filters": ""}


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def sampler(seed, batch=4, **inputs) -> dict:
    return node("VarifoldSampler", denoiser=["load", 0], seed=seed, batch=batch, **inputs)


def latents(size: int = 4) -> dict:
    return node("EmptyLatentImage", width=512, height=512, batch_size=size)


def links(graph: dict, count: int = 4, batches: int = 1, sprites=None) -> list[set[str]]:
    """Of each of `count` pictures in `batches` equal batches, at the node "out" of a graph."""
    graph = {"out": node("VarifoldExportDataset", images=["draw", 0]), **graph}
    origin, size = origin_of(graph, "out"), count // batches
    places = [Place(number, *divmod(number, size), batches, sprites) for number in range(count)]
    return [set(origin.links(place)) for place in places]


def noises(seed: object, *numbers: int) -> list[set[str]]:
    return [{f"noise {seed} {number}"} for number in numbers]


@pytest.fixture(autouse=True)
def output(tmp_path) -> Path:
    (tmp_path / "input").mkdir()
    folders.use(folders.Folders((tmp_path / "input",), tmp_path / "output", tmp_path / "temp"))
    yield tmp_path / "output"
    folders.use(None)


@pytest.fixture
def export(call):
    """export(graph, images, ...) -> the report of the node "out"."""
    required = VarifoldExportDataset.INPUT_TYPES()["required"]
    usual = {
        name: kind[0] if isinstance(kind, list) else options["default"]
        for name, (kind, options) in required.items()
        if name != "images"
    }

    def export(prompt: dict, images: list, **given) -> str:
        widgets = {name: [value] for name, value in (usual | EXPORT).items()}
        hidden = {"prompt": [prompt], "unique_id": ["out"], "extra_pnginfo": [None]}
        return call("ExportDataset", images=images, **widgets | given | hidden)[1]

    return export


def images(*numbers: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([picture(number, SIDE) for number in numbers])).float() / 255


def samples(output: Path) -> list:
    return list(store.open(output / "set", write=False).samples())


def swept(index: int, seed: object, **more) -> dict:
    """Chunk `index` of a sweep, whose Sampler has this seed."""
    return {
        "sweep": node("VarifoldSweep", **SWEEP | {"index": index}),
        "draw": sampler(seed, ["sweep", 2]),
        "out": node("VarifoldExportDataset", images=["draw", 0], labels=["sweep", 3]),
        **more,
    }


def test_a_picture_is_of_its_samplers_seed_and_its_number_in_the_batch():
    assert links({"draw": sampler(7)}) == noises(7, 0, 1, 2, 3)
    comfyui = {"draw": node("KSampler", seed=7, model=["m", 0], latent_image=["blank", 0]), "blank": latents()}
    decoded = {"draw": node("VAEDecode", samples=["k", 0], vae=["v", 0]), "k": comfyui["draw"], "blank": latents()}
    assert links(comfyui) == links(decoded) == noises(7, 0, 1, 2, 3)


def test_wherever_the_seed_stands_it_is_the_same_seed():
    held = {"draw": sampler(["number", 0]), "number": node("PrimitiveInt", value=7)}
    noise = {"draw": sampler(1, noise=["noise", 0]), "noise": node("VarifoldNoise", seed=7)}
    custom = {"draw": node("SamplerCustomAdvanced", noise=["noise", 0], latent_image=["blank", 0])}
    custom |= {"noise": node("RandomNoise", noise_seed=7), "blank": latents()}
    assert links(held) == links(noise) == links(custom) == noises(7, 0, 1, 2, 3)


def test_a_seed_that_other_nodes_work_out_is_known_by_them():
    def worked_out(number: int) -> list[set[str]]:
        return links({"draw": sampler(["sum", 0]), "sum": node("Add", a=["n", 0], b=1), "n": node("Int", value=number)})

    assert worked_out(1) == worked_out(1) and not set.union(*worked_out(1)) & set.union(*worked_out(2))


def test_a_list_that_a_sampler_works_through_draws_the_same_noise_each_time():
    assert links({"draw": sampler(7, 2)}, 6, 3) == noises(7, 0, 1, 0, 1, 0, 1)
    assert links({"draw": sampler(7, 6)}, 6, 6) == noises(7, 0, 1, 2, 3, 4, 5)


def test_one_picture_of_a_batch_alone_is_that_picture():
    blank = {"blank": latents(), "one": node("LatentFromBatch", samples=["blank", 0], batch_index=2, length=1)}
    assert links({"draw": node("KSampler", seed=7, model=["m", 0], latent_image=["one", 0]), **blank}, 1) == noises(
        7, 2
    )
    taken = {"s": sampler(7), "draw": node("ImageFromBatch", image=["s", 0], batch_index=2, length=9)}
    assert links(taken, 2) == noises(7, 2, 3)
    repeated = {"s": sampler(7, 2), "draw": node("RepeatImageBatch", image=["s", 0], amount=2)}
    assert links(repeated) == noises(7, 0, 1, 0, 1)


def test_batches_behind_each_other():
    joined = {"s": sampler(7, 3), "t": sampler(8, 2), "draw": node("ImageBatch", image1=["s", 0], image2=["t", 0])}
    assert links(joined, 5) == [*noises(7, 0, 1, 2), *noises(8, 0, 1)]
    assert links({**joined, "s": sampler(7, ["?", 0]), "?": node("Count")}, 5)[3] >= {"noise 7", "noise 8"}


def test_a_picture_of_two_is_of_both():
    blended = {"s": sampler(7), "t": sampler(8), "draw": node("ImageBlend", image1=["s", 0], image2=["t", 0])}
    assert links(blended) == [{f"noise 7 {number}", f"noise 8 {number}"} for number in range(4)]


def test_a_second_pass_over_a_picture_makes_no_other_picture_of_it():
    passes = {"s": sampler(7), "draw": sampler(0, latent=["s", 2])}
    styled = {"s": sampler(7), "draw": node("VarifoldStyleTransfer", content=["s", 0], style=["t", 0], seed=0)}
    assert links(passes) == links({**styled, "t": sampler(8)}) == noises(7, 0, 1, 2, 3)


def test_the_seeds_of_a_fit_or_of_words_draw_nothing():
    fitted = {"draw": sampler(7, sigmas=["fit", 0], positive=["text", 0]), "fit": node("VarifoldFitSchedule", seed=1)}
    fitted |= {"text": node("CLIPTextEncode", text=["wild", 0]), "wild": node("Wildcards", text="{a|b}", seed=2)}
    assert links(fitted) == noises(7, 0, 1, 2, 3)


def test_chunks_with_the_seed_of_the_sweep_share_nothing(export):
    first, second = (lineage(swept(index, ["sweep", 1]), "out") for index in (0, 2))
    for index, told in ((0, first), (2, second)):
        assert told.links_of(Place(1, within=1)) == [f"noise {sweep_of(SWEEP)[index].seed} 1"]
    assert first.repeated == () and "warning" not in export(swept(0, ["sweep", 1]), [images(1, 2, 3)])


def test_chunks_that_repeat_a_seed_are_told_and_their_pictures_stay_together(export, output):
    for index in range(4):
        report = export(
            swept(index, 7), [images(*range(3 * index, 3 * index + 3))], labels=["a", "b"][index % 2 : index % 2 + 1]
        )
        assert "warning: Sampler (id draw) draws all chunks with one seed" in report
    splits = defaultdict(list)
    for number, sample in enumerate(samples(output)):
        splits[number % 3].append(sample.split)
    assert [len(each) for each in splits.values()] == [4, 4, 4]
    assert sorted(map(set, splits.values()), key=min) == [{"test"}, {"train"}, {"val"}]


def test_other_prompts_of_one_noise_stay_together(export, output):
    """Graphs of their own, run one after another."""
    for number, text in enumerate(("hero", "tile", "sword")):
        prompt = {"draw": sampler(7, 2, positive=["text", 0]), "text": node("VarifoldPrompt", text=text)}
        out = node("VarifoldExportDataset", images=["draw", 0])
        export({**prompt, "out": out}, [images(2 * number, 2 * number + 1)])
    found = samples(output)
    assert [len({each.split for each in found[number::2]}) for number in (0, 1)] == [1, 1]
    assert len({each.split for each in found}) == 2


COMPOSED = {
    "s": sampler(11, 4),
    "t": sampler(12, 4),
    "both": node("ImageBatch", image1=["s", 0], image2=["t", 0]),
    "draw": node(
        "VarifoldCompose",
        sprites=["both", 0],
        backgrounds=["ground", 0],
        labels="x\ny",
        casts=2,
        count=6,
        first=1,
        seed=0,
    ),
    "ground": sampler(13, 2),
}


def test_a_scene_is_of_the_sprites_of_its_cast_as_the_graph_tells():
    even, odd = ({f"noise {seed} {number}" for seed in (11, 12) for number in cast} for cast in ((0, 2), (1, 3)))
    found = links(COMPOSED, 6)
    assert [each - {f"scene 0 {number}"} for number, each in enumerate(found, 1)] == [odd, even] * 3
    assert all(len(each) == 5 for each in found)


def test_where_boxes_tell_the_sprites_a_scene_is_of_these():
    assert links(COMPOSED, 1, sprites=(0, 5)) == [{"scene 0 1", "noise 11 0", "noise 12 1"}]
    assert links(COMPOSED, 1, sprites=()) == [{"scene 0 1"}]


def test_where_nothing_tells_the_casts_all_scenes_of_some_sprites_stay_together():
    unknown = {**COMPOSED, "s": sampler(11, ["?", 0]), "?": node("Count")}
    assert all({"noise 11", "noise 12"} < each for each in links(unknown, 6))


@pytest.mark.parametrize("wired", [True, False])
def test_scenes_of_one_sprite_are_in_one_split(call, export, output, wired):
    """Of two casts, whether the boxes are wired to Export Dataset or not."""
    rgba = torch.ones(4, 12, 12, 4)
    rgba[..., :3] = torch.linspace(0.2, 1, 4)[:, None, None, None]
    widgets = {"labels": "x", "casts": 2, "count": 8, "width": 60, "height": 50, "light": 0.0}
    ground = torch.rand(3, 16, 16, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    drawn, masks, boxes, labels = call("Compose", sprites=rgba, backgrounds=ground, **widgets)
    used = [{box["source"] for box in own} for own in boxes]
    given = {"masks": [masks], "boxes": [boxes]} if wired else {}
    graph = {"s": sampler(7), "draw": node("VarifoldCompose", sprites=["s", 0], first=0, seed=0, **widgets)}
    out = node("VarifoldExportDataset", images=["draw", 0], labels=["draw", 3])
    export({**graph, "out": out}, [drawn], labels=labels, **given)
    found = samples(output)
    for number, linked in enumerate(store.open(output / "set", write=False).links()):
        own = {box["sprite"] for box in boxes[number]} if wired else {number % 2, number % 2 + 2}
        assert {link for link in linked if link.startswith("noise 7 ")} == {f"noise 7 {sprite}" for sprite in own}
    homes = {
        source: {each.split for each, own in zip(found, used, strict=True) if source in own}
        for source in set().union(*used)
    }
    assert len(found) == 8 and set(map(len, homes.values())) == {1} and len({each.split for each in found}) == 2


def loading(folder: str = "mine", **more) -> dict:
    loads = node("VarifoldLoadDataset", folder=folder, format="auto", split="all", start=0, count=32)
    return {"draw": loads, "out": node("VarifoldExportDataset", images=["draw", 0]), **more}


def put(tmp_path: Path, name: str, number: int) -> None:
    path = tmp_path / "input" / "mine" / "cat" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number, SIDE)).save(path)


def test_pictures_of_a_folder_are_known_by_themselves(call, export, output, tmp_path):
    """The graph stays the same, and the folder does not."""

    def run(**part) -> str:
        graph = loading()
        graph["draw"]["inputs"] |= part
        loaded = call("LoadDataset", **graph["draw"]["inputs"])
        return export(graph, loaded[0], labels=loaded[3])

    put(tmp_path, "1.png", 1)
    put(tmp_path, "2.png", 2)
    assert "2 added" in run()
    put(tmp_path, "0.png", 3)
    assert "1 added, 2 there already" in run()
    put(tmp_path, "1.png", 40)
    assert "1 added, 2 there already" in run()
    assert "2 there already" in run(start=1, count=2)
    assert len(samples(output)) == 4 and len(store.open(output / "set", write=False).graphs) == 1


def test_what_is_made_of_one_picture_of_a_folder_stays_together(call, export, output, tmp_path):
    for number in range(6):
        put(tmp_path, f"{number}.png", number)
    for turn, strength in enumerate((0.5, 1.0)):
        styled = node("VarifoldStyleTransfer", content=["draw", 0], strength=strength, seed=0)
        out = node("VarifoldExportDataset", images=["styled", 0])
        made = [images(10 * (turn + 1) + number) for number in range(6)]
        export(loading(styled=styled, out=out), made)
    found = samples(output)
    assert [first.split for first in found[:6]] == [second.split for second in found[6:]]
    assert len({each.split for each in found}) == 3


def test_what_a_sample_shared_it_still_shares_in_another_set(call, export, output):
    export({"draw": sampler(7, 2), "out": node("VarifoldExportDataset", images=["draw", 0])}, [images(1, 2)])
    told = lineage(loading("set"), "out")
    for number, sample in enumerate(samples(output)):
        assert set(told.links_of(Place(number, number, 0, 2))) == {f"noise 7 {number}", f"source {sample.sha256}"}
    assert len(told.links_of(Place(0))) == 4


def test_chunks_of_a_sweep_over_a_folder_know_which_pictures_it_had(tmp_path):
    put(tmp_path, "1.png", 1)

    def graph() -> str:
        reworked = sampler(["sweep", 1], image=["loads", 0])
        prompt = swept(0, 7, loads=loading()["draw"], draw=reworked)
        return lineage(prompt, "out").key(0, b"").graph

    before = graph()
    assert before == graph()
    put(tmp_path, "1.png", 2)
    assert before != graph()
