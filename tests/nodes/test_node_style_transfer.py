"""Style Transfer: every input, whose style is whose, how a run is watched, and what a denoiser does with it."""

from functools import partial

import pytest
import torch
from torch import Tensor

from varifold.models.style.restyle import transfer as transferred
from varifold.models.style.strokes import PASSES
from varifold.studio.errors import Cancelled

BY_DENOISER = ["statistics", "attention", "distil"]
STYLES = ["style", "style_2", "style_3", "style_4"]
WEIGHTS = ["weight", "weight_2", "weight_3", "weight_4"]
GREEN = torch.tensor([0.3, 0.9, 0.4])
every_method = pytest.mark.parametrize("method", BY_DENOISER)


@pytest.fixture
def transfer(call):
    return partial(call, "StyleTransfer")


@pytest.fixture
def restyle(transfer, embedded):
    """With the embedded denoiser, a picture of its own size and few steps."""
    return partial(transfer, content=content(height=32, width=32), style=style(), denoiser=embedded, steps=3)


def content(count: int = 1, height: int = 24, width: int = 30, channels: int = 3, seed: int = 1) -> Tensor:
    """Smooth colours."""
    planes = torch.rand(count, channels, 5, 5, generator=torch.Generator().manual_seed(seed))
    planes = torch.nn.functional.interpolate(planes, (height, width), mode="bicubic")
    return planes.clamp(0, 1).movedim(1, -1).contiguous()


def style(count: int = 1, seed: int = 9) -> Tensor:
    return content(count, 40, 34, seed=seed) * GREEN


def red(count: int = 1) -> Tensor:
    return content(count, 30, 30, seed=5) * torch.tensor([1.0, 0.2, 0.1])


