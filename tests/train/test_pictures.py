"""The pictures of a training: what is read of a folder, what is held out, and what is drawn."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from varifold.models.denoising.pixels import decode
from varifold.models.denoising.vocabulary import Vocabulary
from varifold.models.train import picture_shelf
from varifold.models.train.chance import Chance
from varifold.models.train.picture_files import Source, find
from varifold.models.train.picture_fit import Fit
from varifold.models.train.picture_reading import Reading, read, read_folder
from varifold.models.train.picture_shelf import Shelf
from varifold.models.train.picture_sources import embedded_tiles
from varifold.models.train.picture_split import groups_of, hold_out, small
from varifold.models.train.picture_words import word_rows, word_table, words_of


def noise(number: int, size: tuple[int, int] = (8, 8), channels: int = 3) -> Image.Image:
    """A picture unlike that of any other number."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size[::-1], channels), np.uint8))


def put(path: Path, image: Image.Image, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


@pytest.fixture
def pets(tmp_path) -> Path:
    """Twelve cats and eight dogs of 8×8."""
    for number in range(20):
        put(tmp_path / "pets" / ("cat" if number < 12 else "Big Dog") / f"{number}.png", noise(number))
    return tmp_path / "pets"


def drawn(pictures, steps, batch=5, seed=0, **more):
    draws = [pictures.draw(Chance(seed, step, batch, **more)) for step in steps]
    return torch.cat([x0 for x0, _ in draws]), torch.cat([rows for _, rows in draws])


def numbers(pictures, x0) -> list[int]:
    """Which picture each of x0 is."""
    known = {each.numpy().tobytes(): number for number, each in enumerate(pictures.x0(range(len(pictures))))}
    return [known[each.numpy().tobytes()] for each in x0]


def test_folders_are_labels_and_their_names_words(pets):
    pictures = read_folder(pets, size=8, held_out=0)
    assert (pictures.shape, pictures.channels, len(pictures), pictures.held) == ((3, 8, 8), "rgb", 20, None)
    assert pictures.labels == ("Big Dog", "cat") and pictures.words == ("<null>", "big", "cat", "dog")
    for number, name in enumerate(pictures.names):
        with Image.open(pets / name) as image:
            np.testing.assert_array_equal((pictures.rgb([number])[0] * 255).round(), np.asarray(image))
        label = name.split("/")[0]
        assert pictures.said(number) == pictures.labels[pictures.label_of[number]] == label
        assert [pictures.words[row] for row in pictures.rows[number] if row] == label.lower().split()
    assert "labels, 2: cat 12, Big Dog 8" in pictures.notes


def test_an_epoch_has_every_picture_once(pets):
    pictures = read_folder(pets, size=8, held_out=0)
    first, second = (numbers(pictures, drawn(pictures, steps)[0]) for steps in (range(4), range(4, 8)))
    assert sorted(first) == sorted(second) == list(range(20)) and first != second
    odd = numbers(pictures, drawn(pictures, range(20), batch=3)[0])
    assert all(sorted(odd[start : start + 20]) == list(range(20)) for start in (0, 20, 40))
    assert sorted(numbers(pictures, drawn(pictures, [0], batch=40)[0])) == sorted([*range(20)] * 2)


def test_a_step_draws_the_same_however_many_share_it(pets):
    options = {"size": 6, "crop": "random", "flip": True, "held_out": 0}
    whole = drawn(read_folder(pets, **options), [3], batch=6)
    again = read_folder(pets, **options)
    shared = [drawn(again, [3], batch=6, rows=rows) for rows in (slice(0, 3), slice(3, 6))]
    assert all(torch.equal(one, torch.cat(parts)) for one, *parts in zip(whole, *shared, strict=True))
    assert not torch.equal(whole[0], drawn(again, [3], batch=6, seed=1)[0])


def test_half_are_mirrored_where_that_is_asked_for(pets):
    plain, flipped = (read_folder(pets, size=8, held_out=0, flip=flip) for flip in (False, True))
    for pictures, low, high in ((plain, 0, 0), (flipped, 0.4, 0.6)):
        x0 = drawn(pictures, range(20), batch=20)[0]
        own = {each.numpy().tobytes() for each in pictures.x0(range(20))}
        turned = [each for each in x0 if each.numpy().tobytes() not in own]
        assert low <= len(turned) / 400 <= high
        assert all(each.flip(2).numpy().tobytes() in own for each in turned)


def test_words_are_left_out_by_chance_but_never_part_of_a_label(pets, tmp_path):
    rows = drawn(read_folder(pets, size=8, held_out=0), range(50), batch=20)[1]
    said = Counter(tuple(row.tolist()) for row in rows)
    assert set(said) == {(0, 0), (1, 3), (2, 0)}
    assert 0.06 < said[0, 0] / 1000 < 0.15
    for number in range(4):
        put(tmp_path / "told" / f"{number}.png", noise(number)).with_suffix(".txt").write_text("a red cat")
    rows = drawn(read_folder(tmp_path / "told", size=8, held_out=0), range(250), batch=4)[1]
    said = Counter(tuple(row.tolist()) for row in rows)
    for row, share in {(2, 1): 0.9**3, (0, 0): 0.1 + 0.9 * 0.01, (2, 0): 0.081, (0, 1): 0.081}.items():
        assert share / 2 < said[row] / 1000 < 2 * share


def test_what_is_held_out_is_never_trained_on_and_always_the_same(pets, tmp_path):
    pictures = read_folder(pets, size=8, held_out=0.2, flip=True)
    assert len(pictures) == 16 and len(pictures.held) == 4 and pictures.held.held is None
    assert not set(pictures.names) & set(pictures.held.names)
    other = tmp_path / "renamed"
    for number, name in enumerate(sorted(map(str, pets.rglob("*.png")), reverse=True)):
        path = put(other / Path(name).parent.name / f"é{number}.png", Image.open(name))
        os.utime(path, (0, 0))
    renamed = read_folder(other, size=8, held_out=0.2, flip=True)
    assert renamed.identity == pictures.identity
    assert torch.equal(renamed.held.rgb(range(4)), pictures.held.rgb(range(4)))
    assert read_folder(pets, size=8, held_out=0.2, seed=1, flip=True).identity != pictures.identity
    # As it is, in the same order however often it is asked.
    x0, rows = drawn(pictures.held, [-1], batch=4)
    assert sorted(numbers(pictures.held, x0)) == [0, 1, 2, 3] and rows.any(1).all()
    assert torch.equal(drawn(pictures.held, [-1], batch=4)[0], x0)


def test_the_identity_changes_with_pictures_labels_and_options(pets):
    seen = {read_folder(pets, size=8).identity}
    for change in ({"size": 12}, {"flip": True}, {"words": "none"}, {"vocabulary": 2}, {"crop": "pad"}):
        seen.add(read_folder(pets, **{"size": 8, **change}).identity)
    os.rename(pets / "cat", pets / "kitten")
    seen.add(read_folder(pets, size=8).identity)
    put(pets / "kitten" / "0.png", noise(99))
    seen.add(read_folder(pets, size=8).identity)
    assert len(seen) == 8


def test_pictures_that_look_alike_are_on_one_side(tmp_path):
    for number in range(40):
        image = noise(number // 4, (6, 6)).resize((48, 48), Image.Resampling.BICUBIC)
        put(tmp_path / f"{number}.jpg", image, quality=50 + 15 * (number % 4))
    pictures = read_folder(tmp_path, size=48, held_out=0.2)
    series = lambda part: {int(name.removesuffix(".jpg")) // 4 for name in part.names}  # noqa: E731
    assert len(pictures.held) == 8 and not series(pictures) & series(pictures.held)
    assert groups_of(np.stack([small(each) for each in pictures.pixels])) == [
        min(n for n, name in enumerate(pictures.names) if int(name[:-4]) // 4 == int(own[:-4]) // 4)
        for own in pictures.names
    ]


def test_a_label_keeps_its_last_picture():
    keys = [str(number) for number in range(12)]
    for seed in range(20):
        held = hold_out(range(12), keys, ["common"] * 8 + ["twice", "twice", "once", ""], 0.5, seed)
        assert len(held) == 6 and 10 not in held and not {8, 9} <= held
    assert hold_out([0] * 9 + [9], [*keys[:10]], [""] * 10, 0.2, 0) == {9}
    assert hold_out([0] * 4, keys[:4], [""] * 4, 0.5, 0) == set()


def test_parts_that_a_folder_has_are_kept(tmp_path):
    for number in range(12):
        part = ("train", "train", "val", "test")[number % 4]
        put(tmp_path / part / ("a", "b")[number % 2] / f"{number}.png", noise(number))
    pictures = read_folder(tmp_path, size=8, held_out=0.5)
    assert {name.split("/")[0] for name in pictures.names} == {"train"} and pictures.labels == ("a", "b")
    assert {name.split("/")[0] for name in pictures.held.names} == {"val", "test"}


def test_a_folder_called_train_among_others_is_a_label(tmp_path):
    for number, label in enumerate(["train", "bus", "train", "bus"]):
        put(tmp_path / label / f"{number}.png", noise(number))
    assert read_folder(tmp_path, size=8).labels == ("bus", "train")


def test_captions_lie_beside_pictures_or_in_metadata(tmp_path):
    for number in range(4):
        put(tmp_path / "s" / f"{number}.png", noise(number))
    (tmp_path / "s" / "0.txt").write_text("\ufeffThe knight’s RED sword, <lora:x:1>", encoding="utf-8")
    (tmp_path / "s" / "3.txt").write_text("  \n")
    rows = [{"file_name": "s/1.png", "text": "a blue café"}, {"file_name": "s/2.png", "caption": "moon", "label": 7}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    said = {source.name: (source.label, source.caption) for source in find(tmp_path)[0]}
    assert said["s/2.png"] == ("7", "moon") and said["s/3.png"] == ("s", "")
    pictures = read_folder(tmp_path, size=8, held_out=0)
    assert pictures.words == ("<null>", "blue", "café", "knight", "moon", "red", "sword") and pictures.labels == ()
    assert sorted(map(pictures.said, range(4))) == ["", "blue café", "knight red sword", "moon"]
    assert "pictures without a word: 1" in pictures.notes
    assert Vocabulary(pictures.words).indices("The Knight's red swords", "error") == ([3, 5, 6], [])


@pytest.mark.parametrize("name", ["../out.png", "/etc/passwd", "a/../../out.png", "", 7, None, "a\0b"])
def test_metadata_names_nothing_outside(tmp_path, name):
    put(tmp_path / "out.png", noise(1))
    put(tmp_path / "set" / "in.png", noise(2))
    (tmp_path / "set" / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": "x"}) + "\n[]\nno json\n\n")
    sources, problems = find(tmp_path / "set")
    assert [source.name for source in sources] == ["in.png"]
    assert [problem.split(",")[1][:7] for problem in problems] == [" line 1", " line 2", " line 3"]


def test_links_out_hidden_files_and_captions_alone_are_told_or_passed_over(tmp_path):
    put(tmp_path / "out" / "secret.png", noise(1))
    folder = tmp_path / "set"
    put(folder / "in.png", noise(2))
    put(folder / "._in.png", noise(3))
    put(folder / ".cache" / "x.png", noise(3))
    (folder / "out.png").symlink_to(tmp_path / "out" / "secret.png")
    (folder / "inside.png").symlink_to(folder / "in.png")
    (folder / "away").symlink_to(tmp_path / "out")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "lost.txt").write_text("a caption")
    (tmp_path / "out" / "secret.txt").write_text("a secret")
    (folder / "in.txt").symlink_to(tmp_path / "out" / "secret.txt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
    sources, problems = find(folder)
    assert [(source.name, source.caption) for source in sources] == [("in.png", ""), ("inside.png", "")]
    assert sorted(problems) == [
        "away is a link to a folder",
        "gone.png is no file",
        "in.txt leads out of the folder by a link",
        "loop is a link to a folder",
        "lost.txt is a caption without a picture",
        "out.png leads out of the folder by a link",
        *(["pipe.png is no file"] if hasattr(os, "mkfifo") else []),
    ]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_a_name_that_is_no_text_can_still_be_told(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(name)
    for file in (b"/a.png", b"/bad.png"):
        with open(name + file, "wb") as opened:
            noise(1).save(opened, "PNG") if file == b"/a.png" else opened.write(b"no")
    pictures = read_folder(tmp_path, size=8)
    assert pictures.labels == ("caf\\udce9",) and pictures.names == ("caf\\udce9/a.png",)
    "".join((*pictures.problems, *pictures.notes)).encode()


def broken() -> dict[str, bytes]:
    png, jpeg = io.BytesIO(), io.BytesIO()
    noise(0, (64, 64)).save(png, "PNG")
    noise(0, (64, 64)).save(jpeg, "JPEG")

    def header(width: int, height: int) -> bytes:
        parts = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"0" * 99))
        chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

    return {
        "empty.png": b"",
        "text.png": b"not a picture",
        "cut.png": png.getvalue()[:3000],
        "cut.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
        "bomb.png": header(1_000_000, 1_000_000),
        "large.png": header(9000, 8000),
        "nothing.png": header(0, 5),
    }


def test_a_broken_picture_is_told_and_the_rest_is_read(tmp_path):
    put(tmp_path / "good.png", noise(1))
    (tmp_path / "folder.png").mkdir()
    for name, content in broken().items():
        (tmp_path / name).write_bytes(content)
    pictures = read_folder(tmp_path, size=8)
    assert pictures.names == ("good.png",) and pictures.held is None
    told = {problem.split()[0]: problem for problem in pictures.problems}
    assert set(told) == set(broken())
    assert "too many pixels" in told["bomb.png"] and "9000×8000 is more than" in told["large.png"]
    assert not any(str(tmp_path) in problem or "0x" in problem for problem in pictures.problems)
    (tmp_path / "good.png").unlink()
    with pytest.raises(ValueError, match=r"none of 7 pictures can be read; bomb.png has too many pixels"):
        read_folder(tmp_path, size=8)


def grey16(most: float) -> Image.Image:
    return Image.fromarray((np.arange(64).reshape(8, 8) / 63 * most).astype(np.uint16))


def palette() -> Image.Image:
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) // 32, "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    return image


KINDS = {
    "grey.png": (Image.fromarray(np.full((8, 8), 51, np.uint8)), {}, (51, 51, 51)),
    "bit.png": (Image.fromarray(np.full((8, 8), 255, np.uint8)).convert("1"), {}, (255, 255, 255)),
    "grey16.png": (Image.fromarray(np.full((8, 8), 51 * 257, np.uint16)), {}, (51, 51, 51)),
    "grey16.tif": (Image.fromarray(np.full((8, 8), 51 * 257, np.uint16)), {}, (51, 51, 51)),
    "float.tif": (Image.fromarray(np.full((8, 8), 0.2, np.float32)), {}, (51, 51, 51)),
    "int.tif": (Image.fromarray(np.full((8, 8), 51 * 257, np.int32)), {}, (51, 51, 51)),
    "cmyk.jpg": (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), {"quality": 100}, (254, 0, 0)),
    "cmyk.tif": (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), {}, (255, 0, 0)),
    "lab.tif": (Image.new("LAB", (8, 8), (255, 128, 128)), {}, None),
    "palette.gif": (Image.new("P", (8, 8), 0), {}, (0, 0, 0)),
    "grey_alpha.png": (Image.new("LA", (8, 8), (51, 255)), {}, (51, 51, 51)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_is_read(tmp_path, name):
    image, how, colour = KINDS[name]
    put(tmp_path / name, image, **how)
    pictures = read_folder(tmp_path, size=8)
    assert pictures.problems == () and pictures.channels == "rgb"
    if colour is not None:
        assert np.abs(pictures.pixels[0].astype(int) - colour).max() <= 1


def test_numbers_that_are_no_brightness_are_refused(tmp_path):
    for name, number in (("float.tif", np.float32(300)), ("nan.tif", np.float32("nan")), ("int.tif", np.int32(-1))):
        put(tmp_path / name, Image.fromarray(np.full((8, 8), number)))
    with pytest.raises(ValueError, match=r"none of 3 .* float.tif cannot be read: its numbers are not from 0 to 1"):
        read_folder(tmp_path, size=8)


def test_transparency_is_kept_or_laid_on_a_ground(tmp_path):
    image = noise(1, channels=4)
    image.putalpha(Image.fromarray(np.repeat([[0, 0, 255, 255, 255, 255, 100, 200]], 8, 0).astype(np.uint8)))
    put(tmp_path / "a.png", image)
    palette().save(tmp_path / "b.png", transparency=0)
    put(tmp_path / "c.png", noise(2))
    kept = read_folder(tmp_path, size=8, held_out=0)
    assert (kept.channels, kept.shape) == ("rgba", (4, 8, 8))
    rgba = {name: kept.rgb([number])[0] for number, name in enumerate(kept.names)}
    assert rgba["a.png"][..., 3].tolist() == [[0, 0, 1, 1, 1, 1, 0, 1]] * 8 and not rgba["a.png"][:, :2].any()
    assert rgba["b.png"][..., 3].tolist() == [[0] * 8] * 4 + [[1] * 8] * 4 and rgba["c.png"][..., 3].all()
    x0, _ = drawn(kept, [0], batch=3)
    assert all(torch.equal(decode(x0, "rgba")[1][i], kept.rgb([n])[0, ..., 3]) for i, n in enumerate(numbers(kept, x0)))
    white = read_folder(tmp_path, size=8, held_out=0, transparency="on white")
    assert white.channels == "rgb"
    rgb = white.rgb([white.names.index("a.png")])[0]
    colours, alpha = np.asarray(image)[..., :3] / 255, np.asarray(image)[..., 3:] / 255
    np.testing.assert_allclose(rgb, colours * alpha + 1 - alpha, atol=1.1 / 255)


def test_a_camera_held_sideways_and_the_first_frame_of_many(tmp_path):
    turned = Image.new("RGB", (12, 8))
    turned.paste((255, 0, 0), (0, 0, 6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / "turned.png", turned, exif=exif)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("lime", "red", "blue")]
    put(tmp_path / "moving.gif", frames[0], save_all=True, append_images=frames[1:])
    put(tmp_path / "moving.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    pictures = read_folder(tmp_path, size=8, held_out=0)
    shown = dict(zip(pictures.names, pictures.pixels, strict=True))
    assert (shown["turned.png"][0] == (255, 0, 0)).all() and (shown["turned.png"][-1] == 0).all()
    assert (shown["moving.gif"] == (0, 255, 0)).all() and (shown["moving.webp"] == (0, 255, 0)).all()


def test_the_middle_is_cut_out_and_padding_keeps_all():
    image = Image.new("RGB", (30, 10), (255, 0, 0))
    image.paste((0, 0, 255), (10, 0, 20, 10))
    assert (Fit(20)(image) == (0, 0, 255)).all()
    padded = Fit(30, "pad")(image)
    assert padded.shape == (30, 30, 4)
    assert (padded[..., 3] == 255).sum(0).tolist() == [10] * 30 and (padded[10:20, 10:20, 2] == 255).all()
    grounded = Fit(30, "pad", transparency="on white")(image)
    assert grounded.shape == (30, 30, 3) and (grounded[:10] == 255).all()


def test_a_very_long_picture_costs_no_more_than_what_is_kept_of_it():
    long = Image.new("RGB", (1_000_000, 3), (9, 8, 7))
    for crop in ("centre", "random", "pad"):
        pixels = Fit(16, crop, transparency="on black")(long)
        assert pixels.shape == ((16, 32, 3) if crop == "random" else (16, 16, 3))
    assert (Fit(16)(long) == (9, 8, 7)).all()


def test_a_random_crop_is_another_part_each_time_and_of_held_out_ones_the_middle(tmp_path):
    ramp = np.add.outer(np.arange(64), np.arange(64) * 2).astype(np.uint8)
    put(tmp_path / "a.png", Image.fromarray(ramp))
    pictures = read_folder(tmp_path, size=32, crop="random", held_out=0)
    assert pictures.pixels[0].shape[:2] == (36, 36)
    x0, _ = drawn(pictures, range(60), batch=1)
    whole = pictures.pixels[0].astype(np.float32) / 127.5 - 1
    places = set()
    for each in x0:
        part = each.movedim(0, -1).numpy()
        (place,) = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.allclose(part, whole[top : top + 32, left : left + 32], atol=1e-5)
        ]
        places.add(place)
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))
    np.testing.assert_allclose(pictures.x0([0])[0].movedim(0, -1), whole[2:34, 2:34], atol=1e-5)


def test_pixels_stay_sharp_and_colours_do_not_bleed_out_of_what_is_transparent():
    checks = Image.fromarray((np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8))
    assert set(np.unique(Fit(24, scaling="pixels")(checks))) == {0, 255}
    sprite = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    sprite.paste((255, 0, 0, 255), (10, 10, 30, 30))
    small_one = Fit(16)(sprite)
    seen = small_one[small_one[..., 3] > 127]
    assert len(seen) and (seen[:, 1] == 0).all() and (seen[:, 0] >= 254).all()


def test_a_palette_is_one_for_all(pets):
    pictures = read_folder(pets, size=8, colours=5, held_out=0)
    seen = {tuple(colour) for each in pictures.pixels for colour in each.reshape(-1, 3).tolist()}
    assert 2 <= len(seen) <= 5
    with Image.open(pets / pictures.names[0]) as image:
        own = np.asarray(image).astype(int)
    assert np.abs(pictures.pixels[0].astype(int) - own).mean() < 60


def test_a_palette_knows_no_colours_of_what_is_transparent(tmp_path):
    image = Image.new("RGBA", (8, 8), (0, 255, 0, 0))
    image.paste((200, 10, 10, 255), (0, 0, 4, 8))
    put(tmp_path / "a.png", image)
    put(tmp_path / "b.png", Image.new("RGBA", (8, 8), (1, 2, 3, 0)))
    pictures = read_folder(tmp_path, size=8, colours=2, held_out=0)
    seen = np.concatenate([each.reshape(-1, 4) for each in pictures.pixels])
    assert {tuple(colour) for colour in seen[seen[:, 3] > 0].tolist()} == {(200, 10, 10, 255)}


def test_the_most_frequent_words_are_kept_and_long_captions_cut():
    bags = [words_of(text) for text in ("red cat", "red dog", "red", "Zebra", "ant's Ant")]
    assert word_table(bags, 2) == ("<null>", "ant", "red") and word_table([[], []], 5) == ()
    words = word_table(bags, 99)
    assert words == ("<null>", "ant", "cat", "dog", "red", "zebra")
    long = [f"word{number}" for number in range(30)]
    assert word_rows([long], ("<null>", *long)).tolist() == [[*range(1, 12)]]
    assert word_rows([["no"], []], words).shape == (2, 0)
    assert words_of("x" * 65 + " Cafe\u0301 猫 3 of the") == ["café", "猫", "3"]


def test_the_report_tells_of_words_labels_and_sizes(tmp_path):
    for number, label in enumerate(["red cat", "red cat", "cat-red", "cat-red", "owl", "red cat"]):
        put(tmp_path / label / f"{number}.png", noise(number))
    put(tmp_path / "owl" / "same.png", noise(4))
    put(tmp_path / "!!" / "9.png", noise(9, (30, 12)))
    put(tmp_path / "above.png", noise(10))
    notes = read_folder(tmp_path, size=16, held_out=0, words="labels").notes
    assert "labels, 4: red cat 3, cat-red 2, owl 2, !! 1" in notes
    assert "labels of the same words: cat-red, red cat" in notes
    assert "seen once, and never held out: !!" in notes
    assert "pictures without a word: 2" in notes
    assert "pictures that are the same as another: 1" in notes
    assert "brought to 16×16: 9, from 8×8 to 30×12" in notes
    rare = read_folder(tmp_path, size=16, held_out=0, words="labels", vocabulary=1).notes
    assert "words, 1: cat 5" in rare and "words not learned, 2: red 5, owl 2" in rare


def test_one_picture_and_all_alike_hold_out_nothing(tmp_path):
    put(tmp_path / "a.png", noise(1))
    pictures = read_folder(tmp_path, size=8)
    assert len(pictures) == 1 and pictures.held is None and pictures.rows.shape == (1, 0) and pictures.words == ()
    x0, rows = drawn(pictures, range(3), batch=4)
    assert x0.shape == (12, 3, 8, 8) and rows.shape == (12, 0)
    put(tmp_path / "b.png", noise(1))
    assert any(note.startswith("none could be held out") for note in read_folder(tmp_path, size=8).notes)


def test_a_folder_that_is_missing_or_empty_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="none of 0 pictures"):
        read_folder(tmp_path)
    put(tmp_path / "val" / "a.png", noise(1))
    assert len(read_folder(tmp_path, size=8)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("size", 2), ("size", 2000), ("crop", "left"), ("scaling", ""), ("transparency", "on red")),
        *(("colours", 300), ("words", "all"), ("vocabulary", 0), ("held_out", 0.9), ("held_out", float("nan"))),
    ],
)
def test_options_out_of_bounds_are_named(field, value):
    with pytest.raises(ValueError, match=f"^{field} should be"):
        Reading(**{field: value})


