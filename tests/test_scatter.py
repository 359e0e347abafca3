"""Points as a picture."""

import pytest
import torch

from varifold.models.denoising import pixels
from varifold.models.denoising.scatter import REACH, SIDE, scatter

NOWHERE = torch.full((1, 1, 2), 99.0)


def light(*points: tuple[float, float]) -> torch.Tensor:
    """What the points add to the ground, [SIDE, SIDE]."""
    return (scatter(torch.tensor([points])) - scatter(NOWHERE))[0].sum(-1)


def brightest(picture: torch.Tensor) -> tuple[float, float]:
    """x and y of the brightest place, in the plane."""
    row, column = divmod(picture.argmax().item(), SIDE)
    return ((column + 0.5) / SIDE * 2 - 1) * REACH, -((row + 0.5) / SIDE * 2 - 1) * REACH


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.5, 0.3), (-2.0, 1.0), (0.4, -2.5)])
def test_a_dot_is_where_its_point_is(point):
    assert brightest(light(point)) == pytest.approx(point, abs=REACH / SIDE * 2)


def test_dots_move_smoothly():
    step = REACH / SIDE / 5
    one, two = light((0.5, 0.5)), light((0.5 + step, 0.5))
    assert 0 < (one - two).abs().max() < 0.2 * one.max()


def test_it_glows_where_points_are_many():
    few, many = light((1.0, 1.0)), light(*[(1.0, 1.0)] * 30)
    assert many.max() > 1.5 * few.max()
    picture = scatter(torch.tensor([[(1.0, 1.0)] * 300]))
    assert picture.min() >= 0 and picture.max() <= 1 and picture.amin(-1).max() > 0.99  # white


def test_what_is_far_out_or_broken_is_not_drawn():
    beyond = torch.tensor([[(REACH * 3, 0.0), (0.0, -1e20), (float("nan"), 0.0), (float("inf"), 1.0)]])
    assert torch.equal(scatter(beyond), scatter(NOWHERE))


def test_a_dot_on_the_rim_is_cut_off():
    assert light((REACH, 0.0)).max() > 0.3


def test_states_of_the_plane_are_decoded_to_it_and_pictures_are_refused():
    x0 = torch.randn(2, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    rgb, alpha = pixels.decode(x0, "plane")
    assert torch.equal(rgb, scatter(torch.stack([x0[:, 0].flatten(1), x0[:, 1].flatten(1)], -1)))
    assert rgb.dtype == torch.float32 and alpha.shape == (2, SIDE, SIDE) and alpha.eq(1).all()
    with pytest.raises(ValueError, match="a picture is no set of points"):
        pixels.encode(rgb, alpha, "plane")
