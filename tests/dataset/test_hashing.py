"""Perceptual hashes: what leaves them alone, what does not, and finding near ones among many."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.fft import dctn
from small_sets import picture

from varifold.dataset.hashing import HashIndex, colours_differ, distance, perceptual_hash
from varifold.nodes import pictures

PHOTOGRAPHS = ("cat.jpg", "coffee.jpg", "hero.png")


@pytest.fixture(params=PHOTOGRAPHS)
def photograph(request):
    return Image.open(f"{pictures.__path__[0]}/{request.param}").convert("RGB")


def hash_of(image):
    return perceptual_hash(np.asarray(image))


def test_it_is_the_sign_of_the_low_frequencies_against_their_median(photograph):
    brightness = np.asarray(photograph.convert("L").resize((32, 32), Image.Resampling.BOX), np.float64)
    waves = dctn(brightness, norm="ortho")[1:9, 1:9]
    bits = "".join(str(int(each)) for each in (waves > np.median(waves)).ravel())
    assert f"{hash_of(photograph):064b}" == bits


def as_jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


SLIGHT = {
    "a JPEG": lambda image: as_jpeg(image, 60),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a third larger": lambda image: image.resize((image.width * 4 // 3, image.height * 4 // 3)),
    "slightly blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "darker": lambda image: image.point(lambda value: value * 0.8),
}


@pytest.mark.parametrize("change", SLIGHT.values(), ids=SLIGHT.keys())
def test_slight_changes_leave_it_nearly_alone(photograph, change):
    assert distance(hash_of(photograph), hash_of(change(photograph))) <= 4


def test_pictures_unlike_each_other_differ_in_about_half():
    hashes = [perceptual_hash(picture(number)) for number in range(60)]
    distances = [distance(*pair) for pair in itertools.combinations(hashes, 2)]
    assert min(distances) > 14 and 30 < np.mean(distances) < 34


@pytest.mark.parametrize("colour", [0, 77, 255])
def test_a_flat_picture_has_no_pattern(colour):
    assert perceptual_hash(np.full((19, 40, 3), colour, np.uint8)) == 0


def test_what_is_transparent_does_not_count():
    sprite = picture(1, channels=4)
    sprite[:12, :, 3], sprite[12:, :, 3] = 0, 255
    other = sprite.copy()
    other[:12, :, :3] = 255 - other[:12, :, :3]
    assert perceptual_hash(sprite) == perceptual_hash(other)
    assert colours_differ(sprite, other) == 0


def test_pictures_of_one_pixel_and_of_one_row_have_a_hash():
    for shape in ((1, 1, 3), (1, 500, 3), (500, 1, 4)):
        assert 0 <= perceptual_hash(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) < 1 << 64


def test_colours_differ_by_their_mean_distance():
    red, blue = np.full((30, 20, 3), (255, 0, 0), np.uint8), np.full((16, 16, 3), (0, 0, 255), np.uint8)
    assert colours_differ(red, blue) == pytest.approx(170)
    assert colours_differ(red, red[:7]) == 0


@pytest.mark.parametrize("count", [0, 1, 900, 6000])
def test_near_ones_are_found_as_by_looking_at_each(count):
    chance = np.random.default_rng(count)
    centres = chance.integers(0, 1 << 63, count // 10 + 1).tolist()
    index, hashes = HashIndex(), []
    for number in range(count):
        flips = chance.choice(64, chance.integers(0, 10), replace=False).tolist()
        hashes.append(centres[number % len(centres)] ^ sum(1 << bit for bit in flips))
        index.add(hashes[-1])
        if number % 97 == 0:
            assert number in index.near(hashes[-1], 0)
    assert len(index) == count
    for value in [*hashes[:40], *centres[:20], 0, (1 << 64) - 1]:
        for radius in (0, 1, 3, 7):
            assert index.near(value, radius) == [n for n, each in enumerate(hashes) if distance(each, value) <= radius]


@pytest.mark.parametrize("radius", [-1, 8])
def test_farther_than_the_bands_reach_is_refused(radius):
    with pytest.raises(ValueError, match="0 to 7 bits"):
        HashIndex().near(0, radius)


def test_few_of_many_are_looked_at():
    """Twenty times as many hashes take nowhere near twenty times as long to search."""
    import time

    def seconds(count):
        index = HashIndex()
        for value in np.random.default_rng(0).integers(0, 1 << 63, count).tolist():
            index.add(value)
        index.near(0, 7)
        times = []
        for _ in range(5):
            start = time.process_time()
            for value in range(50):
                index.near(value << 40, 7)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(200_000) < 5 * seconds(10_000)
