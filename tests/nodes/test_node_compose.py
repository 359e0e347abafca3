"""Compose: its outputs fit each other and what they are wired to, and what it refuses."""

from functools import partial

import pytest
import torch

from varifold.dataset.marks import box_of
from varifold.studio.errors import Cancelled

LABELS = "sword\nshield\nrobe"


def sprites(count: int = 6) -> torch.Tensor:
    """Sprites of one colour each, with an empty edge."""
    shades = torch.linspace(0.2, 1, count)[:, None, None, None]
    rgba = torch.ones(count, 16, 16, 4) * shades
    rgba[..., 3] = 0
    rgba[:, 3:12, 2:14, 3] = 1
    return rgba


def tiles(count: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand(count, side, side, 3, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.fixture
def compose(call):
    usual = {"sprites": sprites(), "backgrounds": tiles(), "labels": LABELS, "width": 60, "height": 50}
    return partial(call, "Compose", **usual)


def test_masks_come_one_a_box_picture_after_picture(compose):
    images, masks, boxes, labels = compose(light=0.0, overlap=0.6)
    assert images.shape == (8, 50, 60, 3) and images.dtype == torch.float32
    assert masks.shape == (sum(map(len, boxes)), 50, 60) and set(masks.unique().tolist()) == {0, 1}
    assert len(boxes) == len(labels) == 8
    rest = iter(masks)
    for image, own in zip(images, boxes, strict=True):
        for box, mask in zip(own, rest, strict=False):
            edges = tuple(box[key] for key in ("x", "y", "width", "height"))
            assert edges == box_of(mask.numpy() > 0.5)
            assert box["visibility"] == pytest.approx(mask.sum().item() / (9 * 12))
            (shade,) = image[mask > 0.5].unique().tolist()
            number = round((shade - 0.2) / 0.16)
            assert box["label"] == LABELS.splitlines()[number // 2]


def test_the_label_of_a_picture_is_of_what_fills_the_most_of_it(compose):
    _, masks, boxes, labels = compose(count=20)
    areas = iter(masks.sum((1, 2)).tolist())
    for label, own in zip(labels, boxes, strict=True):
        pixels = dict.fromkeys(LABELS.splitlines(), 0)
        for box in own:
            pixels[box["label"]] += next(areas)
        assert pixels[label] == max(pixels.values()) > 0


def test_a_picture_without_sprites_has_no_mask_and_no_label(compose):
    images, masks, boxes, labels = compose(fewest=0, most=0, count=2)
    assert images.shape == (2, 50, 60, 3) and masks.shape == (0, 50, 60)
    assert boxes == [[], []] and labels == ["", ""]


@pytest.mark.parametrize("pixel_art", [True, False])
@pytest.mark.parametrize("casts", [1, 2])
def test_a_picture_is_the_same_in_any_part_of_a_set(pixel_art, casts, compose):
    given = {"pixel_art": pixel_art, "casts": casts, "rotation": 90.0, "largest": 2.0, "seed": 2**64 - 1}
    images, masks, boxes, labels = compose(count=7, **given)
    before = sum(map(len, boxes[:5]))
    part = compose(count=2, first=5, **given)
    assert torch.equal(part[0], images[5:]) and torch.equal(part[1], masks[before:])
    assert (part[2], part[3]) == (boxes[5:], labels[5:])
    assert not torch.equal(compose(count=7, **{**given, "seed": 1})[0], images)


def test_pictures_of_two_casts_share_no_sprite(compose):
    boxes = compose(count=12, casts=2)[2]
    used = [{box["source"] for own in boxes[cast::2] for box in own} for cast in (0, 1)]
    assert [len(each) for each in used] == [3, 3] and not used[0] & used[1]
    assert all({box["label"] for own in boxes[cast::2] for box in own} == set(LABELS.splitlines()) for cast in (0, 1))


def test_a_mask_of_the_sampler_is_as_good_as_a_fourth_channel(compose):
    rgba = sprites()
    by_mask = compose(sprites=rgba[..., :3], sprite_mask=1 - rgba[..., 3])
    for one, other in zip(by_mask, compose(), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_sprites_of_a_sampler_go_onto_its_tiles(draw, prompt, call):
    sword, transparent, *_ = draw(batch=2, positive=prompt("sword"))
    ground, *_ = draw(batch=2, positive=prompt("floor"), seed=1)
    images, masks, boxes, labels = call(
        "Compose", sprites=sword, sprite_mask=transparent, backgrounds=ground, labels="sword"
    )
    assert images.shape == (8, 128, 160, 3) and len(masks) == sum(map(len, boxes)) and set(labels) == {"sword"}


def test_without_a_size_pictures_are_as_large_as_the_backgrounds(compose):
    images, masks, *_ = compose(backgrounds=tiles(2, 48), width=0, height=0)
    assert images.shape[1:3] == masks.shape[1:] == (48, 48)


@pytest.mark.parametrize(("labels", "each"), [("a", 6), ("a\nb", 3), ("a\n\n b \nc\n", 2), ("a\nb\nc\na\nb\nc", 1)])
def test_a_line_of_labels_is_for_one_sprite_or_as_many_in_a_row(labels, each, compose):
    names = [line.strip() for line in labels.split("\n") if line.strip()]
    found = {(box["source"], box["label"]) for own in compose(count=40, labels=labels)[2] for box in own}
    assert len(found) == 6
    assert sorted(label for _, label in found) == sorted(name for name in names for _ in range(each))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"labels": ""}, "labels has 0 lines and there are 6 sprites"),
        ({"labels": "a\nb\nc\nd"}, "labels has 4 lines and there are 6 sprites"),
        ({"sprite_mask": torch.ones(6, 20, 16)}, "sprite_mask is 16×20 and sprites are 16×16"),
        ({"sprite_mask": torch.ones(4, 16, 16)}, "4 masks for 6"),
        ({"sprite_mask": torch.ones(6, 16, 16)}, "nothing in it"),
        ({"sprite_mask": torch.full((6, 16, 16), torch.nan)}, "sprite_mask has NaN"),
        ({"sprites": torch.full((6, 16, 16, 3), torch.nan)}, "sprites: .* NaN"),
        ({"backgrounds": torch.zeros(2, 16, 16)}, "backgrounds: .* not an IMAGE"),
        ({"fewest": 5, "most": 2}, "fewest is 5 and most is 2: make fewest the smaller"),
        ({"smallest": 2.0, "largest": 1.0}, "smallest is 2 and largest is 1: make smallest the smaller"),
        ({"casts": 3}, "3 casts and at most 2 sprites"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_what_does_not_fit_is_refused(given, told, compose):
    with pytest.raises(ValueError, match=told):
        compose(**given)


def test_nothing_given_is_modified(compose):
    given = {"sprites": sprites(), "backgrounds": tiles(2, 80), "sprite_mask": 1 - sprites()[..., 3]}
    before = {name: tensor.clone() for name, tensor in given.items()}
    images, masks, *_ = compose(**given)
    with torch.inference_mode():
        images.fill_(0.5), masks.fill_(0.5)
    assert all(torch.equal(given[name], before[name]) for name in given)


def test_cancelling_stops_at_the_next_picture(compose, host):
    heard = []

    def listen(event, data):
        heard.append(data["value"])
        if data["value"] == 2:
            host.cancel.set()

    host.listener = listen
    with pytest.raises(Cancelled):
        compose()
    assert heard == [0, 1, 2]
