"""Whether a detector that saw only drawn sprites finds real ones: `python tests/bench/detection.py [--pictures N]`.

The embedded denoiser draws sprites of nine classes, and grounds as the real ones are called; of them a set of 2,000
scenes is composed, exported as COCO and read back by pycocotools. A small detector learns from it. It is tested on
scenes composed of the real tiles that the denoiser never saw, on grounds that it never saw. Beside it stand the same
detector trained on as many scenes of the real tiles that the denoiser learned from, one trained on both sets with as
many steps, and chance: the first one's answers, given for other pictures. Needs pycocotools; ten minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from varifold.dataset import store
from varifold.dataset.compose import Recipe, compose
from varifold.dataset.marks import Mark
from varifold.dataset.provenance import Key, provenance
from varifold.dataset.views import FORMATS, Info, Streamed
from varifold.models.checkpoint import load_denoiser
from varifold.models.pixel_art import tiles
from varifold.models.pixel_art.classify import examples
from varifold.models.pixel_art.colours import rotate_hue
from varifold.models.pixel_art.prompts import CLASSES
from varifold.models.pixel_art.sheets import draw

NAMES = tuple(name for name in CLASSES if name not in tiles.TEXTURES)
DRAWN, DRAWN_GROUNDS = range(32), range(3)  # seeds
STEPS, SOLVER = 16, "euler_ancestral"
SIDE = 96
RECIPE = Recipe(sprites=(1, 4), scale=(0.75, 1.5), rotation=15, overlap=0.4, light=0.4, terrains=3)
TESTED = 500
INFO = Info("Scenes", licence="CC0-1.0", names={name: name for name in NAMES})

STRIDE = 8
CELLS = SIDE // STRIDE
WIDTH, DEPTH = 96, 3
BATCH, RATE = 32, 3e-3
ANSWERS = 20  # a picture
SURE = 0.3  # the least score of what the sheet shows


class Material(NamedTuple):
    """What scenes are composed of: sprites [32, 32, 4] of each of NAMES, and grounds [32, 32, 3]; all in 0..1."""

    sprites: list[np.ndarray]
    grounds: np.ndarray


class Scenes(NamedTuple):
    """Pictures [N, 3, SIDE, SIDE], uint8, and of the objects in each x, y, width, height [N, M, 4] and class [N, M],
    -1 where there is none; known: pycocotools' reading of the set."""

    pictures: Tensor
    boxes: Tensor
    classes: Tensor
    known: COCO


def drawn() -> Material:
    denoiser = load_denoiser()
    how = {"steps": STEPS, "solver": SOLVER}
    sprites = [_last(draw(denoiser, [CLASSES[name]], DRAWN, **how)) for name in NAMES]
    solid = [each[(each[..., 3] > 0.5).any((1, 2))] for each in sprites]
    words = dict.fromkeys(" ".join(words) for words in textures("train").words)
    return Material(solid, _last(draw(denoiser, list(words), DRAWN_GROUNDS, **how))[..., :3])


def real(split: str) -> Material:
    of_class = dict(zip(CLASSES, examples(split, 0), strict=True))
    return Material([_last(of_class[name]) for name in NAMES], _last(textures(split).rgba[:, :3]))


def textures(split: str) -> tiles.Pictures:
    pictures = tiles.load("tiles", split)
    return pictures.select([row for row, kind in enumerate(pictures.kinds) if kind in tiles.TEXTURES])


def _last(pictures: Tensor) -> np.ndarray:
    return pictures.movedim(1, -1).numpy()


def scenes(folder: Path, material: Material, count: int, seed: int) -> Scenes:
    """A set of `count` scenes in `folder`, every class as often as any other, and its COCO view as others read it."""
    most = max(map(len, material.sprites))
    sprites = [each for own in material.sprites for each in own[np.arange(most) % len(own)]]
    with store.open(folder) as opened:
        index = 0
        while len(opened) < count:
            with opened.batch():
                for _ in range(count - len(opened)):
                    add(opened, sprites, most, material.grounds, seed, index)
                    index += 1
        opened.split({"train": 1.0})
        FORMATS["coco"](folder, Streamed(opened.samples), INFO)
    return read(folder / "views/coco")