def left(count: int = 1, height: int = 24, width: int = 30, value: float = 1.0) -> Tensor:
    mask = torch.zeros(count, height, width)
    mask[..., : width // 2] = value
    return mask


def with_nan(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor[0, 3, 3] = torch.nan
    return tensor


def distance(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().mean().item()


@pytest.fixture(scope="module")
def painted() -> Tensor:
    """The content in the style."""
    return transferred(content(), style())


# Its inputs


def test_it_is_what_the_models_make(transfer, painted):
    assert torch.equal(transfer(content=content(), style=style())[0], painted)
    given = {"strength": 0.7, "structure": 0.9, "keep_colours": True, "texture_scale": 1.5, "seed": 2**63}
    (image,) = transfer(content=content(), style=style(), **given)
    assert torch.equal(image, transferred(content(), style(), **given))


@pytest.mark.parametrize(
    "given",
    [{"strength": 0.6}, {"structure": 1.0}, {"keep_colours": True}, {"texture_scale": 2.0}, {"seed": 1}],
    ids=lambda given: next(iter(given)),
)
def test_each_widget_matters(given, transfer, painted):
    assert distance(transfer(content=content(), style=style(), **given)[0], painted) > 1e-3


@pytest.mark.parametrize("preset", ["none", "oil", "watercolour", "sketch", "ink"])
def test_at_strength_0_the_content_is_as_it_was(preset, transfer):
    pictures = 3 * content(2, channels=4) - 1
    (image,) = transfer(content=pictures, style=style(), preset=preset, strength=0.0)
    assert torch.equal(image, pictures)


def test_presets_need_no_style_and_take_the_colours_of_one(transfer):
    pictures = {
        preset: transfer(content=content(), preset=preset)[0] for preset in ("oil", "watercolour", "sketch", "ink")
    }
    for preset, image in pictures.items():
        assert torch.equal(image, transferred(content(), medium=preset))
        assert all(distance(image, other) > 0.01 for name, other in pictures.items() if name != preset)
    (green,) = transfer(content=content(), preset="ink", style=style())
    assert green[..., 1].mean() > green[..., 0].mean() + 0.1


def test_a_preset_goes_before_the_method_and_its_denoiser(transfer, embedded):
    (alone,) = transfer(content=content(), preset="ink")
    assert torch.equal(transfer(content=content(), preset="ink", method="distil")[0], alone)
    assert torch.equal(transfer(content=content(), preset="ink", method="attention", denoiser=embedded)[0], alone)


def test_strokes_do_not_ask_the_denoiser(transfer, painted, embedded):
    assert torch.equal(transfer(content=content(), style=style(), denoiser=embedded, steps=7)[0], painted)


@pytest.mark.parametrize(("name", "weight"), list(zip(STYLES, WEIGHTS, strict=True)))
def test_each_style_may_come_alone_and_a_weight_of_0_leaves_it_out(name, weight, transfer, painted):
    assert torch.equal(transfer(content=content(), **{name: style(), weight: 0.3})[0], painted)
    others = [each for each in zip(STYLES, WEIGHTS, strict=True) if each[0] != name]
    given = {other: red() for other, _ in others} | {other: 0.0 for _, other in others}
    assert torch.equal(transfer(content=content(), **{name: style()}, **given)[0], painted)


def test_weights_without_a_style_count_for_nothing(transfer, painted):
    given = dict.fromkeys(WEIGHTS[1:], 9.0)
    assert torch.equal(transfer(content=content(), style=style(), **given)[0], painted)


def test_styles_mix_by_their_weights(transfer, painted):
    redness = []
    for weight in (0.0, 0.25, 4.0):
        (image,) = transfer(content=content(), style=style(), style_2=red(), weight_2=weight)
        redness.append(float((image[..., 0] - image[..., 1]).mean()))
    assert redness == sorted(redness) and redness[2] > redness[0] + 0.2
    mixed = [transferred(content(), [style(), red(), style(seed=3), red()], weights=[1.0, 2.0, 3.0, 4.0])]
    given = {"style": style(), "style_2": red(), "style_3": style(seed=3), "style_4": red()}
    weights = {name: float(number) for number, name in enumerate(WEIGHTS, 1)}
    assert torch.equal(transfer(content=content(), **given, **weights)[0], mixed[0])


def test_each_picture_has_its_own_style_or_all_the_same(transfer, painted):
    pictures, styles = torch.cat([content(), content(seed=2)]), torch.cat([style(), style(seed=3)])
    (one_each,), (shared,) = (transfer(content=pictures, style=each) for each in (styles, styles[:1]))
    assert torch.equal(one_each[:1], painted) and torch.equal(shared[:1], painted)
    for image, wanted in ((one_each, styles[1:]), (shared, styles[:1])):
        assert torch.equal(image[1:], transfer(content=pictures[1:], style=wanted)[0])


def test_nothing_given_is_modified(transfer):
    given = {"content": content(channels=4), "style": style(), "content_mask": left(), "style_mask": left(1, 40, 34)}
    before = {name: tensor.clone() for name, tensor in given.items()}
    (image,) = transfer(**given)
    with torch.inference_mode():
        image.fill_(0.5)
    assert all(torch.equal(given[name], before[name]) for name in given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_pictures_of_other_types_come_out_in_float32(dtype, transfer):
    given = {"content": content(), "style": style(), "content_mask": left(), "style_mask": left(1, 40, 34)}
    (image,) = transfer(**{name: tensor.to(dtype) for name, tensor in given.items()})
    assert image.dtype == torch.float32 and distance(image, transfer(**given)[0]) < 0.02


def test_alpha_is_the_contents_and_what_is_transparent_is_no_style(transfer, painted):
    (image,) = transfer(content=torch.cat([content(), left(value=0.5)[..., None]], -1), style=style())
    assert image.shape == (1, 24, 30, 4) and torch.equal(image[..., 3], left(value=0.5))
    wide = torch.cat([style(), red().new_zeros(1, 40, 34, 3)], 2)
    (masked,) = transfer(content=content(), style=wide, style_mask=left(1, 40, 68))
    clear = torch.cat([wide, left(1, 40, 68)[..., None]], -1)
    assert torch.equal(transfer(content=content(), style=clear)[0], masked)
    assert masked.mean() > transfer(content=content(), style=wide)[0].mean() + 0.05


def test_a_grey_image_of_one_channel_is_taken_as_colours(transfer):
    grey = content()[..., :1]
    (image,) = transfer(content=grey, style=style())
    assert torch.equal(image, transfer(content=grey.expand(-1, -1, -1, 3), style=style())[0])


# Masks


def test_outside_the_content_mask_nothing_changes(transfer):
    pictures = 3 * content(2) - 1
    (image,) = transfer(content=pictures, style=style(), content_mask=left())
    assert torch.equal(image[:, :, 15:], pictures[:, :, 15:])
    assert distance(image[:, :, :15], pictures[:, :, :15].clamp(0, 1)) > 0.05
    one_each = torch.cat([left(), torch.zeros(1, 24, 30)])
    (image,) = transfer(content=pictures, style=style(), content_mask=one_each)
    assert torch.equal(image[1], pictures[1]) and not torch.equal(image[0], pictures[0])


def test_masks_of_other_sizes_are_scaled(transfer):
    given = {"content": content(), "style": style()}
    (expected,) = transfer(**given, content_mask=left(), style_mask=left(1, 40, 34))
    (image,) = transfer(**given, content_mask=left(1, 48, 60), style_mask=left(1, 120, 102))
    assert torch.equal(image[:, :, 15:], content()[:, :, 15:]) and distance(image, expected) < 1e-3
    assert torch.equal(transfer(**given, content_mask=left()[0], style_mask=left(1, 40, 34)[0])[0], expected)


def test_the_empty_mask_of_load_image_is_no_mask(transfer, painted):
    given = {"content_mask": torch.zeros(1, 64, 64), "style_mask": torch.zeros(1, 64, 64)}
    assert torch.equal(transfer(content=content(), style=style(), **given)[0], painted)


def test_the_style_mask_is_that_of_the_first_style(transfer):
    half = torch.cat([style(), red().new_ones(1, 40, 34, 3)], 2)
    mask = left(1, 40, 68)
    (image,) = transfer(content=content(), style=half, style_2=half, weight_2=1.0, style_mask=mask)
    assert torch.equal(image, transferred(content(), [half, half], style_masks=[mask, None]))


# Watching


def test_progress_counts_steps_to_the_end(transfer, events):
    transfer(content=content(2), style=style())
    told = [(data["value"], data["max"]) for event, data in events if event == "progress"]
    assert told == [(done, 2 * PASSES) for done in range(2 * PASSES + 1)]


@pytest.mark.parametrize("preset", ["oil", "watercolour", "sketch", "ink"])
def test_progress_of_a_preset_comes_to_its_end(preset, transfer, events):
    transfer(content=content(2), preset=preset)
    told = [(data["value"], data["max"]) for event, data in events if event == "progress"]
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1][0] == told[-1][1] > 0


def cancelled_after(host, done: int) -> list[int]:
    heard = []

    def listen(event, data):
        if event == "progress":
            heard.append(data["value"])
            if data["value"] == done:
                host.cancel.set()

    host.listener = listen
    return heard


@pytest.mark.parametrize("done", [0, 1, 3, PASSES + 1])
def test_cancelling_stops_at_the_next_step(done, transfer, host):
    heard = cancelled_after(host, done)
    with pytest.raises(Cancelled):
        transfer(content=content(3), style=style())
    assert heard == list(range(done + 1))


def test_a_cancelled_preset_stops_at_the_next_picture(transfer, host):
    host.cancel.set()
    with pytest.raises(Cancelled):
        transfer(content=content(3), preset="oil")


@pytest.mark.parametrize("given", [{}, {"preset": "ink"}], ids=["strokes", "preset"])
def test_previews_are_shown_where_they_are_wanted(given, transfer, host, events):
    transfer(content=content(), style=style(), **given)
    assert not [data for event, data in events if event == "preview"]
    host.wants_preview = True
    transfer(content=content(), style=style(), **given)
    previews = [data["image"] for event, data in events if event == "preview"]
    assert len(previews) == (1 if given else PASSES)
    assert all(image.width / image.height == pytest.approx(30 / 24) for image in previews)
    assert all(len(image.getcolors(2**20)) > 20 for image in previews)


# With a denoiser


@every_method
def test_a_denoiser_draws_it_in_the_style(method, restyle):
    picture = content(height=32, width=32)
    (image,) = restyle(method=method)
    assert image.shape == picture.shape and image.dtype == torch.float32 and image.isfinite().all()
    assert distance(image, picture) > 1e-2
    assert torch.equal(restyle(method=method)[0], image)
    assert distance(restyle(method=method, style=red())[0], image) > 1e-3
    assert distance(restyle(method=method, strength=0.3)[0], picture) < distance(image, picture)
    assert torch.equal(restyle(method=method, strength=0.0)[0], picture)


@every_method
def test_a_denoiser_leaves_alone_what_is_not_to_be_restyled(method, restyle):
    hero = torch.cat([content(1, 30, 28), left(1, 30, 28)[..., None]], -1)
    (image,) = restyle(method=method, content=hero, content_mask=left(1, 15, 28).flip(1))
    assert image.shape == hero.shape and torch.equal(image[..., 3], hero[..., 3])
    untouched = hero[..., 3] == 0
    assert torch.equal(image[untouched], hero[untouched])
    assert not torch.equal(image, hero)


@every_method
def test_a_prompt_says_what_the_content_shows(method, restyle, prompt):
    plain, robed = restyle(method=method)[0], restyle(method=method, positive=prompt("hero robe"))[0]
    assert distance(plain, robed) > 1e-5
    several = prompt("hero") + prompt("robe")
    with pytest.raises(ValueError, match="style transfer follows one prompt: wire a single one into positive"):
        restyle(method=method, positive=several)


@pytest.mark.parametrize("method", ["statistics", "attention"])
def test_steps_and_structure_reach_the_denoiser(method, restyle):
    (image,) = restyle(method=method)
    assert distance(restyle(method=method, steps=5)[0], image) > 1e-4
    assert distance(restyle(method=method, structure=1.0)[0], image) > 1e-4


@every_method
def test_a_run_of_a_denoiser_is_watched_and_can_be_cancelled(method, restyle, host, events):
    host.wants_preview = True
    restyle(method=method)
    told = [(data["value"], data["max"]) for event, data in events if event == "progress"]
    assert told[0][0] == 0 and told[-1][0] == told[-1][1] and len({total for _, total in told}) == 1
    previews = [data["image"] for event, data in events if event == "preview"]
    assert previews and all(image.width == image.height for image in previews)
    heard = cancelled_after(host, 2)
    with pytest.raises(Cancelled):
        restyle(method=method)
    assert heard == [0, 1, 2]


def test_several_styles_and_weights_for_a_denoiser(restyle):
    (both,) = restyle(method="attention", style_2=red())
    (one,) = restyle(method="attention", style_2=red(), weight_2=0.0)
    assert torch.equal(one, restyle(method="attention")[0]) and distance(both, one) > 1e-4


# What is refused


@pytest.mark.parametrize("name", ["content", *STYLES, "content_mask", "style_mask"])
def test_nan_is_refused_by_the_name_of_its_input(name, transfer):
    given = {"content": content(), "style": style(), "content_mask": left(), "style_mask": left(1, 40, 34)}
    with pytest.raises(ValueError, match=f"^{name}(:| has)") as error:
        transfer(**given | {name: with_nan(given.get(name, style()))})
    assert "NaN" in str(error.value) and "look at the node that made it" in str(error.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"style": None}, "there is no style: wire a picture into style, or choose a preset"),
        ({"weight": 0.0}, "there is no style"),
        ({"style": style(2)}, "style has 2 pictures and content 3: one for all, or one each"),
        ({"style_3": style(2)}, "style_3 has 2 pictures and content 3"),
        ({"preset": "oil", "style": style(2)}, "style has 2 pictures and content 3"),
        ({"style": style()[0]}, "style: this is not an IMAGE of 3 or 4 channels"),
        ({"content": content()[..., :2]}, "content: this is not an IMAGE"),
        ({"content_mask": torch.ones(2, 24, 30)}, "there are 2 masks for 3 pictures: one for all, or one each"),
        ({"style_mask": torch.ones(2, 40, 34)}, "there are 2 masks for 1 pictures"),
        (
            {"style_mask": torch.zeros(1, 40, 34)},
            "nothing to take from the style where its mask is 1: enlarge the mask",
        ),
        ({"style": torch.cat([style(), torch.zeros(1, 40, 34, 1)], -1)}, "nothing to take from the style"),
        *(({"method": method}, f"{method} needs a denoiser: wire one, or choose strokes") for method in BY_DENOISER),
    ],
)
def test_what_does_not_fit_is_refused(given, sentence, transfer):
    with pytest.raises(ValueError, match=sentence):
        transfer(**{"content": content(3), "style": style()} | given)


@every_method
def test_a_denoiser_that_draws_no_pictures_is_refused(method, call, transfer):
    (toy, *_) = call("Toy")
    with pytest.raises(ValueError, match="draws"):
        transfer(content=content(), style=style(), method=method, denoiser=toy)
