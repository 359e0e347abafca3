"""Composed pictures: what shows of each sprite, against the formula and in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from varifold.dataset import compose as module
from varifold.dataset.compose import Recipe, casts, compose, turned, window
from varifold.dataset.errors import DatasetError
from varifold.dataset.ground import ground

CALM = Recipe(sprites=(3, 8), mirror=False, light=0, overlap=0.7)
WILD = Recipe((3, 8), (0.5, 2.5), 180, True, 0.7, 1, False, 2)
PIXELS = replace(WILD, pixel_art=True)
RECIPES = pytest.mark.parametrize("recipe", [CALM, WILD, PIXELS], ids=["calm", "wild", "pixels"])
SIZE = (60, 80)


def square(side: int, colour: tuple = (1, 0, 0), alpha: float = 1.0) -> np.ndarray:
    return np.broadcast_to(np.float32([*colour, alpha]), (side, side, 4)).copy()


def soft(seed: int, side: int = 16) -> np.ndarray:
    """A sprite of random colours and alphas, with empty edges."""
    sprite = np.random.default_rng(seed).random((side, side, 4), np.float32)
    sprite[:2, :, 3] = sprite[:, -3:, 3] = 0
    return sprite


def background(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(100 + seed).random((height, width, 3), np.float32)


SPRITES = [soft(0), soft(1), square(12), square(20, (0, 1, 0), 0.7)]


@pytest.fixture
def layers(monkeypatch):
    """The layers that were laid, in order."""
    laid, lay = [], module._Shown.lay

    def listening(self, layer):
        done = lay(self, layer)
        if done:
            laid.append(layer)
        return done

    monkeypatch.setattr(module._Shown, "lay", listening)
    return laid


@RECIPES
@pytest.mark.parametrize("index", range(6))
def test_a_pixel_is_of_the_sprite_that_is_more_than_half_of_it(recipe, index, layers):
    composed = compose(SPRITES, [background()], recipe, SIZE, 3, index)
    alphas = np.zeros((len(layers), *SIZE))
    for layer, alpha in zip(layers, alphas, strict=True):
        here, part = window(layer, SIZE)
        alpha[here] = layer.alpha[part]
    above = np.cumprod(1 - alphas[::-1], axis=0)[::-1]
    shares = alphas * np.concatenate([above[1:], np.ones((1, *SIZE))])
    assert [each.sprite for each in composed.placed] == [layer.sprite for layer in layers]
    for each, share, layer in zip(composed.placed, shares, layers, strict=True):
        sure = abs(share - 0.5) > 1e-6
        assert np.array_equal(each.mask[sure], share[sure] > 0.5)
        assert each.visibility == each.mask.sum() / (layer.alpha > 0.5).sum()
    assert sum(each.mask.astype(int) for each in composed.placed).max() == 1


@pytest.mark.parametrize("index", range(6))
def test_the_picture_is_the_formula(index, layers):
    picture = compose(SPRITES, [background()], replace(WILD, light=0), SIZE, 3, index).picture
    expected = background().astype(float)
    for layer in layers:
        for y, x in np.ndindex(layer.alpha.shape):
            row, column = layer.top + y, layer.left + x
            if 0 <= row < SIZE[0] and 0 <= column < SIZE[1]:
                expected[row, column] = (1 - layer.alpha[y, x]) * expected[row, column] + layer.colours[y, x]
    assert layers and np.abs(picture - expected).max() < 1e-5


@pytest.mark.parametrize("index", range(6))
def test_light_multiplies_the_whole_picture_by_a_smooth_gain(index):
    recipe = replace(CALM, light=1)
    sprite = [square(10, (0.2, 0.2, 0.2))]
    lit = compose(sprite, [np.full((60, 80, 3), 0.2, np.float32)], recipe, SIZE, 0, index)
    gain = np.log(lit.picture / 0.2)
    outside = ~np.any([each.mask for each in lit.placed], axis=0)
    y, x = np.nonzero(outside)
    plane = np.stack([y, x, np.ones(len(y))], -1)
    for channel in range(3):
        fit = np.linalg.lstsq(plane, gain[..., channel][outside], rcond=None)[0]
        assert np.abs(plane @ fit - gain[..., channel][outside]).max() < 1e-4
        whole = np.stack([*np.indices(SIZE), np.ones(SIZE)], -1) @ fit
        for each in lit.placed:
            assert np.ptp((gain[..., channel] - whole)[each.mask]) < 1e-4, "one light on all of a sprite"
    assert lit.picture.min() >= 0 and lit.picture.max() <= 1 and np.ptp(gain) > 0.05


@RECIPES
@pytest.mark.parametrize("index", range(6))
def test_boxes_are_tight_and_visibility_keeps_its_limit(recipe, index):
    for each in compose(SPRITES, [background()], recipe, SIZE, 9, index).placed:
        x, y, width, height = map(int, each.box)
        inside = each.mask[y : y + height, x : x + width]
        assert inside.sum() == each.mask.sum() > 0
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert 1 - recipe.overlap <= each.visibility <= 1


@pytest.mark.parametrize("index", range(20))
def test_the_visibility_of_squares_is_in_closed_form(index, layers):
    recipe = replace(CALM, sprites=(2, 2), overlap=0.9)
    below, above = compose([square(20)], [background()], recipe, SIZE, 1, index).placed
    (top, left), (other_top, other_left) = ((layer.top, layer.left) for layer in layers)

    def length(start: int, most: int, first: int = 0) -> int:
        return max(0, min(start + 20, most) - max(start, first))

    whole = length(top, 60) * length(left, 80)
    other = length(other_top, 60) * length(other_left, 80)
    rows = length(top, min(60, other_top + 20), max(0, other_top))
    columns = length(left, min(80, other_left + 20), max(0, other_left))
    assert above.visibility == other / 400
    assert below.visibility == (whole - rows * columns) / 400


def test_some_squares_of_these_overlap_and_some_are_cut_off():
    recipe = replace(CALM, sprites=(2, 2), overlap=0.9)
    seen = [compose([square(20)], [background()], recipe, SIZE, 1, index).placed for index in range(20)]
    assert any(above.visibility < 1 for _, above in seen)
    assert any(below.visibility < 1 == above.visibility for below, above in seen)


def test_without_overlap_all_of_every_sprite_shows():
    for index in range(20):
        composed = compose(SPRITES[2:], [background()], replace(CALM, overlap=0), SIZE, 5, index)
        assert all(each.visibility == 1 for each in composed.placed)


def test_there_are_as_many_sprites_as_the_recipe_says_where_there_is_room():
    counts = [
        len(compose([square(4)], [background()], replace(CALM, sprites=(2, 5)), SIZE, 0, index).placed)
        for index in range(60)
    ]
    assert set(counts) == {2, 3, 4, 5}
    assert compose([square(4)], [background()], replace(CALM, sprites=(0, 0)), SIZE, 0, 0).placed == ()


def test_a_sprite_without_room_is_left_out():
    composed = compose([square(100)], [background()], replace(CALM, overlap=0.1), SIZE, 0, 0)
    assert composed.placed == () and np.array_equal(composed.picture, background())


@RECIPES
def test_a_picture_is_the_same_again_and_no_other_is(recipe):
    first, again, other, seed = (
        compose(SPRITES, [background(0), background(1)], recipe, SIZE, *stream)
        for stream in ((7, 4), (7, 4), (7, 5), (8, 4))
    )
    assert np.array_equal(first.picture, again.picture)
    for one, two in zip(first.placed, again.placed, strict=True):
        assert np.array_equal(one.mask, two.mask) and one[2:] == two[2:]
    assert not np.array_equal(first.picture, other.picture) and not np.array_equal(first.picture, seed.picture)


class Told:
    """Chance that says what it is told, in turn."""

    def __init__(self, *values: float):
        self.values = list(values)

    def between(self, low: float, high: float) -> float:
        return self.values.pop(0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("angle", "turns"), [(0, 0), (40, 0), (90, 1), (-100, -1), (170, 2)])
@pytest.mark.parametrize(("scale", "times"), [(0.3, 1), (1.4, 1), (1.6, 2), (3, 3)])
def test_pixel_art_is_turned_and_enlarged_without_a_new_colour(scale, times, angle, turns, mirrored):
    sprite = soft(4)
    told = Told(scale, angle, 0.1 if mirrored else 0.9)
    colours, alpha = turned(sprite, replace(PIXELS, mirror=True), told)
    own = sprite[2:, :-3][:, :: -1 if mirrored else 1]
    expected = np.kron(np.rot90(own, turns), np.ones((times, times, 1), np.float32))
    assert np.array_equal(alpha, expected[..., 3])
    assert np.array_equal(colours, expected[..., :3] * expected[..., 3:])


@pytest.mark.parametrize("angle", [0, 33, 90])
@pytest.mark.parametrize("scale", [0.5, 1, 2.3])
def test_smooth_sprites_keep_their_colour_and_area(scale, angle):
    colours, alpha = turned(np.pad(square(24, (0.2, 0.6, 1)), ((9, 9), (9, 9), (0, 0))), WILD, Told(scale, angle, 0.9))
    assert np.abs(colours - alpha[..., None] * np.float32([0.2, 0.6, 1])).max() < 1e-3
    assert alpha.sum() == pytest.approx(round(scale * 24) ** 2, rel=0.02)


def test_a_sprite_at_its_own_scale_and_angle_is_itself():
    colours, alpha = turned(soft(2), CALM, Told(1, 0, 0.1))
    own = soft(2)[2:, :-3]
    assert np.array_equal(alpha, own[..., 3]) and np.array_equal(colours, own[..., :3] * own[..., 3:])


def test_the_ground_is_a_window_of_a_larger_background():
    large = background(0, 70, 90)
    windows = {large[y : y + 60, x : x + 80].tobytes() for y in range(11) for x in range(11)}
    found = {ground([large], SIZE, 1, module.Chance(0, index)).tobytes() for index in range(40)}
    assert len(found) > 20 and found <= windows


def test_the_ground_is_laid_of_smaller_tiles_in_patches():
    tiles = [np.full((16, 16, 3), shade, np.float32) for shade in (0.1, 0.5, 0.9)]
    kinds = []
    for index in range(40):
        laid = ground(tiles, (70, 90), 2, module.Chance(0, index))
        assert laid.shape == (70, 90, 3)
        cells = laid[::16, ::16, 0]
        assert np.array_equal(laid[..., 0], cells.repeat(16, 0).repeat(16, 1)[:70, :90])
        kinds.append(len(np.unique(laid)))
    assert set(kinds) <= {1, 2} and kinds.count(2) > 20
    assert len({ground(tiles, (70, 90), 1, module.Chance(0, index)).mean() for index in range(20)}) == 3


@pytest.mark.parametrize("size", [(1, 1), (16, 200), (200, 16), (17, 16)])
def test_ground_of_any_size(size):
    assert ground([background(0, 16, 16)] * 3, size, 3, module.Chance(0, 0)).shape == (*size, 3)


def test_nothing_given_is_changed():
    sprites, backgrounds = [each.copy() for each in SPRITES], [background()]
    compose(sprites, backgrounds, WILD, SIZE, 0, 0)
    assert all(np.array_equal(one, two) for one, two in zip(sprites, SPRITES, strict=True))
    assert np.array_equal(backgrounds[0], background())


def test_casts_share_no_sprite_and_each_has_every_label():
    labels = ["a"] * 6 + ["b"] * 4 + ["c"]
    dealt = casts(labels, 3)
    assert sorted(number for cast in dealt for number in cast) == list(range(11))
    assert all({labels[number] for number in cast} >= {"a", "b"} for cast in dealt)
    assert casts(labels, 1) == [list(range(11))]


def test_more_casts_than_sprites_are_refused():
    with pytest.raises(DatasetError, match="5 casts and at most 4 sprites"):
        casts(["a"] * 4 + ["b"] * 2, 5)


def test_a_sprite_with_nothing_in_it_is_refused():
    with pytest.raises(DatasetError, match="nothing in it"):
        compose([square(4, alpha=0.4)], [background()], CALM, SIZE, 0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sprites", (5, 2)),
        ("scale", (2.0, 1.0)),
        ("sprites", (-1, 2)),
        ("rotation", 181),
        ("overlap", -0.1),
        ("overlap", float("nan")),
        ("light", 1.1),
        ("terrains", 0),
    ],
)
def test_a_recipe_that_is_none_names_its_field(field, value):
    with pytest.raises(DatasetError, match=field):
        replace(CALM, **{field: value})
