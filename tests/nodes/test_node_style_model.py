"""Style Model: what it asks of the host's models, and what it refuses."""

import pytest
import torch

from varifold.models import VE
from varifold.nodes.host import Facts

MODEL, VAE = object(), object()


class Models:
    """Keeps what it was asked for."""

    dimensions = 2

    def facts(self, model):
        return Facts(VE, 0.1, 10.0, 4, self.dimensions, 8, 64)

    def styled(self, model, vae, style):
        assert (model, vae) == (MODEL, VAE)
        self.asked = style
        return "styled"


@pytest.fixture
def models(host, monkeypatch):
    models = Models()
    monkeypatch.setattr(type(host), "models", models)
    return models


@pytest.fixture
def patch(call):
    return lambda **given: call("StyleModel", **{"model": MODEL, "vae": VAE, "style": noise()} | given)[0]


def noise(count: int = 1, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 6, 8, channels, generator=torch.Generator().manual_seed(seed))


def test_it_asks_for_the_style_in_the_models(models, patch):
    assert patch(strength=0.6, start_percent=0.1, end_percent=0.8, seed=5) == "styled"
    (picture,) = models.asked.pictures
    assert torch.equal(picture, noise().movedim(-1, 1))
    assert models.asked[1:] == ([1.0], 0.6, False, 0.1, 0.8, 5)
    patch(layers="style and composition")
    assert models.asked.composition


def test_weights_are_relative_and_a_batch_shares_its_own(models, patch):
    patch(style_2=noise(2), style_4=noise(seed=4), weight=3.0, weight_2=4.0, weight_3=9.0, weight_4=1.0)
    assert models.asked.shares == [3 / 8, 2 / 8, 2 / 8, 1 / 8]
    assert torch.equal(models.asked.pictures[3], noise(seed=4).movedim(-1, 1))
    patch(style_2=noise(2), weight_2=0.0)
    assert models.asked.shares == [1.0] and len(models.asked.pictures) == 1


def test_at_strength_0_it_is_the_model_itself(models, patch):
    assert patch(strength=0.0) is MODEL


def test_what_is_transparent_is_of_the_mean_of_what_is_not(models, patch):
    style = noise(channels=4)
    style[..., 3] = 1.0
    style[:, :3, :, 3] = 0.0
    patch(style=style)
    (picture,) = models.asked.pictures
    visible = style[:, 3:, :, :3].movedim(-1, 1)
    assert torch.equal(picture[:, :, 3:], visible)
    torch.testing.assert_close(picture[:, :, :3], visible.mean((2, 3), keepdim=True).expand(-1, -1, 3, 8))


@pytest.mark.parametrize("image", [noise().half(), noise()[..., :1], 3 * noise() - 1], ids=["float16", "grey", "wide"])
def test_other_images_are_taken_as_colours_from_0_to_1(models, patch, image):
    patch(style=image)
    (picture,) = models.asked.pictures
    assert picture.dtype == torch.float32 and picture.shape == (1, 3, 6, 8)
    torch.testing.assert_close(picture, image.float().clamp(0, 1).movedim(-1, 1).expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"style": noise() * float("nan")}, "style: this IMAGE has NaN"),
        ({"style_3": noise()[0]}, "style_3: this is not an IMAGE"),
        ({"style": noise(channels=4) * 0}, "style has a picture that is transparent everywhere"),
        ({"weight": 0.0}, "the weights of all styles are 0"),
        ({"start_percent": 0.5, "end_percent": 0.5}, "start_percent is 0.5 and end_percent 0.5"),
    ],
    ids=["NaN", "shape", "transparent", "weights", "interval"],
)
def test_what_does_not_fit_is_refused(models, patch, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        patch(**given)
    assert not hasattr(models, "asked")


def test_a_model_of_videos_is_refused(models, patch, monkeypatch):
    monkeypatch.setattr(Models, "dimensions", 3)
    with pytest.raises(ValueError, match="latents of this MODEL have 5 dimensions"):
        patch()


def test_where_there_are_no_models_it_says_what_from_model_says(call, patch):
    with pytest.raises(ValueError) as theirs:
        call("FromModel", model=MODEL)
    with pytest.raises(ValueError) as ours:
        patch()
    assert str(ours.value) == str(theirs.value)
