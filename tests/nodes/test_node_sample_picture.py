"""Sample Picture: what comes with the pack."""

import re

import pytest

from varifold.nodes.sample_picture import FOLDER, PICTURES

LARGEST = 150_000  # bytes
METADATA = re.compile(rb"Exif\0|http://ns\.adobe|ICC_PROFILE|Photoshop")


@pytest.mark.parametrize("which", PICTURES)
def test_each_is_a_picture_with_a_mask_of_its_size(which, call):
    image, mask = call("SamplePicture", which=which)
    assert image.shape == (1, *mask.shape[1:], 3) and 0 <= image.min() < 0.2 and 0.8 < image.max() <= 1
    assert bool(mask.any()) == ("transparent" in which)


def test_every_file_is_on_the_menu_and_told_of():
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".jpg", ".png")}
    told = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert files == set(PICTURES.values()) == set(re.findall(r"^\| `(\S+)` \|", told, flags=re.MULTILINE))


@pytest.mark.parametrize("file", PICTURES.values())
def test_a_file_is_small_and_holds_nothing_but_the_picture(file):
    content = (FOLDER / file).read_bytes()
    assert len(content) <= LARGEST and not METADATA.search(content)