def test_many_pictures_lie_in_a_file_that_leaves_nothing_behind(pets, tmp_path):
    cache = tmp_path / "cache"
    sources, problems = find(pets)
    options = Reading(size=8, held_out=0.2)
    kept = read(sources, options, problems=problems)
    stored = read(sources, options, problems=problems, shelf=Shelf(cache, room=1000))
    assert stored.notes[1].startswith("in a file of the cache") and kept.notes[1].startswith("in memory")
    assert stored.identity == kept.identity and list(cache.iterdir()) == []
    for step in range(3):
        assert all(map(torch.equal, stored.draw(Chance(0, step, 7)), kept.draw(Chance(0, step, 7))))
    assert torch.equal(stored.held.rgb(range(4)), kept.held.rgb(range(4)))


def test_a_full_disk_is_told_and_leaves_nothing(pets, tmp_path, monkeypatch):
    monkeypatch.setattr(picture_shelf, "LEFT_FREE", 2**60)
    with pytest.raises(ValueError, match=r"cannot wait in .*cache: the disk is full after .*make room there"):
        read(find(pets)[0], Reading(size=8), shelf=Shelf(tmp_path / "cache", room=1000))
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"too many for memory, and .*file"):
        read(find(pets)[0], Reading(size=8), shelf=Shelf(tmp_path / "file" / "cache", room=1000))


def test_reading_stops_when_it_is_told_to():
    seen = []

    def opened():
        seen.append(1)
        return noise(1)

    def watch(done):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read([Source(str(number), opened) for number in range(2000)], Reading(size=8), watch=watch)
    assert len(seen) <= 128


def test_the_tiles_hold_out_what_the_embedded_denoiser_never_saw():
    pictures = read(embedded_tiles(), Reading(size=32))
    assert (len(pictures), len(pictures.held), pictures.channels) == (1747, 196, "rgba")
    assert pictures.problems == () and "hat" in pictures.words and pictures.labels == ()
    assert "held out is what the source holds out itself" in pictures.notes
    assert not any("brought to" in note for note in pictures.notes)
