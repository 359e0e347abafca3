"""Where edges run, by pictures whose gradients are known, and the filter that paints along them."""

import math

import pytest
import torch
from torch import Tensor

from varifold.models.style import kuwahara as module
from varifold.models.style.kuwahara import kuwahara
from varifold.models.style.tensor import blur, flow

torch.set_num_threads(1)

ANGLES = [-80, -45, -20, 0, 10, 30, 45, 60, 90]


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def along(degrees: float, height: int = 64, width: int = 64) -> tuple[Tensor, Tensor]:
    """How far each pixel is along the direction at an angle from the x axis, y being down, and across it."""
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x * cos + y * sin, y * cos - x * sin


def stripes(degrees: float, wavelength: float = 9.0) -> Tensor:
    return 0.5 + 0.4 * torch.sin(2 * math.pi / wavelength * along(degrees)[1])


def between(one: Tensor, degrees: float) -> Tensor:
    """How far angles of edges are from another, in degrees: half a turn is the same edge."""
    return ((one.rad2deg() - degrees + 90) % 180 - 90).abs()


def inside(planes: Tensor, rim: int = 10) -> Tensor:
    return planes[..., rim:-rim, rim:-rim]


# Edges


@pytest.mark.parametrize("degrees", ANGLES)
def test_a_ramp_has_its_angle_and_its_slope(degrees):
    edges = flow(0.5 + 0.01 * along(degrees)[1], 2.0)
    assert inside(between(edges.angle, degrees)).max() < 0.1
    assert inside(edges.strength - 0.01).abs().max() < 1e-5
    # Gradients of 0.001 are as good as none: 0.01² / (0.01² + 0.001²).
    assert inside(edges.agreement - 1 / 1.01).abs().max() < 1e-3


@pytest.mark.parametrize("degrees", ANGLES)
def test_stripes_agree_on_their_angle_with_opposite_edges(degrees):
    edges = flow(stripes(degrees), 4.0)
    assert inside(between(edges.angle, degrees)).max() < 2
    assert inside(edges.agreement).min() > 0.98
    # The root mean square slope of a sine is its amplitude times its frequency, over √2.
    assert inside(edges.strength).mean() == pytest.approx(0.4 * 2 * math.pi / 9 / 2**0.5, rel=0.1)


def test_noise_and_flat_parts_agree_on_nothing():
    assert inside(flow(noise(96, 96), 6.0).agreement).mean() < 0.12
    flat = flow(torch.full((20, 30), 0.3), 2.0)
    assert flat.agreement.max() < 1e-6 and flat.strength.max() < 1e-6


def test_gradients_of_channels_are_added():
    ramp = 0.01 * along(30)[1]
    one, three = flow(ramp, 2.0), flow(torch.stack([ramp, -ramp, ramp]), 2.0)
    torch.testing.assert_close(three.strength, 3**0.5 * one.strength)
    assert inside(between(three.angle, 30)).max() < 0.1


def test_a_blur_is_a_gaussian_and_its_edge_goes_on():
    dot = torch.zeros(2, 41, 41)
    dot[1, 20, 20] = 1
    blurred = blur(dot, 3.0)
    offsets = torch.arange(41) - 20.0
    assert blurred[0].abs().max() == 0
    assert blurred[1].sum() == pytest.approx(1, abs=1e-5)
    assert (blurred[1].sum(0) * offsets**2).sum() == pytest.approx(9, rel=0.03)
    torch.testing.assert_close(blur(torch.full((5, 7), 0.3), 4.0), torch.full((5, 7), 0.3))
    assert torch.equal(blur(dot, 0.0), dot)


# The filter


@pytest.mark.parametrize("radius", [1.0, 5.0, 12.0])
def test_one_colour_stays_that_colour(radius):
    colour = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 20, 30)
    torch.testing.assert_close(kuwahara(colour, radius), colour, atol=1e-5, rtol=0)


def test_below_a_pixel_the_picture_is_as_it_was():
    picture = noise(3, 20, 30)
    assert torch.equal(kuwahara(picture, 0.9), picture)


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_grain_goes_and_edges_stay(degrees):
    sides = (along(degrees)[1] > 0).float() * 0.6 + 0.2
    grainy = (sides + 0.1 * (noise(3, 64, 64) - 0.5)).clamp(0, 1)
    painted = kuwahara(grainy, 6.0)
    away = along(degrees)[1].abs() > 1
    assert (
        inside((painted - sides).square().mean(0) * away).mean()
        < 0.2 * inside((grainy - sides).square().mean(0)).mean()
    )
    # As a blur of that size it would go down over a dozen pixels.
    between_sides = ((painted.mean(0) - 0.5).abs() < 0.2) & (along(degrees)[1].abs() < 20)
    assert inside(between_sides).sum() < 2.5 * 44
    assert inside((blur(grainy, 3.0).mean(0) - 0.5).abs() < 0.2).sum() > 3.5 * 44


@pytest.mark.parametrize("degrees", [0, 25, 60, -40])
def test_windows_are_long_along_the_edges(degrees):
    """Grain on stripes goes best so: with windows across them, or along their mirror image, stripes go too."""
    drawn = stripes(degrees, 10.0).expand(3, -1, -1)
    grainy = drawn + 0.2 * (noise(3, 64, 64) - 0.5)
    edges = flow(grainy, 3.0)
    others = [edges._replace(cos=-edges.cos, sin=-edges.sin)]
    if degrees:
        others.append(edges._replace(sin=-edges.sin))
    errors = [inside(kuwahara(grainy, 5.0, each) - drawn).square().mean() for each in (edges, *others)]
    assert all(errors[0] < 0.8 * other for other in errors[1:])


def test_it_turns_and_moves_with_the_picture():
    picture = blur(noise(3, 60, 60), 1.5)
    painted = kuwahara(picture, 5.0)
    for turns in (1, 2, 3):
        turned = kuwahara(picture.rot90(turns, (1, 2)), 5.0).rot90(-turns, (1, 2))
        assert inside(turned - painted).abs().mean() < 0.1 * inside(picture - painted).abs().mean()
    moved = kuwahara(picture[:, 7:, 4:], 5.0)
    torch.testing.assert_close(inside(moved, 18), inside(painted[:, 7:, 4:], 18), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (33, 65)])
def test_any_size(size):
    picture = noise(3, *size)
    painted = kuwahara(picture, 9.0)
    assert painted.shape == picture.shape and painted.isfinite().all()
    assert painted.min() >= picture.min() - 1e-5 and painted.max() <= picture.max() + 1e-5


def test_strips_are_no_seams(monkeypatch):
    picture = noise(3, 40, 50)
    whole = kuwahara(picture, 5.0)
    monkeypatch.setattr(module, "STRIP", 7 * 50)
    torch.testing.assert_close(kuwahara(picture, 5.0), whole, atol=1e-6, rtol=0)


def test_a_larger_radius_looks_at_as_many_places(monkeypatch):
    looked = []

    def counted(picture: Tensor, grid: Tensor, **options: object) -> Tensor:
        looked.append(grid[..., 0].numel())
        return torch.nn.functional.grid_sample(picture, grid, **options)

    class Counting:
        grid_sample = staticmethod(counted)

    monkeypatch.setattr(module, "F", Counting)
    for radius in (2.0, 20.0):
        kuwahara(noise(3, 30, 40), radius)
    assert looked == [module.SAMPLES * 30 * 40] * 2
