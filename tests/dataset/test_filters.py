"""Filters: each reason, on pictures that deserve it and on pictures that do not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from small_sets import mask, picture

from varifold.dataset.filters import Filters, sharpness
from varifold.nodes import pictures

ALL = Filters(blurred=0.06, clipped=0.5)


def photograph(name):
    return Image.open(f"{pictures.__path__[0]}/{name}").convert("RGB")


@pytest.mark.parametrize("name", ["cat.jpg", "coffee.jpg", "hero.png"])
def test_good_pictures_pass(name):
    assert ALL.complaint(np.asarray(photograph(name)), [np.ones((10, 10), bool)]) is None
    assert Filters().complaint(np.asarray(photograph(name).filter(ImageFilter.GaussianBlur(2)))) is None


@pytest.mark.parametrize("name", ["cat.jpg", "coffee.jpg", "hero.png"])
def test_a_blurred_picture_is_told(name):
    blurred = photograph(name).filter(ImageFilter.GaussianBlur(9))
    assert ALL.complaint(np.asarray(blurred)).startswith("blurred: its sharpness is 0.0")


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_blank_picture_is_told(colour):
    blank = np.full((9, 9, 3), colour, np.uint8)
    blank[4, 4] ^= 4
    assert Filters().complaint(blank).startswith("blank: its brightness spreads by 0.")


def test_an_invisible_picture_is_blank():
    sprite = picture(0, channels=4)
    sprite[..., 3] = 0
    assert Filters().complaint(sprite) == "blank: its brightness spreads by 0.0 of 255, less than 2"


def test_a_sprite_of_one_colour_has_a_shape_and_is_not_blank():
    sprite = np.zeros((24, 24, 4), np.uint8)
    sprite[mask(0)] = (90, 90, 90, 255)
    assert Filters().complaint(sprite) is None


def test_a_clipped_picture_is_told_and_transparent_pixels_are_not_counted():
    clipped = picture(0, channels=4)
    clipped[..., 3] = 255
    clipped[:18, :, :3] = 255
    assert ALL.complaint(clipped) == "clipped: 75% of it is pure black or white, more than 50%"
    clipped[:18, :, 3] = 0
    assert ALL.complaint(clipped) is None


def test_the_first_mask_that_is_too_small_is_told():
    dot = np.zeros((24, 24), bool)
    dot[3, 3:6] = True
    assert Filters().complaint(picture(0), [mask(0), dot]) == "too small: mask 2 has 3 pixels, fewer than 16"


def test_too_few_objects_are_told_with_masks_or_without():
    assert Filters(fewest_objects=2).complaint(picture(0), [mask(0)], 2) is None
    assert Filters(fewest_objects=2).complaint(picture(0), [], 1) == "too few objects: 1 marked, fewer than 2"
    assert Filters().complaint(picture(0)) is None


def test_filters_can_be_switched_off():
    off = Filters(None, None, None, None)
    assert off.complaint(np.zeros((5, 5, 3), np.uint8), [np.zeros((5, 5), bool)]) is None


def test_sharpness_of_known_pictures():
    noise = np.random.default_rng(0).normal(size=(400, 400))
    assert sharpness(noise) == pytest.approx(2**0.5, abs=0.01)
    size = 256
    wave = np.tile(np.sin(2 * np.pi * np.arange(size) / size * 4), (size, 1))
    assert sharpness(wave) == pytest.approx(2 * np.sin(np.pi * 4 / size) / 2**0.5, rel=0.01)
    assert sharpness(3 * wave + 7) == pytest.approx(sharpness(wave))
    assert sharpness(np.zeros((3, 3))) == sharpness(np.zeros((1, 9))) == 1