def add(
    opened: store.Store, sprites: Sequence[np.ndarray], most: int, grounds: np.ndarray, seed: int, index: int
) -> None:
    scene = compose(sprites, grounds, RECIPE, (SIDE, SIDE), seed, index)
    marks = [Mark(NAMES[each.sprite // most], each.mask, visibility=each.visibility) for each in scene.placed]
    key = Key("detection", seed, index)
    opened.add((scene.picture * 255).round().astype(np.uint8), key, marks=marks, provenance=provenance(key))


def read(view: Path) -> Scenes:
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(view / "annotations/instances_train.json")
    pictures = [np.array(Image.open(view / "train" / image["file_name"])) for image in known.dataset["images"]]
    boxes, classes = (
        torch.zeros(len(pictures), RECIPE.sprites[1], 4),
        torch.full((len(pictures), RECIPE.sprites[1]), -1),
    )
    for row, objects in enumerate(known.imgToAnns[image["id"]] for image in known.dataset["images"]):
        for place, each in enumerate(objects):
            boxes[row, place] = torch.tensor(each["bbox"])
            classes[row, place] = each["category_id"] - 1
    return Scenes(torch.from_numpy(np.stack(pictures)).movedim(-1, 1), boxes, classes, known)


def detector() -> nn.Sequential:
    """Pictures [N, 3, SIDE, SIDE] in 0..1 -> [N, classes + 4, CELLS, CELLS].

    For each class how sure it is that an object has its centre in a cell; then where in the cell, and how large it is:
    Zhou, Wang and Krähenbühl, "Objects as Points", 2019.
    """

    def stage(c_in: int, c_out: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]

    body = [*stage(48, WIDTH // 2), *stage(WIDTH // 2, WIDTH // 2), *stage(WIDTH // 2, WIDTH, 2)]
    head = nn.Conv2d(WIDTH, len(NAMES) + 4, 1)
    nn.init.constant_(head.bias[: len(NAMES)], -4)  # objects are rare
    return nn.Sequential(
        nn.PixelUnshuffle(4), *body, *(part for _ in range(DEPTH) for part in stage(WIDTH, WIDTH)), head
    )


def trained(sets: Sequence[Scenes], steps: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = detector()
    optimiser = torch.optim.AdamW(net.parameters(), RATE)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    pictures, boxes, classes = (torch.cat(each) for each in list(zip(*sets, strict=True))[:3])
    for _ in range(steps):
        chosen = torch.randint(len(pictures), (BATCH,), generator=generator)
        shown, placed = varied(pictures[chosen].float() / 255, boxes[chosen], generator)
        loss = error(net(shown), placed, classes[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    return net.eval()


def varied(pictures: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of them mirrored, and half in other hues."""
    mirrored, turned = (torch.rand(len(pictures), generator=generator) < 0.5 for _ in range(2))
    pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
    right = SIDE - boxes[..., 0] - boxes[..., 2]
    boxes = torch.stack([torch.where(mirrored[:, None], right, boxes[..., 0]), *boxes.unbind(-1)[1:]], -1)
    return rotate_hue(pictures, torch.rand(len(pictures), generator=generator) * 2 * math.pi * turned), boxes


def error(told: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
    """The focal loss of the centres, and the absolute error of places and logarithms of sizes."""
    there = classes >= 0
    centres = (boxes[..., :2] + boxes[..., 2:] / 2) / STRIDE
    cells = centres.floor().clamp(0, CELLS - 1)
    grid = torch.arange(CELLS)
    radius = (boxes[..., 2:].mean(-1) / STRIDE / 6).clamp(min=0.3)
    away = (grid[:, None] - cells[..., 1, None, None]).square() + (grid - cells[..., 0, None, None]).square()
    near = (-away / (2 * radius.square())[..., None, None]).exp() * there[..., None, None]
    wanted = (near[:, :, None] * F.one_hot(classes.clamp(min=0), len(NAMES))[..., None, None]).amax(1)
    sure = told[:, : len(NAMES)]
    hit = wanted == 1
    missed = F.logsigmoid(sure) * (1 - sure.sigmoid()).square() * hit
    false = F.logsigmoid(-sure) * sure.sigmoid().square() * (1 - wanted).pow(4)
    place = (cells[..., 1] * CELLS + cells[..., 0]).long()
    found = told[:, len(NAMES) :].flatten(2).gather(2, place[:, None].expand(-1, 4, -1)).movedim(1, -1)
    shape = torch.cat([centres - cells, (boxes[..., 2:].clamp(min=1) / STRIDE).log()], -1)
    count = there.sum().clamp(min=1)
    return -(missed + false).sum() / count + (found - shape).abs()[there].sum() / count


@torch.no_grad()
def answers(net: nn.Module, pictures: Tensor) -> Tensor:
    """[N, ANSWERS, 6]: x, y, width, height, score and class of what it finds, the surest first."""
    found = []
    for some in pictures.split(100):
        told = net(some.float() / 255)
        sure = told[:, : len(NAMES)].sigmoid()
        sure = sure * (sure == F.max_pool2d(sure, 3, 1, 1))
        score, at = sure.flatten(1).topk(ANSWERS)
        kind, place = at // CELLS**2, at % CELLS**2
        shape = told[:, len(NAMES) :].flatten(2).gather(2, place[:, None].expand(-1, 4, -1)).movedim(1, -1)
        centre = (torch.stack([place % CELLS, place // CELLS], -1) + shape[..., :2]) * STRIDE
        size = shape[..., 2:].exp() * STRIDE
        start, end = (centre - size / 2).clamp(0, SIDE), (centre + size / 2).clamp(0, SIDE)
        found.append(torch.cat([start, end - start, score[..., None], kind[..., None]], -1))
    return torch.cat(found)


class Score(NamedTuple):
    """Average precision, mean of IoU .5 to .95; at .5; at .5 whatever the class; and at .5 of each class."""

    whole: float
    half: float
    found: float
    classes: list[float]


def scored(known: COCO, found: Tensor) -> Score:
    rows = [
        {"image_id": image["id"], "bbox": row[:4], "score": row[4], "category_id": int(row[5]) + 1}
        for image, own in zip(known.dataset["images"], found.tolist(), strict=True)
        for row in own
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        detected = known.loadRes(rows)
        by_class, any_class = (COCOeval(known, detected, "bbox") for _ in range(2))
        any_class.params.useCats = 0
        for each in (by_class, any_class):
            each.evaluate()
            each.accumulate()
            each.summarize()
    precision = by_class.eval["precision"][0, :, :, 0, -1]  # [recall, class] at IoU .5, of all sizes
    return Score(by_class.stats[0], by_class.stats[1], any_class.stats[1], precision.mean(0).tolist())


def save_sheet(path: str, tested: Scenes, found: Tensor, columns: int = 8, rows: int = 4, zoom: int = 3) -> None:
    """Scenes with what is found in them, in red where its class is wrong or nothing is there."""
    sheet = Image.new("RGB", (columns * SIDE * zoom, rows * SIDE * zoom))
    for place in range(columns * rows):
        scene = Image.fromarray(tested.pictures[place].movedim(0, -1).numpy())
        scene = scene.resize((SIDE * zoom, SIDE * zoom), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(scene)
        for x, y, width, height, score, kind in found[place].tolist():
            if score < SURE:
                continue
            own = tested.boxes[place][tested.classes[place] == kind]
            centre = torch.tensor([x + width / 2, y + height / 2])
            right = ((centre > own[:, :2]) & (centre < own[:, :2] + own[:, 2:])).all(1).any()
            colour = "lime" if right else "red"
            pen.rectangle([x * zoom, y * zoom, (x + width) * zoom - 1, (y + height) * zoom - 1], outline=colour)
            pen.text(
                (x * zoom + 3, y * zoom + 1), f"{NAMES[int(kind)]} {score:.1f}", colour, stroke_width=1, stroke_fill=0
            )
        sheet.paste(scene, (place % columns * SIDE * zoom, place // columns * SIDE * zoom))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--pictures", type=int, default=2000, help="scenes of each set to train on")
    parser.add_argument("--passes", type=int, default=10, help="how often a detector sees each scene")
    parser.add_argument("--sheet", help="a picture of test scenes and what the detector of drawn sprites finds in them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{what} ({time.perf_counter() - start:.0f} s)", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        materials = {"drawn": drawn(), "real": real("train"), "held": real("held")}
        tell("sprites drawn")
        counts = {"drawn": options.pictures, "real": options.pictures, "held": TESTED}
        sets = {}
        for seed, (name, material) in enumerate(materials.items()):
            sets[name] = scenes(Path(scratch, name), material, counts[name], seed)
            told = ", ".join(f"{len(own)} {label}" for label, own in zip(NAMES, material.sprites, strict=True))
            tell(f"{name}: {counts[name]} scenes of {told}; {len(material.grounds)} grounds")
        tested, steps = sets["held"], options.passes * options.pictures // BATCH
        print(f"\n{'trained on':12} AP   AP50  AP50 of any class | AP50 of " + " ".join(f"{each:>7}" for each in NAMES))
        for name, used in {"drawn": ["drawn"], "real": ["real"], "both": ["drawn", "real"]}.items():
            found = answers(trained([sets[each] for each in used], steps, 0), tested.pictures)
            if name == "drawn":
                show("chance", scored(tested.known, found.roll(1, 0)))
                if options.sheet:
                    save_sheet(options.sheet, tested, found)
            show(name, scored(tested.known, found))
        tell("done")


def show(name: str, score: Score) -> None:
    told = f"{name:10} {score.whole:5.3f} {score.half:5.3f} {score.found:12.3f}      |         "
    print(told + " ".join(f"{each:7.3f}" for each in score.classes), flush=True)


if __name__ == "__main__":
    main()
