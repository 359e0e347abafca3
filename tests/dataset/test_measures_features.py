"""Features of pictures: what changes them and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from varifold.dataset.errors import DatasetError
from varifold.dataset.measures.features import COUNT, features
from varifold.dataset.measures.kernel import kernel_distance
from varifold.nodes import pictures


def photograph(name: str, side: int = 96) -> np.ndarray:
    return np.asarray(Image.open(f"{pictures.__path__[0]}/{name}").convert("RGB").resize((side, side)))


def stripes(across: bool, period: int = 8) -> np.ndarray:
    wave = np.uint8(255 * (np.arange(32) // (period // 2) % 2))
    return np.repeat((np.tile(wave, (32, 1)) if across else np.tile(wave[:, None], (1, 32)))[..., None], 3, 2)


def edges(picture: np.ndarray) -> np.ndarray:
    """By scale, cell and direction."""
    rest = features([picture])[0, 48:].reshape(3, 18)
    return rest[:, :16].reshape(3, 2, 2, 4)


def test_they_are_102_finite_numbers_of_a_picture_of_any_size_and_kind():
    cat = photograph("cat.jpg")
    given = [cat, cat[:1, :1], cat[:, :7], cat[..., 0], cat[..., :1], np.dstack([cat, cat[..., 0]])]
    found = features(given)
    assert found.shape == (6, COUNT) == (6, 102) and found.dtype == np.float64 and np.isfinite(found).all()
    assert np.array_equal(found[3], found[4])
    assert features([]).shape == (0, 102)


def test_a_grey_picture_has_its_brightness_and_nothing_else():
    (found,) = features([np.full((20, 30, 3), 51, np.uint8)])
    assert found[0:48:3] == pytest.approx(2 * 0.2)
    assert np.delete(found, range(0, 48, 3)) == pytest.approx(0, abs=1e-6)


def test_size_hardly_matters():
    cat, small = photograph("cat.jpg", 256), photograph("cat.jpg", 64)
    large, little, other = features([cat, small, photograph("coffee.jpg", 64)])
    assert np.linalg.norm(large - little) < 0.1 * np.linalg.norm(large - other)


def test_colours_are_seen_where_they_are():
    red = np.zeros((32, 32, 3), np.uint8)
    red[:16, :16, 0] = 255
    layout = features([red])[0, :48].reshape(4, 4, 3)
    assert layout[:2, :2, 1] == pytest.approx(2.5) and layout[2:, :, 1] == pytest.approx(0)
    assert layout[:2, :2, 0] == pytest.approx(2 / 3)


def test_edges_have_a_direction_and_a_size():
    upright, level = edges(stripes(True)), edges(stripes(False))
    assert np.all(upright[..., 1] > 1) and upright[..., 0] == pytest.approx(0, abs=1e-6)
    assert level[..., 0] == pytest.approx(upright[..., 1]) and level[..., 1] == pytest.approx(0, abs=1e-6)
    fine = edges(stripes(True, 4))
    assert np.all(fine[0, ..., 1] > 1) and fine[2] == pytest.approx(0, abs=1e-6)


def test_what_is_transparent_is_grey():
    cat = photograph("cat.jpg")
    hidden = np.dstack([cat, np.zeros(cat.shape[:2], np.uint8)])
    seen = np.dstack([cat, np.full(cat.shape[:2], 255, np.uint8)])
    assert features([hidden]) == pytest.approx(features([np.full_like(cat, 128)]), abs=1e-6)
    assert features([seen]) == pytest.approx(features([cat]), abs=1e-6)


@pytest.mark.parametrize("change", ["noise", "blur", "tint", "mirror"])
def test_parts_of_a_picture_are_told_from_changed_ones(change):
    random, cat = np.random.default_rng(0), photograph("cat.jpg", 256)
    corners = random.integers(0, 192, (240, 2))
    parts = [cat[y : y + 64, x : x + 64] for y, x in corners]

    def changed(part: np.ndarray) -> np.ndarray:
        if change == "noise":
            return np.uint8((part + random.normal(0, 40, part.shape)).clip(0, 255))
        if change == "blur":
            return np.asarray(Image.fromarray(part).resize((8, 8), Image.Resampling.BOX).resize((64, 64)))
        return np.uint8(part * np.array([1, 0.8, 0.6])) if change == "tint" else part[:, ::-1]

    real, others = features(parts[:120]), features(parts[120:])
    floor = kernel_distance(real, others)
    assert kernel_distance(real, features([changed(part) for part in parts[120:]])) > 3 * abs(floor)


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_told(bad):
    with pytest.raises(DatasetError, match="picture 1: it should be"):
        features([photograph("cat.jpg"), bad])
