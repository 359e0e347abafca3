"""The pictures that the embedded denoiser learns from, and the figures by which it is judged."""

import colorsys
import csv
import hashlib
import io
import math
import re
import tarfile
from collections import Counter

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from scipy.stats import binomtest, chisquare

from varifold.models.denoising.vocabulary import USUAL_LENGTH, Vocabulary
from varifold.models.pixel_art import batches, classify, colours, copies, heroes, naming, prepare, prompts, tiles
from varifold.models.pixel_art.batches import PixelArt
from varifold.models.pixel_art.heroes import LAYERS, Wardrobe
from varifold.models.pixel_art.tiles import Pictures


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def art() -> PixelArt:
    return PixelArt()


@pytest.fixture
def still(monkeypatch):
    monkeypatch.setattr(batches, "SHIFT", 0)
    for name in ("HEROES", "FLIPPED", "RECOLOURED", "WORD_DROPOUT", "PROMPT_DROPOUT"):
        monkeypatch.setattr(batches, name, 0.0)


def bitwise(x0: torch.Tensor) -> list[bytes]:
    return [picture.numpy().tobytes() for picture in (255 * x0).round().short()]


def looked_up(pictures: Pictures) -> dict[bytes, int]:
    x0 = batches.encode(pictures.rgba[:, :3].movedim(1, -1), pictures.rgba[:, 3], "rgba")
    return {key: number for number, key in enumerate(bitwise(x0))}


@pytest.mark.parametrize("name", tiles.LISTS)
def test_a_list_and_its_sheet_have_as_many_pictures(name):
    with Image.open(tiles.FOLDER / f"{name}.png") as sheet:
        shown = np.array(sheet)[..., 3].reshape(-1, 32, 64, 32).any((1, 3)).ravel()
    with open(tiles.FOLDER / f"{name}.csv", encoding="utf-8") as file:
        count = sum(1 for _ in file) - 1
    assert len(tiles.load(name)) == len(tiles.load(name).rgba) == count
    assert shown[:count].all() and not shown[count:].any() and len(shown) - count < 64


@pytest.mark.parametrize(("number", "left", "top"), [(0, 0, 0), (63, 2016, 0), (64, 0, 32), (200, 256, 96)])
def test_pictures_stand_in_the_order_of_reading(number, left, top):
    with Image.open(tiles.FOLDER / "tiles.png") as sheet:
        expected = np.array(sheet.crop((left, top, left + 32, top + 32)))
    assert np.array_equal((tiles.load("tiles").rgba[number] * 255).round().byte().permute(1, 2, 0), expected)


@pytest.mark.parametrize("name", tiles.LISTS)
def test_every_picture_is_of_one_split(name):
    train, held, both = (tiles.load(name, split) for split in ("train", "held", None))
    assert len(set(both.paths)) == len(both) == len(train) + len(held)
    assert set(train.paths) | set(held.paths) == set(both.paths)


def test_a_tenth_of_the_tiles_and_of_the_bodies_is_held_out():
    for held, both in (
        (tiles.load("tiles", "held"), tiles.load("tiles")),
        (tiles.load("layers", "held").of("body"), tiles.load("layers").of("body")),
    ):
        assert len(held) == pytest.approx(len(both) / 10, abs=len(both) / 100)
    assert set(tiles.load("layers", "held").kinds) == {"body"}


def test_every_kind_of_six_tiles_or_more_has_one_held_out():
    held = set(tiles.load("tiles", "held").kinds)
    assert [kind for kind, count in Counter(tiles.load("tiles").kinds).items() if count >= 6 and kind not in held] == []


