"""Style transfer by strokes and by media: what stays as it was, what is the style's, what is refused."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from varifold.models.style.media import MEDIA
from varifold.models.style.oklab import oklab
from varifold.models.style.restyle import METHODS, transfer
from varifold.models.style.strokes import PASSES
from varifold.models.style.styles import Style, of_size
from varifold.models.style.tensor import blur

torch.set_num_threads(1)

GREEN = torch.tensor([0.3, 0.9, 0.4])


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def picture(height: int = 48, width: int = 64, channels: int = 3, seed: int = 1, blobs: float = 4.0) -> Tensor:
    """[1, height, width, channels]: blobs of colour, from dark to light."""
    planes = blur(noise(channels, height, width, seed=seed) - 0.5, blobs)
    return (
        (0.5 + 0.2 * planes / planes.std(dim=(1, 2), correction=0, keepdim=True).clamp(min=1e-6))
        .clamp(0, 1)
        .movedim(0, -1)[None]
    )


def style(height: int = 56, width: int = 50, seed: int = 9) -> Tensor:
    """Greenish and finer."""
    return picture(height, width, seed=seed, blobs=1.5) * GREEN


def left(height: int = 48, width: int = 64, count: int = 1) -> Tensor:
    mask = torch.zeros(count, height, width)
    mask[..., : width // 2] = 1
    return mask


def chroma(pictures: Tensor) -> Tensor:
    return pictures.amax(-1) - pictures.amin(-1)


@pytest.fixture(scope="module")
def painted() -> Tensor:
    """The picture in the style, with seed 3."""
    return transfer(picture(), style(), seed=3)


# What comes out


def test_it_is_another_picture_with_the_same_things_in_the_styles_colours(painted):
    assert painted.shape == (1, 48, 64, 3) and painted.dtype == torch.float32
    assert painted.min() >= 0 and painted.max() <= 1
    assert (painted - picture()).abs().mean() > 0.05
    before, after = (oklab(each)[0, ..., 0].flatten() for each in (picture(), painted))
    assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.6
    for moment in (torch.mean, torch.std):
        wanted, found = (moment(each, (0, 1, 2)) for each in (style(), painted))
        assert (wanted - found).abs().max() < 0.1


def test_the_seed_alone_decides_and_nothing_given_is_modified(painted):
    content, wanted = picture(), style()
    torch.manual_seed(99)
    assert torch.equal(transfer(content, wanted, seed=3), painted)
    assert torch.equal(content, picture()) and torch.equal(wanted, style())
    assert (transfer(content, wanted, seed=4) - painted).abs().mean() > 1e-3


@pytest.mark.parametrize("medium", [None, *MEDIA])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_at_strength_0_it_is_the_content_bit_for_bit(medium, dtype):
    content = (3 * picture(channels=4) - 1).to(dtype)
    same = transfer(content, style(), medium=medium, strength=0.0)
    assert same.dtype == dtype and torch.equal(same, content)
    assert same.data_ptr() != content.data_ptr()


def test_half_the_strength_is_halfway(painted):
    torch.testing.assert_close(transfer(picture(), style(), strength=0.5, seed=3), (picture() + painted) / 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (37, 53), (2, 3)])
def test_any_size(size):
    made = transfer(picture(*size), style())
    assert made.shape == (1, *size, 3) and made.isfinite().all() and made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (300, 2)])
def test_styles_of_any_size(size):
    made = transfer(picture(), picture(*size) * GREEN)
    assert made.isfinite().all() and chroma(made).mean() > 0.05


def test_alpha_is_left_alone_and_what_is_transparent_does_not_count(painted):
    content = torch.cat([picture(), left()[..., None]], -1)
    made = transfer(content, style(), seed=3)
    assert torch.equal(made[..., 3], content[..., 3])
    inside = transfer(picture(), style(), mask=left(), seed=3)
    assert not torch.equal(inside[..., :32, :], painted[..., :32, :])
    assert torch.equal(made[..., :32, :3], inside[..., :32, :])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_other_types_come_out_as_they_came(dtype, painted):
    made = transfer(picture().to(dtype), style().to(dtype), mask=torch.ones(1, 48, 64, dtype=dtype), seed=3)
    assert made.dtype == dtype
    # Rounding may choose other strokes.
    assert (made.float() - painted).abs().mean() < 0.03


def test_batches_are_done_one_by_one(painted):
    contents, styles = torch.cat([picture(), picture(seed=2)]), torch.cat([style(), 1 - style(seed=10)])
    one_each = transfer(contents, styles, seed=3)
    assert torch.equal(one_each[:1], painted)
    assert torch.equal(one_each[1:], transfer(contents[1:], styles[1:], seed=3))
    assert torch.equal(transfer(contents, styles[:1], mask=left(count=2), seed=3)[1:, :, 32:], contents[1:, :, 32:])


# Colours


def test_grey_in_a_grey_style_stays_grey():
    grey = picture().mean(-1, keepdim=True).expand(-1, -1, -1, 3)
    assert chroma(transfer(grey, style().mean(-1, keepdim=True).expand(-1, -1, -1, 3))).max() < 1 / 255
    assert chroma(transfer(picture(), style().mean(-1, keepdim=True).expand(-1, -1, -1, 3))).max() < 0.02


@pytest.mark.parametrize("colour", [torch.zeros(3), torch.ones(3), torch.tensor([0.5, 0.3, 0.1])], ids=str)
def test_a_style_of_one_colour_gives_that_colour(colour):
    made = transfer(picture(), colour.expand(1, 20, 30, 3), structure=0.0)
    assert (made - colour).abs().max() < 2 / 255


@pytest.mark.parametrize("medium", [None, "oil"])
def test_colours_kept_are_the_contents(medium):
    """Of hues that there are at the new lightness: chroma may be lost to it, and is never made."""
    content = 0.5 + 0.3 * (picture() - 0.5)
    made = transfer(content, style(), medium=medium, keep_colours=True)
    (before, after), free = (oklab(each) for each in (content, made)), made.amin(-1) > 0.02
    free &= made.amax(-1) < 0.98
    assert free.float().mean() > 0.5
    assert (before - after)[free][:, 1:].abs().max() < 1e-3
    assert (before - after)[..., 0].abs().mean() > 0.02
    longer = after[..., 1:].norm(dim=-1) - before[..., 1:].norm(dim=-1)
    assert longer.max() < 1e-3


def test_structure_keeps_fine_detail():
    content = (picture() + 0.1 * (noise(1, 48, 64, 1) - 0.5)).clamp(0, 1)

    def fine(pictures: Tensor) -> Tensor:
        lightness = oklab(pictures)[0, ..., 0]
        return (lightness - blur(lightness, 1.0)).flatten()

    loose, close = (fine(transfer(content, style(), structure=structure)) for structure in (0.0, 1.0))
    alike = torch.corrcoef(torch.stack([fine(content), loose, close]))[0]
    assert alike[2] > alike[1] + 0.2


# Masks and weights


def test_outside_the_mask_the_content_is_bit_for_bit():
    content = 3 * picture() - 1
    made = transfer(content, style(), mask=left())
    assert torch.equal(made[:, :, 32:], content[:, :, 32:])
    assert (made[:, :, :32] - content[:, :, :32].clamp(0, 1)).abs().mean() > 0.05
    assert torch.equal(transfer(content, style(), mask=torch.zeros(1, 48, 64)), content)


def test_only_what_the_style_mask_shows_is_taken(painted):
    """The other half is red: neither its colours nor its strokes come over."""
    grey = picture(56, 50, seed=9, blobs=1.5).mean(-1, keepdim=True)
    wide = torch.cat([grey * GREEN, grey * torch.tensor([1.0, 0.1, 0.1])], 2)
    made = transfer(picture(), wide, style_masks=[left(56, 100)])
    assert (made[..., 0] - made[..., 1]).max() < 0.1
    whole = transfer(picture(), wide)
    assert (whole[..., 0] - whole[..., 1]).max() > 0.3
    clear = torch.cat([wide, left(56, 100)[..., None]], -1)
    assert torch.equal(transfer(picture(), clear), made)


def test_weights_are_shares_and_0_leaves_a_style_out(painted):
    red = picture(40, 40, seed=5) * torch.tensor([0.9, 0.2, 0.2])
    assert torch.equal(transfer(picture(), [style(), red], weights=[0.4, 0.0], seed=3), painted)
    assert torch.equal(
        transfer(picture(), [red, style()], weights=[0.0, 7.0], style_masks=[left(), None], seed=3), painted
    )

    def redness(*weights: float) -> float:
        made = transfer(picture(), [style(), red], weights=weights)
        return float((made[..., 0] - made[..., 1]).mean())

    few, many = redness(4.0, 1.0), redness(1.0, 4.0)
    assert float((painted[..., 0] - painted[..., 1]).mean()) < few < many


def test_a_style_is_as_large_as_the_content_and_no_longer_than_it_may_be():
    """Its pages are squares of the longest side: a ribbon would fill all memory."""
    (usual,) = of_size([Style(noise(300, 400, 3))], 120.0)
    assert usual.picture.shape == (104, 139, 3)
    for size in ((1, 4096), (4096, 1), (20, 900)):
        for side in (48.0, 512.0, 2048.0):
            (made, _) = of_size([Style(torch.zeros(*size, 3), 1.0, torch.ones(size))] * 2, side)
            assert max(made.picture.shape) <= 1.5 * min(side, 1024.0) + 1
            assert min(made.picture.shape[:2]) >= 48 and made.mask.shape == made.picture.shape[:2]


# Media


@pytest.mark.parametrize("medium", MEDIA)
def test_media_take_no_style_or_its_colours(medium):
    plain, coloured = transfer(picture(), medium=medium, seed=3), transfer(picture(), style(), medium=medium, seed=3)
    assert plain.shape == coloured.shape == (1, 48, 64, 3)
    assert (plain - picture()).abs().mean() > 0.01
    assert (coloured.mean((0, 1, 2)) - style().mean((0, 1, 2))).abs().max() < 0.1
    assert torch.equal(transfer(picture(), [style()], medium=medium, weights=[0.0], seed=3), plain)
    masked = transfer(picture(), medium=medium, mask=left(), seed=3)
    assert torch.equal(masked[:, :, 32:], picture()[:, :, 32:]) and torch.equal(masked[:, :, :32], plain[:, :, :32])


# Progress, and what is refused


def test_it_tells_of_each_step_and_can_be_stopped(painted):
    told = []

    def observe(done: int, total: int, state: Tensor) -> None:
        told.append((done, total))
        if done == 0:
            return
        assert state.shape == (48, 64, 3) and state.min() > -1e-5 and state.max() < 1 + 1e-5
        if done == PASSES + 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        transfer(picture().expand(2, -1, -1, -1), style(), observe=observe)
    assert told == [(done, 2 * PASSES) for done in range(PASSES + 3)]


NAN = torch.where(torch.arange(48 * 64 * 3).view(1, 48, 64, 3) == 99, torch.nan, picture())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "gatys"}, "'gatys' is not a method: it should be one of strokes, statistics, attention, distil"),
        ({"medium": "clay"}, "there is no medium 'clay': choose one of oil, watercolour, sketch, ink"),
        ({"style": ()}, "there is no style: give a picture with a weight above 0, or choose a medium"),
        ({"weights": [0.0]}, "there is no style"),
        ({"weights": [1.0, 1.0]}, "1 styles need as many weights"),
        ({"weights": [-1.0]}, "none below 0"),
        ({"weights": [float("nan")]}, "none below 0"),
        ({"weights": [float("inf")]}, "none below 0"),
        ({"strength": 1.5}, "strength is 1.5: it should be between 0 and 1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"structure": -0.1}, "structure is -0.1: it should be between 0 and 1"),
        ({"texture_scale": 0.0}, "texture_scale is 0: it should be above 0"),
        ({"content": NAN}, "content has NaN or infinity in it"),
        ({"style": [style(), NAN]}, "style 2 has NaN or infinity in it"),
        ({"content": NAN, "medium": "oil"}, "content has NaN"),
        ({"content": picture()[0]}, r"content should be \[B, H, W, 3 or 4\], and its shape is \(48, 64, 3\)"),
        ({"style": picture()[..., :1]}, "style 1 should be"),
        ({"style": style().expand(2, -1, -1, -1)}, "style 1 has 2 pictures and content 1: one for all, or one each"),
        ({"mask": left(24, 32)}, r"the mask of content is \(1, 24, 32\): it should be \[1 or 1, 48, 64\]"),
        ({"mask": left(count=2)}, "the mask of content is"),
        ({"style_masks": [left()]}, r"the mask of style 1 is \(1, 48, 64\): it should be \[1 or 1, 56, 50\]"),
        ({"style_masks": [None, None]}, "there are 1 styles and 2 style_masks"),
        ({"style_masks": [torch.zeros(1, 56, 50)], "medium": "ink"}, "there is nothing to take from the style"),
        ({"style_masks": [torch.zeros(1, 56, 50)]}, "there is nothing to take from the style where its mask is 1"),
        *(({"method": method}, f"{method} needs a denoiser: give one, or choose strokes") for method in METHODS[1:]),
    ],
)
def test_what_does_not_fit_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        transfer(**{"content": picture(), "style": style()} | given)


LARGE = """
import resource, torch
from varifold.models.style.restyle import transfer
torch.set_num_threads(1)
planes = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
content, style = torch.nn.functional.interpolate(planes, (4096, 4096), mode="bilinear").movedim(1, -1).split(1)
made = transfer(content, style)
assert made.shape == content.shape and made.isfinite().all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.heavy
def test_4096_pixels_stay_under_6_gigabytes():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 6


def test_people_who_script_call_it_by_the_name_of_the_engine():
    from varifold.models import style as engine

    assert engine.transfer is transfer
