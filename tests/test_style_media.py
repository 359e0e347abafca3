"""Media of art with no style picture: any size, the same by seed, what is dark stays darker than what is light."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from numpy import array
from PIL import Image

from varifold.models.style.hatching import hatching
from varifold.models.style.line_integral import line_integral
from varifold.models.style.lines import lines
from varifold.models.style.media import MEDIA, lightness, render
from varifold.models.style.noise import noise
from varifold.models.style.steady import CLEAR, steady
from varifold.models.style.tensor import Flow, blur, flow
from varifold.models.style.tones import spread_tones

PICTURES = Path(__file__).parent.parent / "nodes" / "pictures"
EVERY = pytest.mark.parametrize("medium", MEDIA)


def photo(name: str = "coffee", width: int = 150) -> torch.Tensor:
    with Image.open(PICTURES / f"{name}.jpg") as file:
        small = file.convert("RGB").resize((width, width * 2 // 3), Image.Resampling.LANCZOS)
    return torch.from_numpy(array(small)).float() / 255


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chroma(picture: torch.Tensor) -> torch.Tensor:
    return picture.amax(-1) - picture.amin(-1)


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (37, 53)])
def test_any_size(medium, size):
    picture = torch.rand(*size, 3, generator=seeded())
    made = render(picture, medium, seed=1)
    assert made.shape == picture.shape
    assert made.dtype == torch.float32
    assert made.isfinite().all()
    assert made.min() >= 0
    assert made.max() <= 1


@EVERY
@pytest.mark.parametrize("scale", [0.1, 6.0])
def test_any_scale(medium, scale):
    made = render(photo(width=60), medium, scale=scale)
    assert made.isfinite().all()
    assert made.std() > 0.01


@EVERY
def test_the_seed_alone_decides(medium):
    picture = photo(width=90)
    first, other = (render(picture, medium, seed=seed) for seed in (3, 4))
    torch.manual_seed(99)
    assert render(picture, medium, seed=3).equal(first)
    assert (first - other).abs().mean() > 1e-3


@EVERY
def test_the_picture_given_is_not_written_to(medium):
    picture = photo(width=60)
    before = picture.clone()
    render(picture, medium)
    assert picture.equal(before)


@EVERY
def test_what_is_there_stays_there(medium):
    picture = photo()
    made = render(picture, medium)
    before, after = (blur(lightness(each), 3).flatten() for each in (picture, made))
    assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.85


@EVERY
@pytest.mark.parametrize("name", ["cat", "coffee"])
def test_the_order_of_tones_is_kept(medium, name):
    picture = photo(name)
    before, after = lightness(picture), lightness(render(picture, medium))
    bounds = before.quantile(torch.linspace(0, 1, 5))
    means = [after[(before >= low) & (before <= high)].mean() for low, high in pairwise(bounds)]
    assert all(darker < lighter - 0.02 for darker, lighter in pairwise(means))


@EVERY
def test_more_structure_is_nearer_to_the_picture(medium):
    picture = photo("cat")
    wanted = lightness(picture) - blur(lightness(picture), 3)

    def kept(structure: float) -> float:
        found = lightness(render(picture, medium, structure=structure))
        return float(torch.corrcoef(torch.stack([wanted.flatten(), (found - blur(found, 3)).flatten()]))[0, 1])

    assert kept(1.0) > kept(0.0)


@EVERY
def test_a_grey_picture_stays_grey(medium):
    grey = photo().mean(-1, keepdim=True).expand(-1, -1, 3).contiguous()
    paper = 0.09 if medium == "ink" else 0.03  # paper is a little yellow, ink's more so
    assert chroma(render(grey, medium)).max() < paper


@pytest.mark.parametrize("medium", ["sketch", "ink"])
def test_drawings_have_no_colour(medium):
    made = render(photo(), medium).reshape(-1, 3)
    assert chroma(made).max() < 0.09
    centred = made - made.mean(0)
    _, strengths, _ = torch.linalg.svd(centred, full_matrices=False)
    assert strengths[1] < 0.02 * strengths[0]


@pytest.mark.parametrize("medium", ["oil", "watercolour"])
def test_paintings_keep_hues(medium):
    picture = photo()
    made = render(picture, medium)
    vivid = chroma(picture) > 0.4
    before, after = ((each - each.mean(-1, keepdim=True))[vivid] for each in (picture, made))
    assert torch.cosine_similarity(before, after, dim=-1).mean() > 0.9


@pytest.mark.parametrize("medium", ["sketch", "ink"])
def test_white_is_left_as_paper(medium):
    made = render(torch.ones(120, 160, 3), medium)
    assert made.min() > 0.8
    assert made.mean() > 0.9


def test_flat_areas_get_no_lines():
    assert lines(torch.full((60, 80), 0.4), flow(torch.full((60, 80), 0.4), 2), 1.0, 5).abs().max() < 1e-5


def test_lines_are_on_the_dark_side_of_edges():
    half = torch.zeros(40, 60)
    half[:, 30:] = 1
    darker = lines(half, flow(half, 2), 1.0, 5)
    assert darker[20, 28:30].min() > 0.05
    assert darker[20, 30:32].max() < -0.05
    assert darker[20, :20].abs().max() < 1e-4


@pytest.mark.parametrize("angle", [0.0, 0.6, -1.2])
def test_the_integral_runs_along_the_flow(angle):
    size, turn = 81, torch.tensor(2 * angle)
    along = Flow(turn.cos().expand(size, size), turn.sin().expand(size, size), torch.zeros(size, size))
    point = torch.zeros(1, size, size)
    point[0, 40, 40] = 1
    spread = line_integral(point, along, 12)[0]
    assert float(spread.sum()) == pytest.approx(1, abs=0.02)
    y, x = torch.meshgrid(torch.arange(size) - 40.0, torch.arange(size) - 40.0, indexing="ij")
    cos, sin = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    ahead = (spread * (x * cos + y * sin) ** 2).sum() / spread.sum()
    aside = (spread * (y * cos - x * sin) ** 2).sum() / spread.sum()
    assert ahead > 15
    assert aside < 1


def test_a_steady_hand_fills_what_has_no_edges():
    flat = steady(torch.full((30, 40), 0.5), (2, 6), hand=0.4, clear=CLEAR)
    assert flat.angle.sub(0.4).abs().max() < 1e-4
    stripes = (torch.arange(40) * 0.8).sin().expand(30, 40) * 0.5 + 0.5
    assert steady(stripes, (2, 6), hand=0.4, clear=CLEAR).angle.abs().min() > 1.5  # they stand upright


@pytest.mark.parametrize("wavelength", [0.5, 1, 2.5, 9, 30])
def test_noise_is_as_rough_as_asked(wavelength):
    made = noise(400, 500, wavelength, seeded(2))
    assert made.shape == (400, 500)
    assert abs(float(made.std()) - 1) < 0.1
    assert abs(float(made.mean())) < 0.2


def test_strokes_lie_as_far_apart_as_asked():
    strokes = hatching(200, 300, -0.8, 8, 60, seeded())
    assert strokes.distance.min() >= 0
    assert 1.5 < float(strokes.distance.mean()) < 3.5  # 2 if they were all in place
    assert strokes.pressure.min() >= 0
    assert strokes.pressure.max() <= 1


def test_spread_tones_keep_their_order():
    picture = torch.rand(50, 60, generator=seeded()) * 0.2 + 0.4
    tones = spread_tones(picture, 0.8)
    order = picture.flatten().argsort()
    assert tones.flatten()[order].diff().min() >= -1e-6
    assert tones.std() > picture.std()
    assert spread_tones(picture, 0.0).equal(picture)


def test_what_is_refused():
    with pytest.raises(ValueError, match="no medium 'pastel': choose one of oil, watercolour, sketch, ink"):
        render(photo(width=20), "pastel")
    broken = photo(width=20)
    broken[3, 4, 1] = float("nan")
    with pytest.raises(ValueError, match="no numbers"):
        render(broken, "oil")