def test_no_held_out_tile_is_a_train_tile_in_another_place_or_mirrored():
    def cropped(rgba: np.ndarray) -> bytes:
        rows, columns = (np.flatnonzero(rgba[..., 3].any(axis)) for axis in (1, 0))
        box = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return str(box.shape).encode() + box.tobytes()

    def arrays(split: str) -> dict[str, np.ndarray]:
        pictures = tiles.load("tiles", split)
        rgba = (copies.snapped(pictures.rgba) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        return dict(zip(pictures.paths, rgba, strict=True))

    train = {cropped(way): path for path, rgba in arrays("train").items() for way in (rgba, rgba[:, ::-1])}
    same = {path: train[cropped(rgba)] for path, rgba in arrays("held").items() if cropped(rgba) in train}
    assert same == {}


@pytest.mark.parametrize("name", tiles.LISTS)
def test_every_picture_shows_something_and_what_is_transparent_is_black(name):
    rgba = tiles.load(name).rgba
    assert rgba.min() == 0 and rgba.max() == 1
    assert (rgba[:, 3] > 0.5).any((1, 2)).all()
    assert not (rgba[:, :3] * (rgba[:, 3:] == 0)).any()


def test_every_tile_has_words_that_fit_a_prompt_beside_two_colours_and_a_flip():
    assert all(1 <= len(words) <= USUAL_LENGTH - 3 for words in tiles.load("tiles").words)
    assert all(word.isalnum() and word == word.lower() for words in tiles.load("tiles").words for word in words)


def test_pictures_are_selected_joined_and_sorted_by_kind_with_all_that_is_theirs():
    rgba = torch.arange(4.0)[:, None, None, None].expand(4, 4, 32, 32)
    pictures = Pictures(rgba, tuple("abab"), (("w",), ("x",), ("y",), ("z", "z")), tuple("pqrs"))
    b = pictures.of("b")
    assert (b.kinds, b.words, b.paths, b.rgba[:, 0, 0, 0].tolist()) == (
        ("b", "b"),
        (("x",), ("z", "z")),
        ("q", "s"),
        [1, 3],
    )
    joined = pictures.select([3, 0]).join(b)
    assert (joined.paths, joined.rgba[:, 0, 0, 0].tolist(), len(joined)) == (("s", "p", "q", "s"), [3, 0, 1, 3], 4)
    assert len(pictures.of("c")) == 0


@pytest.mark.parametrize("text", [*prompts.NAMING.values(), *prompts.CLASSES.values(), *prompts.SHEET])
def test_every_prompt_is_of_known_words(art, text):
    assert set(text.split()) <= set(art.words)
    assert Vocabulary(art.words).indices(text, "error") == ([art.row[word] for word in text.split()], [])


def test_there_are_200_sprites_to_name_and_twelve_classes_few_of_them_textures():
    assert (len(prompts.NAMING), len(set(prompts.NAMING.values())), len(prompts.SEEDS)) == (20, 20, 10)
    assert len(prompts.CLASSES) == len(set(prompts.CLASSES.values())) == 12
    assert len(set(prompts.CLASSES) & set(tiles.TEXTURES)) <= 12 / 3


@pytest.mark.parametrize("kind", sorted(set(prompts.CLASSES) - {"hero"}))
def test_every_class_is_a_kind_of_tile_that_is_asked_for_by_a_word_of_it(kind):
    assert len(tiles.load("tiles", "held").of(kind)) > 0
    train = tiles.load("tiles", "train").of(kind)
    said = sum(set(prompts.CLASSES[kind].split()) <= set(words) for words in train.words)
    assert said > len(train) / 2


@pytest.mark.parametrize("degrees", [0, 1, 60, 90, 137, 180, 270, 359, 360, -45, 1000])
def test_hues_turn_as_in_a_browser(degrees):
    a = math.radians(degrees)
    cos, sin = math.cos(a), math.sin(a)
    # W3C, Filter Effects Module Level 1, feColorMatrix, type hueRotate.
    matrix = np.array(
        [
            [0.213 + cos * 0.787 - sin * 0.213, 0.715 - cos * 0.715 - sin * 0.715, 0.072 - cos * 0.072 + sin * 0.928],
            [0.213 - cos * 0.213 + sin * 0.143, 0.715 + cos * 0.285 + sin * 0.140, 0.072 - cos * 0.072 - sin * 0.283],
            [0.213 - cos * 0.213 - sin * 0.787, 0.715 - cos * 0.715 + sin * 0.715, 0.072 + cos * 0.928 + sin * 0.072],
        ]
    )
    rgb = torch.rand(2, 3, 5, 7, generator=seeded(1))
    expected = np.clip(np.einsum("ij,njhw->nihw", matrix, rgb.numpy()), 0, 1)
    np.testing.assert_allclose(colours.rotate_hue(rgb, torch.tensor([a, a])), expected, atol=2e-6)


def test_each_picture_is_turned_by_its_own_angle():
    rgb = torch.rand(3, 3, 4, 4, generator=seeded())
    angles = torch.tensor([0.0, 1.0, 2 * math.pi])
    turned = colours.rotate_hue(rgb, angles)
    torch.testing.assert_close(turned[[0, 2]], rgb[[0, 2]])
    torch.testing.assert_close(turned[1:2], colours.rotate_hue(rgb[1:2], angles[1:2]))
    assert not torch.allclose(turned[1], rgb[1], atol=0.01)


def test_grey_stays_and_lightness_does_where_nothing_is_clipped():
    angle = torch.linspace(0, 6, 20)
    grey = torch.linspace(0, 1, 16).view(1, 1, 4, 4).expand(20, 3, 4, 4)
    torch.testing.assert_close(colours.rotate_hue(grey, angle), grey)
    pale = 0.45 + 0.1 * torch.rand(20, 3, 4, 4, generator=seeded())
    turned = colours.rotate_hue(pale, angle)
    luma = torch.tensor([0.213, 0.715, 0.072])[:, None, None]
    torch.testing.assert_close((luma * turned).sum(1), (luma * pale).sum(1), atol=1e-4, rtol=0)
    assert (turned - pale).abs().amax() > 0.02


def plain(*rgb: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(rgb).T[None, :, None]


@pytest.mark.parametrize(
    ("name", "hexadecimal"),
    [
        *[("black", "000000"), ("black", "201810"), ("gray", "808080"), ("gray", "606870"), ("white", "ffffff")],
        *[("white", "e8e8f0"), ("brown", "8b4513"), ("brown", "a0522d"), ("brown", "604010"), ("red", "ff0000")],
        *[("red", "b22222"), ("red", "dc143c"), ("orange", "ffa500"), ("orange", "ff8c00"), ("yellow", "ffff00")],
        *[("yellow", "ffd700"), ("green", "008000"), ("green", "00ff00"), ("green", "228b22"), ("cyan", "00ffff")],
        *[("cyan", "008080"), ("blue", "0000ff"), ("blue", "000080"), ("blue", "4169e1"), ("purple", "663399")],
        *[("purple", "9400d3"), ("purple", "4b0082"), ("pink", "ff69b4"), ("pink", "ff1493")],
    ],
)
def test_plain_colours_have_their_usual_names(name, hexadecimal):
    pixel = plain(tuple(byte / 255 for byte in bytes.fromhex(hexadecimal)))
    assert colours.NAMES[colours.name_pixels(pixel).item()] == name


def test_bright_colours_are_named_all_around_the_wheel():
    middles = {"red": 2, "orange": 28, "yellow": 55, "green": 115, "cyan": 180, "blue": 228, "purple": 275, "pink": 320}
    for saturation in (1, 0.6):
        wheel = plain(*(colorsys.hsv_to_rgb(hue / 360, saturation, 0.9) for hue in [*middles.values(), 355]))
        assert [colours.NAMES[number] for number in colours.name_pixels(wheel)[0, 0]] == [*middles, "red"]


RED, GREEN, BLUE, BLACK = (1.0, 0.0, 0.0), (0.0, 0.6, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)
WHITE, GRAY, PINK = (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1.0, 0.4, 0.7)


@pytest.mark.parametrize(
    ("pixels", "named"),
    [
        ({RED: 100}, "red"),
        ({RED: 60, BLUE: 40}, "red blue"),
        ({BLUE: 60, RED: 40}, "blue red"),
        ({RED: 80, BLUE: 20}, "red"),
        ({RED: 45, BLUE: 30, GREEN: 25}, "red blue"),
        ({RED: 24, BLUE: 18, GREEN: 16, WHITE: 15, GRAY: 14, PINK: 13}, "red"),
        ({RED: 70, BLACK: 30}, "red"),
        ({RED: 30, BLACK: 70}, "red"),
        ({RED: 30, BLACK: 80}, "red black"),
        ({RED: 10, BLACK: 90}, "black"),
        ({BLACK: 100}, "black"),
    ],
    ids=str,
)
def test_a_sprite_is_named_after_the_one_or_two_colours_that_cover_it(pixels, named):
    rgb = plain(*(colour for colour, count in pixels.items() for _ in range(count)))
    found = colours.dominant(rgb, torch.ones(1, 1, rgb.shape[-1], dtype=torch.bool))[0].tolist()
    assert " ".join(colours.NAMES[number] for number in found if number >= 0) == named


def test_transparent_pixels_do_not_count():
    rgb = plain(*[RED] * 10, *[BLUE] * 90)
    opaque = torch.arange(100)[None, None] < 10
    assert colours.dominant(rgb, opaque).tolist() == [[colours.RED, -1]]


def test_nothing_has_no_colour():
    rgb = plain(*[BLUE] * 9)
    assert colours.dominant(rgb, torch.zeros(1, 1, 9, dtype=torch.bool)).tolist() == [[-1, -1]]


NAMES = [name for name in LAYERS for _ in range(2)]


@pytest.fixture(scope="module")
def wardrobe() -> Wardrobe:
    rgba = torch.zeros(len(NAMES), 4, 32, 32)
    for number in range(len(NAMES)):
        for part in (half(rgba[number], number), rgba[number, :, 31]):
            part[:3] = paint(number)[:, None]
            part[3] = 1
    return Wardrobe(Pictures(rgba, tuple(NAMES), tuple((f"word{n}", "on") for n in range(len(NAMES))), tuple(NAMES)))


def half(rgba: torch.Tensor, number: int) -> torch.Tensor:
    return rgba[:, number // 2, number % 2 * 16 :][:, :16]


def paint(number: int) -> torch.Tensor:
    return torch.tensor([(number + 1) / 30, 0.5, 0.3])


def worn(rgba: torch.Tensor) -> list[int]:
    return [number for number in range(len(NAMES)) if half(rgba, number)[3].all()]


def test_the_same_seed_dresses_the_same_heroes(art):
    first, again, other = (art.wardrobe.dress(20, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]) and first[2] == again[2]
    assert not torch.equal(first[0], other[0]) and first[2] != other[2]


def test_no_heroes_can_be_dressed(art):
    rgba, body, words = art.wardrobe.dress(0, seeded())
    assert rgba.shape == body.shape == (0, 4, 32, 32) and words == []


def test_a_heros_words_are_those_of_what_it_wears(wardrobe):
    rgba, _, words = wardrobe.dress(200, seeded())
    for hero, said in zip(rgba, words, strict=True):
        assert said == ["hero", *(word for number in worn(hero) for word in (f"word{number}", "on"))]
        layers = [NAMES[number] for number in worn(hero)]
        assert len(set(layers)) == len(layers)


def test_each_layer_covers_those_below_and_body_is_the_body_alone(wardrobe, monkeypatch):
    monkeypatch.setattr(heroes, "RECOLOURED", 0)
    rgba, body, _ = wardrobe.dress(200, seeded())
    for hero, clothes in zip(rgba, body, strict=True):
        on = worn(hero)
        for number in on:
            assert torch.equal(half(hero, number)[:3, 0], paint(number))
        assert torch.equal(hero[:3, 31, 0], paint(on[-1]))
        assert worn(clothes) == [number for number in on if NAMES[number] == "body"]
        assert clothes[3].sum() == 48 * len(worn(clothes))


def test_layers_are_worn_as_often_as_they_should_be(wardrobe):
    count = 1000
    often = Counter(NAMES[number] for hero in wardrobe.dress(count, seeded())[0] for number in worn(hero))
    for name, chance in LAYERS.items():
        assert binomtest(often[name], count, chance).pvalue > 1e-3


def test_clothes_change_colour_and_skin_and_hair_do_not(wardrobe, monkeypatch):
    monkeypatch.setattr(heroes, "RECOLOURED", 1)
    for hero in wardrobe.dress(50, seeded())[0]:
        for number in worn(hero):
            kept = torch.equal(half(hero, number)[:3, 0], paint(number))
            assert kept == (NAMES[number] in ("base", "hair", "beard"))


def test_heroes_are_opaque_where_their_bodies_are_and_nowhere_half(art, monkeypatch):
    dressed = art.wardrobe.dress(100, seeded())[0]
    monkeypatch.setattr(heroes, "LAYERS", {"base": 1.0})
    naked = art.wardrobe.dress(100, seeded())[0]
    assert (dressed[:, 3][naked[:, 3] > 0] > 0.5).all()
    assert naked[:, 3].any((1, 2)).all() and dressed[:, 3].sum() > 1.2 * naked[:, 3].sum()
    assert ((dressed[:, 3] > 0.5) | ~dressed.any(1)).all()


def test_heroes_of_training_wear_nothing_that_is_held_out(art):
    held = set(tiles.load("layers", "held").paths)
    assert not held & {path for layer in art.wardrobe.layers.values() for path in layer.paths}
    assert held <= {path for layer in PixelArt("held").wardrobe.layers.values() for path in layer.paths}


@pytest.fixture(scope="module")
def batch(art) -> tuple[torch.Tensor, torch.Tensor]:
    return art.batch(600, seeded())


def test_pictures_are_premultiplied_with_alpha_one_or_minus_one(batch):
    x0, _ = batch
    assert x0.shape == (600, 4, 32, 32) and x0.dtype == torch.float32
    assert x0.min() == -1 and x0.max() == 1
    assert set(x0[:, 3].unique().tolist()) == {-1, 1}
    assert not x0[:, :3][(x0[:, 3:] == -1).expand(-1, 3, -1, -1)].any()
    assert (x0[:, 3] == 1).any((1, 2)).all()


def test_captions_are_different_known_words_and_then_nothing(art, batch):
    _, rows = batch
    assert rows.shape == (600, USUAL_LENGTH) and rows.dtype == torch.long
    assert rows.min() == 0 and rows.max() < len(art.words)
    for row in rows.tolist():
        said = [number for number in row if number]
        assert row == said + [0] * (USUAL_LENGTH - len(said)) and len(set(said)) == len(said)


def test_the_vocabulary_is_every_word_once_after_no_word(art):
    assert art.words[:2] == ("<null>", "<flip>") and len(set(art.words)) == len(art.words)
    said = {word for name in tiles.LISTS for words in tiles.load(name).words for word in words}
    assert set(art.words[2:]) == said | set(colours.NAMES) | {"hero"}
    assert PixelArt("held").words == art.words


def test_the_same_seed_draws_the_same_batch(art, batch):
    again, other = art.batch(600, seeded()), art.batch(600, seeded(1))
    assert all(map(torch.equal, again, batch))
    assert not any(map(torch.equal, other, batch))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_batches_can_be_drawn(art, count):
    for seed in range(6):
        x0, rows = art.batch(count, seeded(seed))
        assert (len(x0), len(rows)) == (count, count)


def test_flip_is_said_of_mirrored_pictures_and_of_no_others(art, monkeypatch):
    chance, flipped = batches.FLIPPED, 0
    for seed in range(4):
        monkeypatch.setattr(batches, "FLIPPED", chance)
        x0, rows = art.batch(600, seeded(seed))
        monkeypatch.setattr(batches, "FLIPPED", 0)
        before, never = art.batch(600, seeded(seed))
        said = (rows == art.row["<flip>"]).any(1)
        assert not (never == art.row["<flip>"]).any()
        assert torch.equal(x0, torch.where(said[:, None, None, None], before.flip(3), before))
        flipped += int(said.sum())
    assert binomtest(flipped, 2400, 0.33).pvalue > 1e-3


@pytest.mark.parametrize(("split", "other"), [("train", "held"), ("held", "train")])
def test_only_tiles_of_the_split_are_drawn(split, other, still):
    pictures = tiles.load("tiles", split)
    own, others = looked_up(pictures), looked_up(tiles.load("tiles", other))
    drawn = set(bitwise(PixelArt(split).batch(1000, seeded())[0]))
    assert not drawn & set(others)
    # Floors and water are the same pixels, somewhere else.
    kinds = {pixels_of(key): pictures.kinds[number] for key, number in own.items()}
    rolled = [kinds[pixels_of(key)] for key in drawn if key not in own]
    assert set(rolled) == {"floor", "water"}
    assert len(drawn) - len(rolled) > 100


def pixels_of(key: bytes) -> bytes:
    return np.sort(np.frombuffer(key, np.int16).reshape(4, -1), axis=1).tobytes()


def test_a_kind_is_drawn_as_the_square_root_of_its_number(art, still):
    kinds = {pixels_of(key): art.tiles.kinds[number] for key, number in looked_up(art.tiles).items()}
    drawn = Counter(kinds[pixels_of(key)] for key in bitwise(art.batch(2000, seeded())[0]))
    shares = {kind: math.sqrt(count) for kind, count in Counter(art.tiles.kinds).items()}
    expected = [2000 * share / sum(shares.values()) for share in shares.values()]
    assert chisquare([drawn[kind] for kind in shares], expected).pvalue > 1e-3


def test_where_no_word_is_dropped_tiles_and_their_colours_are_named(art, still):
    tile = {pixels_of(key): number for key, number in looked_up(art.tiles).items()}
    named = colours.dominant(art.tiles.rgba[:, :3], art.tiles.rgba[:, 3] > 0.5).tolist()
    x0, rows = art.batch(500, seeded())
    for key, row in zip(bitwise(x0), rows.tolist(), strict=True):
        number = tile[pixels_of(key)]
        seen = {colours.NAMES[colour] for colour in named[number] if colour >= 0}
        assert {art.words[word] for word in row if word} == {*art.tiles.words[number], *seen}


def test_some_words_and_some_whole_prompts_are_dropped(art, still, monkeypatch):
    whole = (art.batch(1000, seeded())[1] > 0).sum(1)
    monkeypatch.setattr(batches, "PROMPT_DROPOUT", 0.3)
    left = (art.batch(1000, seeded())[1] > 0).sum(1)
    assert binomtest(int((left == 0).sum()), 1000, 0.3).pvalue > 1e-3
    assert torch.equal(left[left > 0], whole[left > 0])
    monkeypatch.setattr(batches, "PROMPT_DROPOUT", 0)
    monkeypatch.setattr(batches, "WORD_DROPOUT", 0.2)
    left = (art.batch(1000, seeded())[1] > 0).sum(1)
    assert binomtest(int(left.sum()), int(whole.sum()), 0.8).pvalue > 1e-3


def test_turned_colours_are_named_whatever_else_is_dropped_and_natural_ones_are_not(art, still, monkeypatch):
    def said() -> list[set[str]]:
        return [{art.words[word] for word in row if word} for row in art.batch(300, seeded())[1].tolist()]

    tile = {pixels_of(key): number for key, number in looked_up(art.tiles).items()}
    drawn = [tile[pixels_of(key)] for key in bitwise(art.batch(300, seeded())[0])]
    monkeypatch.setattr(batches, "WORD_DROPOUT", 1.0)
    assert said() == [set()] * 300
    monkeypatch.setattr(batches, "RECOLOURED", 1.0)
    least = said()
    monkeypatch.setattr(batches, "WORD_DROPOUT", 0.0)
    for named, all_said, number in zip(least, said(), drawn, strict=True):
        assert named and named <= set(colours.NAMES)
        assert all_said == {*named, *art.tiles.words[number]}


def test_sprites_are_moved_whole_or_not_at_all_and_walls_never(art, still, monkeypatch):
    kinds = {pixels_of(key): art.tiles.kinds[number] for key, number in looked_up(art.tiles).items()}
    before = art.batch(400, seeded())[0]
    monkeypatch.setattr(batches, "SHIFT", 2)
    after = art.batch(400, seeded())[0]
    # What is moved in from outside is zero, so transparent pixels have to be.
    alpha = torch.tensor([0.0, 0, 0, 1])[:, None, None]
    moved = 0
    for old, new, key in zip(before + alpha, after + alpha, bitwise(before), strict=True):
        if torch.equal(old, new):
            continue
        assert kinds[pixels_of(key)] not in tiles.TEXTURES
        shifts = [(0, down, right) for down in range(-2, 3) for right in range(-2, 3)]
        assert any(np.array_equal(scipy.ndimage.shift(old, by, order=0), new) for by in shifts)
        assert new[3].sum() == old[3].sum()
        moved += 1
    assert moved > 100


def test_hues_turn_as_often_as_they_should_and_nothing_else_changes(art, still, monkeypatch):
    before = art.batch(1000, seeded())[0]
    monkeypatch.setattr(batches, "RECOLOURED", 0.3)
    after = art.batch(1000, seeded())[0]
    assert torch.equal(before[:, 3], after[:, 3])
    saturated = (before[:, :3].amax(1) - before[:, :3].amin(1)).amax((1, 2)) > 0.5
    turned = ((before - after).abs().amax((1, 2, 3)) > 0.01)[saturated]
    assert binomtest(int(turned.sum()), len(turned), 0.3).pvalue > 1e-3


def test_heroes_are_as_frequent_as_they_should_be_and_always_called_so(art, monkeypatch):
    dressed, dress = [], art.wardrobe.dress
    monkeypatch.setattr(
        art.wardrobe, "dress", lambda count, generator: dressed.append(count) or dress(count, generator)
    )
    monkeypatch.setattr(batches, "PROMPT_DROPOUT", 0.0)
    for seed in range(20):
        rows = art.batch(64, seeded(seed))[1]
        assert (rows == art.row["hero"]).any(1).sum() == dressed[-1]
    assert binomtest(sum(dressed), 20 * 64, 0.38).pvalue > 1e-3


INSIDE = "crawl-1.0/source/rltiles/"


def packed(path, files: dict[str, Image.Image | tarfile.TarInfo], inside: str = INSIDE) -> None:
    with tarfile.open(path, "w:xz") as archive:
        for name, content in files.items():
            member, data = content, b""
            if isinstance(content, Image.Image):
                buffer = io.BytesIO()
                content.save(buffer, "PNG")
                member, data = tarfile.TarInfo(inside + name), buffer.getvalue()
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def link(kind: bytes, name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def picture(number: int, mode: str = "RGBA") -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 4), np.uint8)
    pixels[..., 3] *= pixels[..., 3] > 100
    return Image.fromarray(pixels).convert(mode)


class Package:
    def __init__(self, folder, monkeypatch):
        self.lists = {"tiles": [f"dngn/{n}.png" for n in range(66)], "layers": ["player/a.png", "player/b.png"]}
        modes = ("RGBA", "RGB", "L", "P", "LA")
        self.files = {
            path: picture(number, modes[number % 5])
            for number, path in enumerate(self.lists["tiles"] + self.lists["layers"])
        }
        self.folder, self.output, self.path = folder / "lists", folder / "output", folder / "crawl.tar.xz"
        for made in (self.folder, self.output):
            made.mkdir()
        self.monkeypatch = monkeypatch
        for module in (prepare, tiles):
            monkeypatch.setattr(module, "FOLDER", self.folder)
        for name, paths in self.lists.items():
            with open(self.folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(
                    [("path", "kind", "split", "words"), *((p, "k", "train", "w") for p in paths)]
                )

    def write(self, more: dict | None = None, drop: tuple = (), inside: str = INSIDE) -> None:
        files = self.files | {"unlisted.png": picture(1)} | (more or {})
        packed(self.path, {name: content for name, content in reversed(files.items()) if name not in drop}, inside)
        self.monkeypatch.setattr(prepare, "SHA256", hashlib.sha256(self.path.read_bytes()).hexdigest())

    def rebuild(self, *options: str) -> int:
        return prepare.main([str(self.path), *(options or ["--output", str(self.output)])])


@pytest.fixture
def package(tmp_path, monkeypatch) -> Package:
    return Package(tmp_path, monkeypatch)


def test_sheets_are_rebuilt_from_their_package_as_they_are_read(package, monkeypatch, capsys):
    package.write()
    assert package.rebuild("--output", str(package.folder)) == 0
    assert "tiles.png: 66 pictures" in capsys.readouterr().out
    monkeypatch.setattr(tiles, "_all", tiles._all.__wrapped__)
    for name, paths in package.lists.items():
        rgba = (tiles.load(name).rgba * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for path, found in zip(paths, rgba, strict=True):
            expected = np.array(package.files[path].convert("RGBA"))
            assert np.array_equal(found[..., 3], expected[..., 3])
            assert np.array_equal(found, np.where(expected[..., 3:] > 0, expected, 0))


def test_without_an_output_sheets_are_written_beside_their_lists(package):
    package.write()
    assert prepare.main([str(package.path)]) == 0
    assert {path.name for path in package.folder.iterdir()} == {"tiles.csv", "layers.csv", "tiles.png", "layers.png"}


def unreadable(package: Package) -> None:
    package.path.write_bytes(b"an archive it is not")
    package.monkeypatch.setattr(prepare, "SHA256", hashlib.sha256(package.path.read_bytes()).hexdigest())


BAD = {
    "no package": (lambda p: p.path.unlink(), "No such file"),
    "a folder": (lambda p: p.path.unlink() or p.path.mkdir(), "Is a directory"),
    "another package": (lambda p: packed(p.path, p.files | {"more.png": picture(2)}), "its SHA-256 is"),
    "half a package": (lambda p: p.path.write_bytes(p.path.read_bytes()[:20000]), "its SHA-256 is"),
    "nothing": (lambda p: p.path.write_bytes(b""), "its SHA-256 is"),
    "no archive": (unreadable, "could not be opened"),
    "a file is missing": (
        lambda p: p.write(drop=("dngn/7.png",)),
        "lacks 1 of the listed files, the first is dngn/7.png",
    ),
    "two are missing": (lambda p: p.write(drop=("player/b.png", "dngn/7.png")), "lacks 2 of .* dngn/7.png"),
    "no output folder": (lambda p: p.output.rmdir(), "No such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_package_that_is_not_the_one_is_refused_and_nothing_is_written(package, case, capsys):
    spoil, message = BAD[case]
    package.write()
    spoil(package)
    assert package.rebuild() == 1
    out, error = capsys.readouterr()
    assert out == "" and re.search(message, error)
    assert list(package.folder.parent.rglob("*.png")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
def test_links_are_not_followed(package, kind, capsys):
    listed = "dngn/7.png"
    package.write({listed: link(kind, INSIDE + listed, INSIDE + "dngn/8.png")})
    assert package.rebuild() == 1
    assert f"the first is {listed}" in capsys.readouterr().err


def test_names_that_lead_out_of_the_package_are_not_followed(package):
    outside = picture(3)
    package.write({"../../../../evil.png": outside, "/evil.png": outside, "dngn/../../evil.png": outside})
    before = set(package.folder.parent.rglob("*"))
    assert package.rebuild() == 0
    assert {path.name for path in set(package.folder.parent.rglob("*")) - before} == {"tiles.png", "layers.png"}


def test_only_pictures_in_the_folder_of_tiles_are_taken(package, capsys):
    package.write(inside="crawl-1.0/rltiles/")
    assert package.rebuild() == 1
    assert "lacks 68 of the listed files" in capsys.readouterr().err


@pytest.fixture(scope="module")
def train_tiles() -> Pictures:
    train = tiles.load("tiles", "train")
    return train.select(list(range(0, len(train), 20)))


@pytest.fixture(scope="module")
def references(train_tiles) -> torch.Tensor:
    return copies.snapped(train_tiles.rgba)


def test_a_tile_is_no_distance_from_itself(references):
    found = torch.cat([copies.distances(tile[None], tile[None])[0] for tile in references])
    assert found.max() < 0.02


def test_copies_are_found_and_so_is_what_they_are_copies_of(references):
    nearest, which = copies.distances(copies.plant(references, seeded()), references)
    assert nearest.median() < 0.06
    assert (which == torch.arange(len(references))).float().mean() > 0.95


def test_shifts_and_mirrors_are_seen_through_as_far_as_two_pixels():
    potion = copies.snapped(tiles.load("tiles", "train").of("potion").rgba[:1])
    for down, right, mirrored in ((2, -2, True), (-1, 2, False), (0, 0, True)):
        moved = (potion.flip(3) if mirrored else potion).roll((down, right), (2, 3))
        assert copies.distances(moved, potion)[0] < 0.02
    assert copies.distances(potion.roll(4, 2), potion)[0] > 0.2


def test_pictures_with_nothing_in_common_are_at_distance_one():
    noise = torch.rand(12, 4, 32, 32, generator=seeded())
    noise[:, 3] = 1
    found = copies.distances(noise[:6], noise[6:])[0]
    assert (found > 0.95).all() and (found <= 1.001).all()


def test_an_empty_picture_is_no_copy(references):
    assert copies.distances(torch.zeros(1, 4, 32, 32), references[:8])[0] > 0.2


def brute_force(picture: np.ndarray, tile: np.ndarray) -> float:
    target = picture.reshape(4, -1).T
    mean = (target * target[:, 3:]).sum(0) / target[:, 3].sum()
    left = [
        target - view @ np.linalg.lstsq(view, target, rcond=None)[0]
        for mirrored in (tile, tile[:, :, ::-1])
        for down in range(-2, 3)
        for right in range(-2, 3)
        for view in [np.roll(mirrored, (down, right), (1, 2)).reshape(4, -1).T]
    ]
    return min(np.square(part).sum() for part in left) / np.square(target - mean * target[:, 3:]).sum()


@pytest.mark.parametrize("kind", ["potion", "sword", "animal", "wall", "floor"])
def test_distances_are_those_of_exact_least_squares(kind):
    held, train = (copies.snapped(tiles.load("tiles", split).of(kind).rgba) for split in ("held", "train"))
    for picture, tile in ((held[0], train[3]), (held[1], train[5]), (train[1], train[0]), (train[2], held[0])):
        exact = brute_force(picture.double().numpy(), tile.double().numpy())
        assert copies.distances(picture[None], tile[None])[0].item() == pytest.approx(exact, rel=0.03, abs=0.003)


def test_the_nearest_of_many_is_that_of_each_alone(references):
    few, many = references[3:6], references[20:]  # more than one chunk
    each = torch.stack([copies.distances(few, tile[None])[0] for tile in many])
    nearest, which = copies.distances(few, many)
    torch.testing.assert_close(nearest, each.amin(0))
    torch.testing.assert_close(each[which, torch.arange(3)], nearest)


def test_snapped_pictures_are_opaque_or_black():
    rgba = torch.rand(2, 4, 32, 32, generator=seeded())
    snapped = copies.snapped(rgba)
    opaque = rgba[:, 3] > 0.5
    assert torch.equal(snapped[:, 3] == 1, opaque) and torch.equal(snapped[:, 3] == 0, ~opaque)
    assert torch.equal(snapped[:, :3], torch.where(opaque[:, None], rgba[:, :3], torch.zeros(1)))


def test_planted_copies_are_moved_often_mirrored_and_of_other_colours(references):
    planted = copies.plant(references, seeded())
    assert not (planted[:, :3] * (planted[:, 3:] == 0)).any()
    shifts = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    mirrored = []
    for tile, copy in zip(references, planted, strict=True):
        ways = [any(torch.equal(way.roll(by, (0, 1)), copy[3]) for by in shifts) for way in (tile[3], tile[3].flip(1))]
        assert any(ways)
        mirrored += [ways[1]] * (ways[0] != ways[1])
    assert binomtest(sum(mirrored), len(mirrored), 0.5).pvalue > 1e-2
    assert ((planted - references).abs().mean((1, 2, 3)) > 0.01).float().mean() > 0.95


NUMBERS = range(200)


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.txt"

    def write(lines: list[str] | None = None):
        path.write_text("\n".join(right() if lines is None else lines), encoding="utf-8")
        return path

    return write


def right() -> list[str]:
    names = list(prompts.NAMING)
    return [f"{place} {names[sprite // 10]}" for place, sprite in enumerate(naming.order())]


def test_every_sprite_has_one_place_and_it_is_always_the_same():
    assert sorted(naming.order()) == list(NUMBERS) != naming.order()
    assert naming.order() == naming.order()


def test_right_answers_are_all_marked_right(answers):
    lines = naming.mark(naming.read(answers())).splitlines()
    assert lines[0] == "right: 200 of 200, 100.0%"
    assert [line.split("  ")[0] for line in lines[1:]] == list(prompts.NAMING)
    assert all(line.endswith(" 10 of 10") for line in lines[1:])


def test_wrong_answers_are_counted_under_what_was_drawn(answers):
    wrong = [line.replace("potion", "vine") for line in right()]
    wrong[wrong.index(next(line for line in wrong if line.endswith("axe")))] = f"{place_of('axe')} sword"
    lines = naming.mark(naming.read(answers(wrong))).splitlines()
    assert lines[0] == "right: 189 of 200, 94.5%"
    by_name = dict(zip(prompts.NAMING, lines[1:], strict=True))
    assert re.fullmatch(r"potion +0 of 10 +vine 10", by_name["potion"])
    assert re.fullmatch(r"axe +9 of 10 +sword 1", by_name["axe"])
    assert re.fullmatch(r"vine +10 of 10", by_name["vine"])


def place_of(name: str) -> int:
    return next(number for number, line in enumerate(right()) if line == f"{number} {name}")


def test_answers_may_come_in_any_order_with_blank_lines_and_spaces(answers):
    lines = [f"  {line.replace(' ', '   ', 1)} " for line in reversed(right())]
    assert naming.read(answers(["", *lines, " ", ""])) == naming.read(answers())


WRONG = {
    "an unknown name": (lambda lines: [*lines[:-1], "199 banana"], "'199 banana' is not a number and one of hero, "),
    "a name in another case": (lambda lines: [*lines[:-1], "199 Potion"], "'199 Potion' is not"),
    "no name": (lambda lines: [*lines[:-1], "199"], "'199' is not"),
    "no number": (lambda lines: ["potion", *lines], "'potion' is not"),
    "a negative number": (lambda lines: ["-1 potion", *lines], "'-1 potion' is not"),
    "half a number": (lambda lines: ["1.5 potion", *lines], "'1.5 potion' is not"),
    "a number with a dot": (lambda lines: ["0. potion", *lines[1:]], r"'0\. potion' is not"),
    "prose": (lambda lines: ["Here are my answers:", *lines], "'Here are my answers:' is not"),
    "a missing number": (lambda lines: lines[:17] + lines[18:], "number 17 and 0 others"),
    "a number too many": (lambda lines: [*lines, "200 potion"], "number 200 and 0 others"),
    "a missing and another": (lambda lines: [*lines[1:], "777 potion"], "number 0 and 1 others"),
    "nothing": (lambda lines: [], "number 0 and 199 others"),
    "a number twice": (lambda lines: [*lines, "17 potion", "17 axe"], "17"),
}


@pytest.mark.parametrize("case", WRONG)
def test_answers_that_cannot_be_marked_are_refused_in_a_line(answers, case, capsys):
    spoil, message = WRONG[case]
    path = answers(spoil(right()))
    assert naming.main(["score", str(path)]) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.startswith(str(path)) and re.search(message, error)


@pytest.mark.parametrize("spoil", ["missing", "folder", "binary"])
def test_a_file_that_is_no_text_is_refused_in_a_line(tmp_path, spoil, capsys):
    path = tmp_path / "answers"
    if spoil == "folder":
        path.mkdir()
    if spoil == "binary":
        path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    assert naming.main(["score", str(path)]) == 1
    out, error = capsys.readouterr()
    assert out == "" and str(path) in error and error.count("\n") == 1


def test_score_prints_the_marks(answers, capsys):
    assert naming.main(["score", str(answers())]) == 0
    assert capsys.readouterr().out.startswith("right: 200 of 200")


def test_pages_show_each_sprite_at_its_place(tmp_path, monkeypatch):
    sprites = torch.ones(200, 4, 32, 32)
    sprites[:, 0] = (torch.arange(200) / 255)[:, None, None]
    monkeypatch.setattr(naming, "load_denoiser", lambda path: path)
    monkeypatch.setattr(naming, "draw", lambda denoiser, texts, seeds: sprites)
    pages = naming.pages(None, tmp_path / "pages")
    assert [page.name for page in pages] == [f"page_{number}.png" for number in range(1, 9)]
    seen = []
    for page in pages:
        with Image.open(page) as picture:
            pixels = np.array(picture)
        side, height = pixels.shape[1] // 5, pixels.shape[0] // 5
        for top in range(0, 5 * height, height):
            # Below the number, in the middle of the cell, is the sprite.
            seen += [int(pixels[top + height - side // 2, left + side // 2, 0]) for left in range(0, 5 * side, side)]
            assert all(pixels[top : top + height - side, left : left + side].any() for left in range(0, 5 * side, side))
    assert seen == naming.order()


@pytest.fixture(scope="module")
def classes() -> dict[str, list[torch.Tensor]]:
    return {split: classify.examples(split, 0) for split in ("train", "held")}


def test_there_are_examples_of_every_class(classes):
    for split, pictures in classes.items():
        assert len(pictures) == len(prompts.CLASSES)
        for kind, rgba in zip(prompts.CLASSES, pictures, strict=True):
            heroes_of = {"train": 600, "held": 30}[split]
            assert rgba.shape == (
                heroes_of if kind == "hero" else tiles.load("tiles", split).kinds.count(kind),
                4,
                32,
                32,
            )
            assert set(rgba[:, 3].unique().tolist()) <= {0, 1}


def test_no_held_out_picture_is_learned_from(classes):
    learned, asked = ({key for rgba in classes[split] for key in bitwise(rgba)} for split in ("train", "held"))
    assert not learned & asked
    assert not learned & set(bitwise(copies.snapped(tiles.load("tiles", "held").rgba)))


def test_held_out_heroes_wear_held_out_clothes(monkeypatch):
    wardrobes = []
    monkeypatch.setattr(classify, "Wardrobe", lambda layers: wardrobes.append(Wardrobe(layers)) or wardrobes[-1])
    classify.examples("train", 0)
    classify.examples("held", 0)
    learned, asked = (set(wardrobe.layers["body"].paths) for wardrobe in wardrobes)
    assert asked == set(tiles.load("layers", "held").paths) and not asked & learned
    assert all(len(layer) for wardrobe in wardrobes for layer in wardrobe.layers.values())


def test_the_recogniser_scores_every_class():
    assert classify.recogniser().eval()(torch.rand(2, 4, 32, 32)).shape == (2, 12)


def test_confusion_counts_what_was_named_what():
    named = [[row, row, (row + 1) % 12] for row in range(12)]
    pictures = [(torch.tensor(row) / 12)[:, None, None, None].expand(-1, 4, 32, 32) for row in named]
    matrix = classify.confusion(lambda rgba: torch.eye(12)[(rgba[:, 0, 0, 0] * 12).round().long()], pictures)
    assert torch.equal(matrix, 2 * torch.eye(12).long() + torch.eye(12).long().roll(1, 1))


def test_every_class_counts_the_same(capsys):
    matrix = torch.diag(torch.tensor([1000] + [1] * 11))
    matrix[1] = torch.tensor([1] + [0] * 11)
    classify.show("drawn", matrix)
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert first == "drawn: 91.7% right, classes counting the same (1011 pictures)"
    assert head.split() == [name[:6] for name in prompts.CLASSES]
    assert [row.split()[0] for row in rows if row] == list(prompts.CLASSES)
    assert rows[1].split()[1:] == ["1", *["."] * 11]


def test_variations_are_recoloured_and_move_at_most_two_pixels_without_a_change_of_silhouette():
    sprite = torch.zeros(40, 4, 32, 32)
    sprite[:, :, 8:20, 10:16] = torch.tensor([0.8, 0.2, 0.1, 1.0])[:, None, None]
    for seed in range(5):
        varied = classify.vary(sprite, seeded(seed))
        assert torch.equal(varied[:, 3].sum((1, 2)), sprite[:, 3].sum((1, 2)))
        assert varied[:, 3, 10:18, 18:20].sum() + varied[:, 3, 10:18, 12:14].sum() > 0
        assert not varied[:, 3, :6].any() and not varied[:, 3, 22:].any()
        assert not (varied[:, :3] * (varied[:, 3:] == 0)).any()
        assert 5 < (varied[:, 1].amax((1, 2)) > 0.21).sum() < 35
